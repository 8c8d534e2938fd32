"""What a run leaves behind, and how to check it later."""
