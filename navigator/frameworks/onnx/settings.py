"""What all of ONNX Runtime's sessions have in common."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from navigator.frameworks.onnx.texts import EVERYWHERE, without_locales
from navigator.frameworks.onnx.weights import FOLDER

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


def new_session(source: str | bytes, settings: Any, providers: Sequence[Any], notes: list[str] | None = None) -> Any:
    """Return a session; where the language isn't installed in which a model changes case, it does so without one.

    Args:
        source: a file or its content.
        settings: see `session_settings`.
        providers: where it runs.
        notes: is told of the language.
    """
    import onnx
    import onnxruntime

    try:
        return onnxruntime.InferenceSession(source, settings, providers=providers)
    except Exception as error:
        if "Failed to construct locale" not in str(error):
            raise
        if isinstance(source, str):
            settings.add_session_config_entry(FOLDER, str(Path(source).parent))
            model = onnx.load_model(source, load_external_data=False)
        else:
            model = onnx.load_model_from_string(source)
        wanted = without_locales(model)
        session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=providers)
    if notes is not None:
        notes.append(
            f"StringNormalizer needs the locale {wanted}, which isn't installed here: run in {EVERYWHERE}, and the "
            "converted model needs it too"
        )
    return session
