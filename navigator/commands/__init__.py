"""The commands of the command line, one module each: what `run` does with the parsed arguments.

Modules that are slow to import are imported in the command that needs them, so that `--help` and the errors of an
invalid configuration take less than 0.3 s.
"""
