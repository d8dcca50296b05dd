"""Checks, copies and saves ONNX files, and reads or changes their opset.

The only module that calls `onnx.version_converter`. Knows nothing about the framework that a file came from;
`navigator.verify.compare` checks its numbers.
"""

import logging
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from navigator.errors import StepError
from navigator.frameworks.onnx import weights as onnx_weights
from navigator.frameworks.onnx.weights import Proto
from navigator.models.reading import copy_content
from navigator.records import Properties

# protobuf rejects messages of 2 GiB; the graph and what converters add to it need space in addition to the weights.
INLINE_LIMIT_BYTES = 1_800_000_000

_DEFAULT_DOMAINS = ("", "ai.onnx")

# The text of onnx 1.23 and ONNX Runtime 1.32 around a reason; the innermost node is the one that failed.
_NOISE = (
    (re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : "), ""),
    (re.compile(r"Load model from \S+ failed:\s*"), ""),
    (
        re.compile(r"(?:.*)Non-zero status code returned while running (\w+) node\. Name:'([^']*)' Status Message: "),
        r"\1 node '\2': ",
    ),
    (re.compile(r"\S+\.(?:h|cc|cpp):\d+ (?:[^()]*\([^()]*\)(?: const)? |\S+ )"), ""),
    (re.compile(r"(No Adapter \w+ Version )\$"), r"\1"),
)

log = logging.getLogger(__name__)


def load(path: Path) -> Proto:
    """Return the model at `path` without its external data.

    Raises:
        StepError: it is not an ONNX file.
    """
    import onnx

    try:
        return onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise StepError(f"{path} isn't a readable ONNX file: {sentence(error)}") from error


def opset(path: Path) -> int:
    """Return the opset of the default domain that the file at `path` declares.

    Raises:
        StepError: it is not an ONNX file, or it declares none.
    """
    return opset_of(load(path), path)


def opset_of(model: Proto, path: Path) -> int:
    """Return the opset of the default domain that `model`, which was read from `path`, declares; see `opset`."""
    for entry in model.opset_import:
        if entry.domain in _DEFAULT_DOMAINS:
            return int(entry.version)
    raise StepError(f"{path} declares no opset for the default ONNX domain")


def require_opset(path: Path, asked: int, exporter: str) -> None:
    """Raise `StepError` unless the file at `path` declares opset `asked`; exporters may silently write another.

    Args:
        path: the file.
        asked: the opset of the default domain that it should have.
        exporter: what wrote it, for the message.
    """
    _require_opset(opset(path), asked, exporter)


def check(path: Path) -> None:
    """Raise `StepError` unless the file at `path` is a valid model whose every operator is known.

    Reads the file by path, so that external data and models over 2 GiB work. If only the checker's strict shape
    inference or an operator of another domain is a problem, ONNX Runtime decides: shape inference has false positives
    (tables of strings), and ONNX Runtime supports domains that onnx doesn't.
    """
    import onnx

    doubt = _foreign_operators(path)
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except Exception as error:  # noqa: BLE001 - the checker raises RuntimeError and others for the same finding
        try:
            onnx.checker.check_model(str(path))
        except Exception as invalid:
            raise StepError(f"the ONNX file is invalid: {sentence(invalid)}") from invalid
        doubt = doubt or f"shape inference: {sentence(error)}"
    if doubt:
        refusal = _refusal(path)
        if refusal:
            raise StepError(f"the ONNX file is invalid: {doubt}; ONNX Runtime says: {refusal}")
        log.warning("ONNX Runtime accepts the file, but the ONNX checker reports: %s", doubt)


def raise_opset(source: Path, destination: Path, opset: int) -> int:
    """Write the model at `source` to `destination` with another opset of the default domain, checked and read back.

    Keeps the names of inputs, outputs and axes, metadata and the opsets of other domains. Copies external data without
    loading it, so that models over 2 GiB work. Lowering is attempted too, but usually fails.

    Args:
        source: an ONNX file.
        destination: the file to write, in another directory, with external data next to it.
        opset: the opset to reach.

    Returns:
        The opset of `source`.

    Raises:
        StepError: `onnx.version_converter` failed, or its result is invalid. Then no file is left.
    """
    import onnx
    import onnx.inliner
    import onnx.version_converter

    known = onnx.defs.onnx_opset_version()
    if not 1 <= opset <= known:
        raise StepError(
            f"onnx {onnx.__version__} doesn't support opset {opset}", f"set onnx_opsets to {known} or lower"
        )
    model = load(source)
    before = opset_of(model, source)
    change = f"onnx.version_converter can't change opset {before} to {opset}"
    try:
        # The converter silently drops model-local functions (onnx 1.23).
        inlined = onnx.inliner.inline_local_functions(model) if model.functions else model
        values = onnx_weights.take(inlined)
        converted = onnx.version_converter.convert_version(inlined, opset)
        onnx_weights.put_back(converted, values)
    except Exception as error:
        raise StepError(f"{change}: {sentence(error)}", _direction_hint(before, opset)) from error
    converted.ir_version = max(
        converted.ir_version, onnx.helper.find_min_ir_version_for(converted.opset_import, ignore_unknown=True)
    )
    try:
        _require_same_interface(model, converted)
        _require_opset(opset_of(converted, destination), opset, "onnx.version_converter")
        with tempfile.TemporaryDirectory(dir=destination.parent) as scratch:
            made = Path(scratch) / destination.name
            onnx_weights.copy_external(converted, source, made)
            save(converted, made)
            check(made)
            for path in made.parent.iterdir():
                shutil.move(path, destination.parent / path.name)
    except StepError as error:
        raise StepError(f"{change}: {error.message}", _direction_hint(before, opset)) from error
    return before


def raised_or_exported(
    raise_from: Path | None, destination: Path, opset: int, export: Callable[[], Properties]
) -> Properties:
    """Raise the opset of a file if there is one, which is cheaper than exporting again, or else export.

    Args:
        raise_from: an ONNX file of the same model at a lower opset, or None.
        destination: the file to write.
        opset: the opset to reach.
        export: exports to `destination` and returns its properties.

    Returns:
        The properties of the file.
    """
    if raise_from is None:
        return export()
    try:
        before = raise_opset(raise_from, destination, opset)
    except StepError as error:
        log.warning("%s; exporting instead", error.message)
        return export()
    return Properties(onnx_opset=opset, exporter=_raised_from(before))


def properties(path: Path, exporter: str) -> Properties:
    """Return the properties of the ONNX file at `path`, read back from it, and who wrote it."""
    return Properties(onnx_opset=opset(path), exporter=exporter)


def raised_from(source: Path) -> str:
    """Return the exporter of a file whose opset was raised from the one at `source`."""
    return _raised_from(opset(source))


def save(model: Proto, destination: Path) -> None:
    """Save `model`; weights over the protobuf limit go into `{destination.name}.data` beside it."""
    import onnx

    inline = sum(onnx_weights.size_bytes(tensor) for tensor in onnx_weights.tensors(model) if not tensor.external_data)
    if inline <= INLINE_LIMIT_BYTES:
        onnx.save_model(model, str(destination))
        return
    onnx.save_model(
        model,
        str(destination),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=f"{destination.name}.data",
    )


def gather(path: Path) -> None:
    """Bring the external data of the file at `path`, if it has any, into one `{path.name}.data` beside it."""
    import onnx

    model = load(path)
    if onnx_weights.gather(model, path):
        onnx.save_model(model, str(path))


def copy(source: Path, destination: Path) -> None:
    """Copy the ONNX file at `source` and its external data.

    Raises:
        StepError: not an ONNX file, or its external data is missing or outside the file's directory.
    """
    onnx_weights.copy_external(load(source), source, destination)
    copy_content(source, destination)


def sentence(error: BaseException) -> str:
    """Return the line of an exception's text with the reason, without positions in C++ sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    text = text.rsplit("Assertion `false` failed: ", 1)[-1]
    for noise, instead in _NOISE:
        text = noise.sub(instead, text)
    return text[:400]


def _raised_from(before: int) -> str:
    return f"raised from opset {before} by onnx.version_converter"


def _require_opset(written: int, asked: int, exporter: str) -> None:
    if written != asked:
        raise StepError(f"{exporter} wrote opset {written} instead of {asked}", f"set onnx_opsets: [{written}]")


def _foreign_operators(path: Path) -> str:
    """Return the operators of domains that neither onnx nor the file itself defines, as a phrase, or ""."""
    import onnx

    model = load(path)
    own = {(function.domain, function.name) for function in model.functions}
    foreign = {
        f"{node.domain}.{node.op_type}"
        for graph in onnx_weights.graphs(model)
        for node in graph.node
        if (node.domain, node.op_type) not in own
        and not onnx.defs.has(node.op_type, "" if node.domain in _DEFAULT_DOMAINS else node.domain)
    }
    return f"operators unknown to onnx {onnx.__version__}: {', '.join(sorted(foreign))}" if foreign else ""


def _refusal(path: Path) -> str:
    """Return why ONNX Runtime can't load the file, or ""."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime has a dozen exception types without a common one
        return sentence(error)
    return ""


def _require_same_interface(before: Proto, after: Proto) -> None:
    """Raise `StepError` if the converter renamed or lost an input or output."""
    for kind in ("input", "output"):
        expected = [value.name for value in getattr(before.graph, kind)]
        actual = [value.name for value in getattr(after.graph, kind)]
        if expected != actual:
            raise StepError(f"it changed the {kind}s from {expected} to {actual}")


def _direction_hint(before: int, after: int) -> str:
    if after < before:
        return f"lowering an opset rarely works: export the model at opset {after}, or set onnx_opsets: [{before}]"
    return f"set onnx_opsets: [{before}]"
