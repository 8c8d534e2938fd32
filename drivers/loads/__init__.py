"""AC loads."""
