"""One channel written from an iterator, from its first piece to its end."""
