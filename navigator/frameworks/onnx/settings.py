"""What all of ONNX Runtime's sessions have in common."""

from typing import Any

ERRORS = 3
"""The severity from which on a session logs."""

# Its threads spin while they wait for each other, which takes the cores from other workers: with a model of sentence
# embeddings on two busy cores, a quarter of the processor time. The fastest runs take no longer without (1.32).
_WAIT_QUIETLY = ("session.intra_op.allow_spinning", "0")


def session_settings(severity: int = ERRORS) -> Any:
    """Return the settings of a new session, which logs from a severity on."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = severity
    settings.add_session_config_entry(*_WAIT_QUIETLY)
    return settings
