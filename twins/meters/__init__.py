"""Twins of electricity meters."""
