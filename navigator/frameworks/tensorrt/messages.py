"""Extracts the one line that matters from the log of TensorRT's builder and parser.

Both log a page for every failure, of which one line is the reason. Builds nothing.
"""

import contextlib
import logging
import re
import sys
from collections.abc import Iterator

from navigator.errors import StepError
from navigator.frameworks.gpu import out_of_gpu_memory

# The format of the parsers of TensorRT 10 and 11 and TensorRT for RTX 1.7.
_PARSER = re.compile(
    r"In node (?P<node>-?\d+) with name: (?P<name>.*?) and operator: (?P<operator>\S*) "
    r"\((?P<function>\w+)\): (?P<code>\w+): (?P<text>.*)",
    re.DOTALL,
)
_BUILDER = re.compile(r"(?:\w+::\w+: )?Error Code \d+: (?P<text>.*)", re.DOTALL)
_NOISE = (
    re.compile(r"^\[[EW!]\] "),
    re.compile(r"\[[\w.]+:\d+: \w+\] "),
    re.compile(r"\s*In \w+ at [^\s:]+:\d+"),
    re.compile(r"^[\w ]+ \((?=.*\)$)"),
    re.compile(r"^Assertion failed: [^:]*: "),
)
_QUOTED = re.compile(r'&& "(?P<text>[^"]+)"')
# TensorRT for RTX builds without a driver, but logs that there is none.
_NO_DRIVER = "cudaError 35"
_OUT_OF_MEMORY = re.compile(r"out of memory|OutOfMemory|insufficient memory", re.IGNORECASE)
# Polygraphy logs this once per process.
_NO_COLOURS = "'colored' module is not installed"
_FEW_WORDS = ("false", "")

# What to do, by what TensorRT 10 and 11 and TensorRT for RTX 1.7 say.
_ADVICE = (
    (re.compile(r"workspace limit|insufficient workspace"), "increase tensorrt_max_workspace_size"),
    (
        re.compile(r"QuantizeLinear.*type of UINT8|[Nn]on-zero zero point"),
        "quantize the model symmetrically: int8 instead of uint8, with zero points of 0, also for activations",
    ),
    (
        re.compile(r"type of UINT8|has type UInt8 but must"),
        "TensorRT takes uint8 only into a Cast: write x.float().permute(...) instead of x.permute(...).float()",
    ),
    (
        re.compile(r"Plugin not found"),
        "use the file as exported, not as ONNX Runtime optimized it, or load a plugin for it with tensorrt_plugins",
    ),
)


# What to do about an operator that isn't supported, by its name.
_INSTEAD = (
    (
        re.compile(r"QLinear\w+|(Conv|MatMul)Integer|DynamicQuantizeLinear"),
        "quantize the model with QuantizeLinear and DequantizeLinear nodes (QuantFormat.QDQ in onnxruntime)",
    ),
    (
        re.compile(r"STFT|DFT|MelWeightMatrix"),
        "compute spectra outside of the model, or in a Conv whose weights are sines and cosines",
    ),
    (
        re.compile(
            r"TreeEnsemble\w*|SVM\w+|Linear(Classifier|Regressor)|Scaler|Normalizer|ZipMap|\w+Encoder|Imputer|Binarizer|"
            r"ArrayFeatureExtractor|(Feature|Dict)Vectorizer|CategoryMapper|CastMap"
        ),
        "TensorRT has no operators of classical machine learning: run this model with ONNX Runtime (target onnx)",
    ),
)


class Collected(logging.Handler):
    """Collects logged errors in order, and forwards everything to the log of this process."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an error, and print it."""
        message = record.getMessage()
        if _NO_COLOURS in message:
            return
        print(message, file=sys.stderr, flush=True)  # noqa: T201 - the worker's log
        if record.levelno == logging.ERROR and _NO_DRIVER not in message:
            self.errors.append(message)


@contextlib.contextmanager
def collected() -> Iterator[Collected]:
    """Collect what Polygraphy logs, for itself and for TensorRT."""
    from polygraphy.logger import G_LOGGER

    handler = Collected()
    logger = logging.getLogger("Polygraphy")
    before = G_LOGGER.use_python_logging_system, logger.propagate
    G_LOGGER.use_python_logging_system, logger.propagate = True, False
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        G_LOGGER.use_python_logging_system, logger.propagate = before


def explained(failure: str, log: Collected, error: BaseException) -> StepError:
    """Return the error for the user.

    Args:
        failure: what failed, the start of the message.
        log: what was logged until then.
        error: the exception of Polygraphy, whose own text says little.
    """
    parsed = [found for line in log.errors if (found := _PARSER.search(line))]
    if parsed:
        return _refused_node(failure, parsed)
    built = [sentence(found["text"]) for line in log.errors if (found := _BUILDER.search(line))]
    text = next((each for each in built if each), sentence(log.errors[-1]) if log.errors else str(error))
    if _OUT_OF_MEMORY.search(" ".join(log.errors)):
        return out_of_gpu_memory(f"{failure}: it")
    return StepError(f"{failure}: {text}", _advice(text))


def _advice(text: str) -> str:
    """Return what the user can do about a reason, or ""."""
    return next((advice for pattern, advice in _ADVICE if pattern.search(text)), "")


def sentence(text: str) -> str:
    """Return a line of TensorRT's log without positions in its source code."""
    for noise in _NOISE:
        text = noise.sub("", text.strip())
    quoted = _QUOTED.search(text)
    if quoted:
        text = quoted["text"]
    if text.endswith(")") and text.count(")") > text.count("("):
        text = text[:-1]
    return " ".join(text.split())[:400].rstrip(" .")


def _refused_node(failure: str, parsed: list[re.Match[str]]) -> StepError:
    """Return which node the parser refused and why, and how many others."""
    first = next((found for found in parsed if found["operator"]), parsed[0])
    text = sentence(first["text"])
    instead = next((advice for name, advice in _INSTEAD if name.fullmatch(first["operator"])), "")
    operators = sorted(
        {found["operator"] for found in parsed if found["text"].strip() == "false" and found["operator"]}
    )
    if text in _FEW_WORDS and operators:
        have = "operator" if len(operators) == 1 else "operators"
        return StepError(
            f"{failure}: it doesn't support the {have} {', '.join(operators)}",
            instead
            or "replace it in the model, use another opset, or load a plugin that supports it with tensorrt_plugins",
        )
    where = f"node {first['node']} ({first['operator']}{', ' + first['name'] if first['name'] else ''}): "
    more = f" (and {len(parsed) - 1} more)" if len(parsed) > 1 else ""
    return StepError(
        f"{failure}: {where if first['operator'] else ''}{text}{more}",
        instead or _advice(f"{first['operator']} {text}"),
    )
