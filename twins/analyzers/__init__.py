"""Twins of power analyzers."""
