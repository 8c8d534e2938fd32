"""AC sources."""
