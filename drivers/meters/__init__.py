"""Electricity meters."""
