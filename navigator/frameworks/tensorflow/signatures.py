"""Opens SavedModels: their graph for serving, one of its signatures, and the inputs and outputs of that.

Loads SavedModels for the runner and the converters. Runs nothing.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from navigator.errors import StepError, listed
from navigator.frameworks.availability import how_to_get
from navigator.frameworks.memory import gigabytes, require_memory
from navigator.models.texts import TEXT_ADVICE, text_in_signature
from navigator.records import Signature, TensorSpec

# TensorFlow's objects and functions; the package ships no types that hold for every version.
_Tf = Any

_TAG = "serve"
_DEFAULT_SIGNATURE = "serving_default"

# Measured with TensorFlow 2.21: 2.34 GB for 2.26 GB of variables.
_LOAD_FACTOR = 1.1

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedSignature:
    """One signature of a SavedModel in memory.

    Args:
        owner: the loaded object. TensorFlow keeps variables only as long as it is referenced.
        function: the concrete function, called with tensors by name.
        name: name of the signature.
        signature: its inputs and outputs.
    """

    owner: _Tf
    function: _Tf
    name: str
    signature: Signature


def open_signature(path: Path, signature_name: str | None) -> OpenedSignature:
    """Load a SavedModel on the CPU and choose a signature, see `choose_signature`.

    Raises:
        StepError: it can't be loaded, has no such signature, or has inputs or outputs that aren't arrays of numbers.
    """
    name = choose_signature(path, signature_name)
    variables = sum(file.stat().st_size for file in path.glob("variables/*"))
    require_memory(int(variables * _LOAD_FACTOR), f"loading {path.name} ({gigabytes(variables)} of variables)")
    owner = _load(path)
    function = owner.signatures[name]
    return OpenedSignature(owner=owner, function=function, name=name, signature=_described(function, name))


def weight_bytes(opened: OpenedSignature) -> int:
    """Return the size of the variables and constants that the signature uses."""
    function = opened.function
    variables = sum(
        int(variable.shape.num_elements() or 0) * variable.dtype.size for variable in function.graph.variables
    )
    constants = sum(
        int(captured.shape.num_elements() or 0) * captured.dtype.size
        for captured in function.captured_inputs
        if captured.dtype.is_numpy_compatible and captured.dtype.size
    )
    return int(variables + constants)


def choose_signature(path: Path, wanted: str | None) -> str:
    """Return the name of the signature to use: `wanted`, or `serving_default`, or the only one.

    Doesn't read the variables. Names that begin with an underscore are TensorFlow's own.

    Raises:
        StepError: not a SavedModel, no graph for serving in it, or no such signature.
    """
    names = sorted(str(name) for name in serving_graph(path).signature_def if not name.startswith("_"))
    if not names:
        raise StepError(
            f"{path} has no signature", "save it with signatures=..., or with model.export, which adds serving_default"
        )
    if wanted is not None:
        if wanted not in names:
            raise StepError(f"{path} has no signature {wanted!r}", f"set signature_name to one of: {listed(names)}")
        return wanted
    if _DEFAULT_SIGNATURE in names:
        return _DEFAULT_SIGNATURE
    if len(names) > 1:
        raise StepError(
            f"{path} has {len(names)} signatures, but none is named {_DEFAULT_SIGNATURE}",
            f"set signature_name to one of: {listed(names)}",
        )
    return names[0]


def unregistered(operators: Iterable[str]) -> tuple[str, ...]:
    """Return the operators that TensorFlow doesn't have: those of libraries that a program has to load."""
    from tensorflow.python.framework import op_def_registry

    return tuple(sorted(name for name in operators if op_def_registry.get(name) is None))


