"""The verdict: its arithmetic, what is allowed, and the sentences about it. NumPy only."""
