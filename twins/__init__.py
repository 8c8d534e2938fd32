"""Twins: everything of the bench that can be simulated."""
