"""Reports opsets and ONNX files that are newer than the installed onnx."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from navigator.config.checks import Value
from navigator.config.model_format import Found
from navigator.config.problems import Problems
from navigator.config.schema import AUTO
from navigator.host.onnx_versions import OnnxVersions, installed
from navigator.records import LaunchMode

_UPGRADE = "upgrade onnx and onnxruntime"


def check_versions(
    values: Mapping[str, Value], data: Mapping[str, Any], found: Found | None, problems: Problems
) -> None:
    """Report opsets that nothing here can write, and an ONNX file that nothing here can run.

    A container has an onnx of its own, so what is converted in one isn't checked.

    Args:
        values: the options of a model, for places.
        data: the same as data, with absolute paths and the model's format.
        found: what a look at the model's file told.
        problems: collects the problems.
    """
    known = installed()
    if known is None or data.get("launch_mode") == LaunchMode.DOCKER:
        return
    highest = known.opsets["ai.onnx"]
    if "onnx_opsets" in values and values["onnx_opsets"].data != AUTO:
        value = values["onnx_opsets"]
        for position, opset in enumerate(value.data):
            if opset > highest:
                text = f"{value.subject}: onnx {known.release} doesn't know opset {opset}"
                problems.add(value.at(position), text, f"write {highest} or lower, or {_UPGRADE}")
    if found is not None:
        value = values["model_path"]
        for message, hint in _newer(data["model_path"], found, known):
            problems.add(value.place, f"{value.subject}: {message}", hint)


def _newer(path: Path, found: Found, known: OnnxVersions) -> Iterator[tuple[str, str]]:
    """Yield what an ONNX file declares that is newer than what is known, and what to do."""
    _, ir_version, opsets = found
    if ir_version > known.ir_version:
        text = f"{path} has IR version {ir_version}, and onnx {known.release} knows those up to {known.ir_version}"
        yield text, f"{_UPGRADE}, or set its ir_version to {known.ir_version} or lower"
    for domain, highest in known.opsets.items():
        if opsets.get(domain, 0) > highest:
            text = f"{path} declares opset {opsets[domain]} of {domain}, and onnx {known.release} knows those up to"
            yield f"{text} {highest}", f"{_UPGRADE}, or export the model at opset {highest} or lower"
