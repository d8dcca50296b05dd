"""The inputs for verification: their values, shapes and files."""
