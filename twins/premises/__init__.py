"""What stands in the premises beside the wiring."""
