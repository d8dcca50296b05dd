"""Verification: the comparison of outputs, the tolerances and the messages about them. Needs only NumPy."""
