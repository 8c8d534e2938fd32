"""Twins of AC sources."""
