"""Checks, copies and saves ONNX files, and reads their opset.

Knows nothing about the framework that a file came from; `navigator.verify.compare` checks its numbers.
"""

import logging
import re
from pathlib import Path
from tempfile import NamedTemporaryFile

from navigator.errors import StepError
from navigator.frameworks.onnx import weights as onnx_weights
from navigator.frameworks.onnx.settings import new_session, session_settings
from navigator.frameworks.onnx.weights import Proto
from navigator.models import onnx_structure
from navigator.models.files import external_data
from navigator.models.reading import copy_content
from navigator.records import Properties

# protobuf rejects messages of 2 GiB; the graph and what converters add to it need space in addition to the weights.
INLINE_LIMIT_BYTES = 1_800_000_000

DEFAULT_DOMAINS = ("", "ai.onnx")

# The text of onnx 1.23 and ONNX Runtime 1.32 around a reason; the innermost node is the one that failed.
_NOISE = (
    (re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : "), ""),
    (re.compile(r"Load model from \S+ failed:\s*"), ""),
    (
        re.compile(r"(?:.*)Non-zero status code returned while running (\w+) node\. Name:'([^']*)' Status Message: "),
        r"\1 node '\2': ",
    ),
    (re.compile(r"\S+\.(?:h|cc|cpp):\d+ (?:[^()]*[^()\s]\([^()]*\)(?: const)? |\S+ )"), ""),
    (re.compile(r"(No Adapter \w+ Version )\$"), r"\1"),
    (re.compile(r"\[with \w+ = [\w:]+\] "), ""),
    (re.compile(r".*Assertion `false` failed: "), ""),
)

# What onnx's checker and Python's libraries say where it happened, after the reason.
_AFTER_REASON = re.compile(r"\n\s*(?:==> Context:|Traceback |Stack ?trace|C\+\+ |At: |at )")
_LONGEST = 800

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
        raise _unreadable(path, error) from error


def structure(path: Path) -> Proto:
    """Return the model at `path`, whose large weights stay there: the tensors name it as their external data.

    Raises:
        StepError: it is not an ONNX file.
    """
    import onnx

    try:
        content = onnx_structure.structure(path)
        return load(path) if content is None else onnx.load_model_from_string(content)
    except StepError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def light(path: Path) -> Proto:
    """Return the model at `path` to be run or rewritten: the large initializers of its main graph stay in the file.

    Neither ONNX Runtime (1.32) nor onnx-ir (1.1) reads others from there, nor any from a file of several names.

    Raises:
        StepError: it is not an ONNX file.
    """
    if path.is_symlink() or path.stat().st_nlink > 1:
        return load(path)
    model = structure(path)
    onnx_weights.fill_inner(model, path)
    return model


def _unreadable(path: Path, error: Exception) -> StepError:
    return StepError(f"{path} isn't a readable ONNX file: {sentence(error)}", "export or download the model again")


def opset(path: Path) -> int | None:
    """Return the opset of the default domain that the file at `path` declares; None if it has operators of others only.

    Raises:
        StepError: it is not an ONNX file.
    """
    return opset_of(structure(path))


def opset_of(model: Proto) -> int | None:
    """Return the opset of the default domain that `model` declares; see `opset`."""
    return next((int(entry.version) for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS), None)


def require_opset(path: Path, asked: int, exporter: str) -> None:
    """Raise `StepError` unless the file at `path` declares opset `asked`; exporters may silently write another.

    Args:
        path: the file.
        asked: the opset of the default domain that it should have.
        exporter: what wrote it, for the message.
    """
    written = opset(path)
    if written != asked:
        raise StepError(f"{exporter} wrote opset {written} instead of {asked}", f"set onnx_opsets: [{written}]")


def check(path: Path, *, made_of: Path | None = None) -> None:
    """Raise `StepError` unless the file at `path` is a valid model whose every operator is known.

    What's wrong with the file that it was made of, as outputs without a shape, doesn't count: ONNX Runtime ran it.

    Reads neither weights nor external data, so that models over 2 GiB work. If only the checker's strict shape
    inference or an operator of another domain is a problem, ONNX Runtime decides: shape inference has false positives
    (tables of strings), and ONNX Runtime supports domains that onnx doesn't.
    """
    model = structure(path)
    doubt = _foreign_operators(model)
    # Beside the file, which has the weights.
    with NamedTemporaryFile(dir=path.parent, suffix=".onnx") as file:
        file.write(model.SerializeToString())
        file.flush()
        problem = _complaint(file.name, full=True)
        invalid = _complaint(file.name) if problem else ""
    if invalid and (made_of is None or _complaint(str(made_of)) != invalid):
        raise StepError(f"the ONNX file is invalid: {invalid}")
    if problem:
        doubt = doubt or f"shape inference: {problem}"
    if doubt:
        refusal = _refusal(path)
        if refusal:
            raise StepError(f"the ONNX file is invalid: {doubt}; ONNX Runtime says: {refusal}")
        log.warning("ONNX Runtime accepts the file, but the ONNX checker reports: %s", doubt)


def properties(path: Path, exporter: str) -> Properties:
    """Return the properties of the ONNX file at `path`, read back from it, and who wrote it."""
    return Properties(onnx_opset=opset(path), exporter=exporter)


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

    if not external_data(path):
        return
    model = load(path)
    if onnx_weights.gather(model, path):
        onnx.save_model(model, str(path))


def copy(source: Path, destination: Path) -> None:
    """Copy the ONNX file at `source` and its external data.

    Raises:
        StepError: not an ONNX file, or its external data is missing or outside the file's directory.
    """
    onnx_weights.copy_external(structure(source), source, destination)
    copy_content(source, destination)


def sentence(error: BaseException) -> str:
    """Return the reason in an exception's text as one line, without positions in C++ sources."""
    lines = _AFTER_REASON.split(str(error).strip())[0].splitlines()
    for noise, instead in _NOISE:
        lines = [noise.sub(instead, line) for line in lines]
    text = " ".join(" ".join(lines).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _foreign_operators(model: Proto) -> str:
    """Return the operators of domains that neither onnx nor the file itself defines, as a phrase, or ""."""
    import onnx

    own = {(function.domain, function.name) for function in model.functions}
    foreign = {
        f"{node.domain}.{node.op_type}"
        for graph in onnx_weights.graphs(model)
        for node in graph.node
        if (node.domain, node.op_type) not in own
        and not onnx.defs.has(node.op_type, "" if node.domain in DEFAULT_DOMAINS else node.domain)
    }
    return f"operators unknown to onnx {onnx.__version__}: {', '.join(sorted(foreign))}" if foreign else ""


def _complaint(path: str, *, full: bool = False) -> str:
    """Return what the checker says of a file, in full with its strict shape inference, or ""."""
    import onnx

    try:
        onnx.checker.check_model(path, full_check=full)
    except Exception as error:  # noqa: BLE001 - the checker raises RuntimeError and others for the same finding
        return sentence(error)
    return ""


def _refusal(path: Path) -> str:
    """Return why ONNX Runtime can't load the file, or ""."""
    import onnxruntime

    options = session_settings()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        new_session(str(path), options, ["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime has a dozen exception types without a common one
        return sentence(error)
    return ""
