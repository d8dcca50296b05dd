"""The inputs that models are verified with: values, shapes, and their files."""
