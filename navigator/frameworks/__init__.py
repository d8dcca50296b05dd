"""Code that converters and runners share, one package per framework."""
