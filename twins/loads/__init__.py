"""Twins of AC loads."""
