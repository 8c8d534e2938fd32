"""The bench itself: puts devices together, runs suites, judges and keeps the record."""
