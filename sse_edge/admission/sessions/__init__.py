"""Sessions that a framework keeps, read as it does."""
