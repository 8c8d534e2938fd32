"""Twins of relay boards."""
