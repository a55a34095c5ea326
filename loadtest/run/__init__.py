"""A run: what is asked for, who conducts, and who holds streams."""
