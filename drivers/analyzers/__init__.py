"""Power analyzers."""
