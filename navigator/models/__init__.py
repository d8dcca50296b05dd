"""What a model consists of on disk, and what is wrong with its files."""
