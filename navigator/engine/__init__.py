"""A run: the order of its work, one unit of work, what is reused, what is on disk, and what became of it."""
