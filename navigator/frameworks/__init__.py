"""What converters and runners share, one package a framework."""
