"""Requirements, witnesses, uncertainty and verdicts."""
