"""The configuration: navigator.yaml and the command line, both described by `schemas/navigator.schema.json`.

Returns frozen records, or reports all problems at once. Imports no numpy and no framework, and starts no process.
"""

from navigator.config.arguments import (
    HelpFormatter,
    add_filters,
    add_options,
    add_subject,
    overrides,
    reproducing,
)
from navigator.config.load import load
from navigator.config.model_format import detect_format
from navigator.config.problems import InvalidConfigurationError, Problem
from navigator.config.schema import schema_path
from navigator.config.subject import has_model_suffix, is_configuration, is_model, model_name

__all__ = [
    "HelpFormatter",
    "InvalidConfigurationError",
    "Problem",
    "add_filters",
    "add_options",
    "add_subject",
    "detect_format",
    "has_model_suffix",
    "is_configuration",
    "is_model",
    "load",
    "model_name",
    "overrides",
    "reproducing",
    "schema_path",
]
