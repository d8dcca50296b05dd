"""`model-navigator inspect`: shows what is known of a model without running it."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from navigator import config
from navigator.commands.subject import require_file
from navigator.errors import ConfigurationError, ExitCode
from navigator.models.files import problems
from navigator.models.structure import SignatureError
from navigator.records import Description, Format
from navigator.render.streams import write


def run(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    """Print the description as text or JSON."""
    from navigator.render.columns import columns_of
    from navigator.render.description import as_json, as_text

    try:
        described = inspected(
            namespace.model,
            namespace.signature_name,
            timeout_seconds=namespace.timeout_seconds,
            declared=namespace.model_format,
        )
    except SignatureError as error:
        raise ConfigurationError(error.message, error.advice("--signature-name")) from None
    if namespace.json:
        text = json.dumps(as_json(described, namespace.model), indent=2) + "\n"
    else:
        text = as_text(described, namespace.model, columns_of(sys.stdout))
    write(text, sys.stdout)
    return ExitCode.OK


def inspected(
    path: Path, signature_name: str | None, *, timeout_seconds: float, declared: str | None = None
) -> Description:
    """Return what is known of the model at `path`, also from an annotation file beside it.

    Raises:
        ConfigurationError: it isn't a model, or files of it are missing or broken.
        StepError: only its framework can read it, and it can't.
        OSError: it can't be read.
    """
    from navigator.host.limits import available_memory_bytes
    from navigator.workers.inspection import describe

    require_file(path)
    model_format = config.detect_format(path, Format(declared) if declared else None)
    for message, hint in problems(path, model_format):
        raise ConfigurationError(message, hint)
    described = describe(
        path.absolute(),
        model_format,
        signature_name,
        timeout_seconds=timeout_seconds,
        memory_bytes=int(available_memory_bytes() * 0.9),
    )
    if model_format is not Format.TORCHSCRIPT:
        return described
    # What TorchScript doesn't store may be beside it.
    given = {"model_path": str(path), "model_format": str(model_format)}
    beside = config.load(None, given, working_directory=Path.cwd()).models[0]
    return replace(
        described,
        inputs=beside.inputs or described.inputs,
        outputs=beside.outputs or described.outputs,
        unknown=() if beside.inputs else described.unknown,
    )
