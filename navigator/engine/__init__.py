"""Executes a plan: the order of work, the units of work, the cache, the workspace and the results."""
