"""Codecs without I/O: bytes to meaning and back."""
