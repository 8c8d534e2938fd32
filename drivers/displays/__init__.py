"""Displays of the home area network."""
