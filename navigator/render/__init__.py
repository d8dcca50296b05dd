"""Renders reports as text for people. Pure, one module per output."""
