"""The utility's website: for customers and representatives, in English and Spanish, rendered at the server."""
