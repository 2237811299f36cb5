"""Features: extraction and the store."""
