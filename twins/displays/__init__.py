"""Twins of displays of the home area network."""
