"""Generic servers that carry a behaviour to the wire."""