def reason(error: BaseException) -> str:
    """Return the line of a TensorFlow exception with the reason; the rest is graph and traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # "Graph execution error:", the node, its traceback, the reason, "[[{{node ...}}]]".
    last = next((index for index, line in enumerate(lines) if line.startswith("[[")), 1)
    return lines[last - 1 if lines[0].startswith("Graph execution error") else 0].removeprefix("make_sure failure: ")[
        :400
    ]


def _load(path: Path) -> _Tf:
    import tensorflow as tf

    _cpu_only(tf)
    try:
        return tf.saved_model.load(str(path), tags=[_TAG])
    except Exception as error:
        raise _load_error(path, error) from error


def _cpu_only(tf: _Tf) -> None:
    """Keep TensorFlow off the GPUs: it would allocate all of their memory, and TF32 is too inexact for a reference."""
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError as error:  # TensorFlow has already run in this process, with other devices
        log.warning("can't hide the GPUs from TensorFlow: %s", error)
    tf.config.set_soft_device_placement(True)  # a model may have been saved with its operations on /GPU:0


def _load_error(path: Path, error: Exception) -> StepError:
    import tensorflow as tf

    text = reason(error)
    if "add_slot" in text:
        # TensorFlow loads the optimizers of Keras 2 from tf-keras, and falls back to Keras 3, which doesn't have them.
        return StepError(
            f"{path} was saved by Keras 2 with its optimizer, which TensorFlow {tf.__version__} can't load without "
            "tf-keras",
            how_to_get("tf-keras"),
        )
    if "Op type not registered" in text:
        return StepError(
            f"{path} uses an operation that TensorFlow {tf.__version__} doesn't have: {text}",
            "operations of other packages (tensorflow_text, custom op libraries) are not supported",
        )
    return StepError(
        f"TensorFlow {tf.__version__} can't load {path}: {type(error).__name__}: {text}",
        "check that tf.saved_model.load works with the TensorFlow that saved it, then save it again with this version",
    )


def serving_graph(path: Path) -> _Tf:
    """Return the MetaGraphDef of the SavedModel's graph for serving."""
    from tensorflow.python.saved_model import loader_impl

    if not any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        raise StepError(
            f"{path} is not a SavedModel: it doesn't contain saved_model.pb",
            "set model_path to the directory that tf.saved_model.save or model.export wrote",
        )
    try:
        saved = loader_impl.parse_saved_model(str(path))
    except OSError as error:
        raise StepError(f"{path} is not a SavedModel: {reason(error)}", "copy or save the model again") from error
    graphs = {frozenset(graph.meta_info_def.tags): graph for graph in saved.meta_graphs}
    if frozenset({_TAG}) not in graphs:
        found = "; ".join(sorted(", ".join(sorted(tags)) or "(none)" for tags in graphs))
        raise StepError(
            f"{path} has no graph with exactly the tag {_TAG!r}, only: {found}",
            f"save the model with tags=[{_TAG!r}]",
        )
    return graphs[frozenset({_TAG})]


def _described(function: _Tf, name: str) -> Signature:
    import tensorflow as tf

    positional, named = function.structured_input_signature
    outputs = function.structured_outputs
    if positional or not isinstance(outputs, Mapping):
        raise StepError(f"signature {name!r} has inputs or outputs without names", "save the model with signatures=...")
    return Signature(
        inputs=tuple(_spec(tf, "input", key, named[key], name) for key in sorted(named)),
        outputs=tuple(_spec(tf, "output", key, outputs[key], name) for key in sorted(outputs)),
    )


def _spec(tf: _Tf, kind: str, key: str, spec: _Tf, signature_name: str) -> TensorSpec:
    """Return the description of one tensor; refuse tensors that can't be NumPy arrays of numbers."""
    where = f"{kind} {key!r} of signature {signature_name!r}"
    if not isinstance(spec, tf.TensorSpec) and not tf.is_tensor(spec):
        raise StepError(
            f"{where} is a {type(spec).__name__.removesuffix('Spec')}, not a dense tensor",
            "save a wrapper around the model that takes and returns dense tensors",
        )
    if spec.dtype == tf.string:
        raise StepError(text_in_signature(kind, key, signature_name), TEXT_ADVICE)
    if spec.dtype.is_quantized or np.dtype(spec.dtype.as_numpy_dtype).kind not in "biufc":
        raise StepError(
            f"{where} has dtype {spec.dtype.name}, which NumPy doesn't support",
            "save a signature that casts it to float32",
        )
    shape = None if spec.shape.rank is None else tuple(-1 if size is None else int(size) for size in spec.shape)
    return TensorSpec(name=key, shape=shape, dtype=np.dtype(spec.dtype.as_numpy_dtype).name)
