"""The configuration: navigator.yaml and command line, described once, in `schemas/navigator.schema.json`.

Gives frozen records or every problem at once. Imports no numpy and no framework; starts nothing.
"""

from navigator.config.arguments import HelpFormatter, add_allow_outside, add_file, add_filters, add_options, overrides
from navigator.config.formats import detect_format
from navigator.config.load import load, notes
from navigator.config.problems import InvalidConfigurationError, Problem
from navigator.config.schema import schema_path
from navigator.config.table import option_table

__all__ = [
    "HelpFormatter",
    "InvalidConfigurationError",
    "Problem",
    "add_allow_outside",
    "add_file",
    "add_filters",
    "add_options",
    "detect_format",
    "load",
    "notes",
    "option_table",
    "overrides",
    "schema_path",
]
