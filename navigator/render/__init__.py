"""Reports as text for people. Pure: one module an output."""
