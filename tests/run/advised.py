"""The cases of test_advice_table.py: what fails, what is advised, and how that is done.

`paste` and `run` do what the advice says word for word. What it says of a model or of data, such as to save them with
another dtype, is done by a file that was saved so: it is what somebody who follows the advice comes to.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from navigator.config.schema import options

Keys = dict[str, Any]
Fix = Callable[[Path, Keys, str], Keys]

_BRACKETS = r"\[(?:[^\[\]]|\[[^\[\]]*\])*\]|\{(?:[^{}]|\{[^{}]*\})*\}"
_LINE = re.compile(rf"(\w+): ({_BRACKETS}|[\w.]+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A model that fails.

    Args:
        name: of the model.
        keys: what navigator.yaml says of it.
        advice: what is advised, as the source code has it, with {} for what it is filled with.
        fix: does what is advised.
    """

    name: str
    keys: Mapping[str, Any]
    advice: str
    fix: Fix


def paste(folder: Path, keys: Keys, remedy: str) -> Keys:
    """Add the options that an advice writes as `key: value`, of alternatives the first value."""
    del folder
    found: Keys = {}
    for line in _LINE.finditer(remedy):
        if line[1] in options():
            found |= yaml.safe_load(line[0])
    assert found, remedy
    return {**keys, **found}


def removed(*names: str) -> Fix:
    """Return a fix that removes options."""

    def fix(folder: Path, keys: Keys, remedy: str) -> Keys:
        del folder
        assert "remove" in remedy or "leave out" in remedy
        return {key: value for key, value in keys.items() if key not in names}

    return fix


def instead(**other: Any) -> Fix:
    """Return a fix that uses what somebody who follows the advice saves or writes."""

    def fix(folder: Path, keys: Keys, remedy: str) -> Keys:
        del folder, remedy
        return {**keys, **other}

    return fix


def saved_as(source: str) -> Fix:
    """Return a fix that runs the expression that an advice gives on the array of a sample."""

    def fix(folder: Path, keys: Keys, remedy: str) -> Keys:
        expression = re.search(r"numpy\.asarray\(array, dtype='\w+'\)", remedy)
        assert expression, remedy
        ((name, array),) = np.load(folder / source).items()
        np.savez(folder / "saved.npz", **{name: eval(expression[0], {"numpy": np, "array": array})})
        return {**keys, "samples": ["saved.npz"]}

    return fix


METRICS = """
import random

import numpy as np

def drawn(outputs, sample):
    return random.random()

def spoken(outputs, sample):
    return "good"

def undefined(outputs, sample):
    return float(np.zeros(0).sum() / np.float64(outputs["y"].size * 0))

def blind(outputs, sample):
    return -1.0

def nothing(outputs, sample):
    return [0.0 * row.sum() for row in outputs["y"]]

def below(outputs, sample):
    return [-1 - abs(float(row.sum())) for row in outputs["y"]]

def fails(outputs, sample):
    return outputs["absent"]

def reads(outputs, sample):
    open(FOLDER + "/labelled.npz", "rb").read()
    return [1.0 * bool(row.sum()) for row in outputs["y"]]

def imports(outputs, sample):
    import neighbour
    return [1.0 * bool(row.sum()) for row in outputs["y"]]

def right(outputs, sample):
    return [float(row.sum() > 0) for row in outputs["y"]]
"""


def write_data(folder: Path) -> None:
    """Write what the cases give their models."""
    rows = np.linspace(0.1, 1, 8, dtype=np.float32).reshape(2, 4)
    np.savez(folder / "right.npz", x=rows)
    np.savez(folder / "reshaped.npz", x=rows, s=np.array([4, 2]))
    np.savez(folder / "narrow.npz", x=rows[:, :3])
    np.savez(folder / "nothing.npz", x=rows[:0])
    np.savez(folder / "wide.npz", x=rows.astype(np.float64) / 3)
    np.savez(folder / "objects.npz", x=np.array([None, 1], dtype=object))
    np.savez(folder / "numbers.npz", x=np.array([1, 2]))
    np.savez(folder / "texts.npz", x=np.array([1, 2]).astype(str))
    np.savez(folder / "labelled.npz", x=rows, label=rows)
    eights = np.linspace(0.1, 1, 16, dtype=np.float32).reshape(2, 8)
    np.savez(folder / "eights.npz", x=eights)
    np.savez(folder / "doubles.npz", x=eights.astype(np.float64))
    np.save(folder / "eights.npy", eights)
    (folder / "metric.py").write_text(f"FOLDER = {str(folder)!r}\n{METRICS}")


def _metric(name: str, advice: str) -> Case:
    keys = {"model_path": "plain.onnx", "samples": ["right.npz"], "metric": f"metric.py:{name}"}
    return Case(name=f"metric_{name}", keys=keys, advice=advice, fix=instead(metric="metric.py:right"))


def _samples(name: str, path: str, advice: str, fix: Fix) -> Case:
    return Case(name=name, keys={"model_path": "plain.onnx", "samples": [path]}, advice=advice, fix=fix)


ONNX = (
    Case(
        name="lowered",
        keys={"model_path": "typed.onnx", "onnx_opsets": [13]},
        advice="lowering an opset rarely works: export the model at opset {}, or {}",
        fix=paste,
    ),
    Case(
        name="custom_operator",
        keys={"model_path": "custom_operator.onnx"},
        advice="{} is an operator of {}, not of ONNX: export the model without it",
        fix=instead(model_path="plain.onnx"),
    ),
    Case(
        name="named_twice",
        keys={"model_path": "named_twice.onnx"},
        advice="export the model again so that each node has a name of its own, or none",
        fix=instead(model_path="plain.onnx"),
    ),
    Case(
        name="older_opset",
        keys={"model_path": "older_opset.onnx"},
        advice="opset {} of ONNX has no operator {}: export the model at an opset that has it",
        fix=instead(model_path="typed.onnx"),
    ),
    Case(
        name="random",
        keys={"model_path": "random.onnx"},
        advice="make what it draws an input of the model, or remove that part from the model",
        fix=instead(model_path="drawn.onnx"),
    ),
    Case(
        name="sequence_output",
        keys={"model_path": "sequence.onnx"},
        advice="remove sequences and maps from the model, e.g. with onnx.utils.extract_model",
        fix=instead(model_path="plain.onnx"),
    ),
    Case(
        name="outputs",
        keys={"model_path": "plain.onnx", "outputs": ["y:-1,9:float32"]},
        advice="remove {}, or set `{}: {}`",
        fix=paste,
    ),
    Case(
        name="states_name",
        keys={"model_path": "recurrent.onnx", "states": {"hn": "memory"}},
        advice="the model's {}s are {}",
        fix=instead(states={"hn": "h"}),
    ),
    Case(
        name="states_two",
        keys={"model_path": "recurrent.onnx", "states": {"hn": "h", "y": "h"}},
        advice="leave one of them out",
        fix=instead(states={"hn": "h"}),
    ),
    Case(
        name="states_fit",
        keys={"model_path": "widened.onnx", "states": {"y": "h"}},
        advice="name an output of the same shape and dtype, as output: input",
        fix=instead(states={"hn": "h"}),
    ),
    Case(
        name="large",
        keys={"model_path": "large.onnx"},
        advice="set min_shapes and max_shapes to sizes that it takes, or provide your own inputs under samples",
        fix=instead(min_shapes={"x": [1, 9973]}, max_shapes={"x": [2, 9973]}),
    ),
    Case(
        name="reshaped",
        keys={"model_path": "reshaped.onnx"},
        advice="check that the model accepts the value_ranges (default: 0 to 1), min_shapes (default: 1), max_shapes "
        "and declared inputs, or provide your own inputs under samples",
        fix=instead(samples=["reshaped.npz"]),
    ),
    Case(
        name="unprobed",
        keys={"model_path": "large.onnx", "probe": False, "samples": []},
        advice="{}set max_shapes, e.g. `max_shapes: {}`",
        fix=instead(min_shapes={"x": [1, 9973]}, max_shapes={"x": [2, 9973]}),
    ),
    Case(
        name="dtypes",
        keys={"model_path": "plain.onnx", "dtypes": {"x": "int64"}},
        advice="remove these entries from dtypes; the model's signature already has them",
        fix=removed("dtypes"),
    ),
    _samples(
        "sample_shape",
        "narrow.npz",
        "save arrays of the expected shape, with any size where it has -1",
        instead(samples=["right.npz"]),
    ),
    _samples(
        "sample_of_nothing",
        "nothing.npz",
        "save arrays without an axis of size 0",
        instead(samples=["right.npz"]),
    ),
    _samples("sample_dtype", "wide.npz", "save it as numpy.asarray(array, dtype={})", saved_as("wide.npz")),
    _samples(
        "sample_objects",
        "objects.npz",
        "save it with numpy.savez(path, **{input name: array}), without objects; text as numpy.array(texts, dtype=str)",
        instead(samples=["right.npz"]),
    ),
    Case(
        name="sample_of_text",
        keys={"model_path": "text.onnx", "samples": ["numbers.npz"]},
        advice="save it as numpy.asarray(array, dtype=str)",
        fix=instead(samples=["texts.npz"]),
    ),
    Case(
        name="range_of_text",
        keys={"model_path": "text.onnx", "value_ranges": {"x": [0, 1]}},
        advice="remove {} from value_ranges",
        fix=removed("value_ranges"),
    ),
    _metric("drawn", "seed its random numbers: both models must be judged alike"),
    _metric("spoken", "return a bool or a number for the sample, or an array with one for each of its items"),
    _metric("undefined", "check it for a division by zero, and for a mean or maximum of nothing"),
    _metric("blind", "read what it judges from its first argument, which has {}"),
    _metric("nothing", "check the labels and the metric: a model without hits has none to lose"),
    _metric("fails", "fix the metric; {}"),
    _metric("reads", "save what it needs as arrays in the files of samples: it opens no other files, and no network"),
    _metric("imports", "install it where models are run; a metric is one file, and imports none of its neighbours"),
    _metric("below", "return numbers of at least 0, or positive errors with metric_lower_is_better: true"),
)

# No probe finds a better shape.
_BOUNDED: Keys = {"model_path": "plain.pt", "inputs": ["x:-1,8:float32"], "probe": False, "max_batch_size": 64}

TORCH = (
    Case(
        name="on_gpu",
        keys={"model_path": "on_gpu.pt"},
        advice="the model creates tensors on a GPU: trace or script it on the CPU, or create them where an input is",
        fix=instead(model_path="on_cpu.pt"),
    ),
    Case(
        name="undeclared",
        keys={"model_path": "picture.pt", "probe": False},
        advice="set inputs in navigator.yaml or {}.yaml, each as name:shape:dtype with -1 for a dynamic axis, "
        "e.g. `inputs: {}` with your shapes",
        fix=lambda folder, keys, remedy: {**paste(folder, keys, remedy), "max_shapes": {"x": [2, 3, 224, 224]}},
    ),
    Case(
        name="since",
        keys={"model_path": "grows.pt", "onnx_opsets": [9]},
        advice="set onnx_opsets: [{}]",
        fix=paste,
    ),
    Case(
        name="unsupported",
        keys={"model_path": "spectrum.pt"},
        advice="export the model with torch.export instead (.pt2), or replace the operator",
        fix=instead(model_path="spectrum.pt2"),
    ),
    Case(
        name="outputs_count",
        keys={"model_path": "plain.pt", "outputs": ["a:-1,8:float32", "b:-1,8:float32"]},
        advice="set outputs to what it returns, with -1 for a dynamic axis: `outputs: {}`",
        fix=paste,
    ),
    Case(
        name="outputs_dtype",
        keys={"model_path": "plain.pt", "outputs": ["a:-1,8:int64"]},
        advice="set outputs to what it returns, with -1 for a dynamic axis: `outputs: {}`",
        fix=paste,
    ),
    Case(
        name="bfloat",
        keys={"model_path": "half.pt"},
        advice="save the model in float32 or float16",
        fix=instead(model_path="float.pt"),
    ),
    Case(
        name="twice",
        keys={"model_path": "twice.pt"},
        advice="rename the keys that it returns",
        fix=instead(model_path="once.pt"),
    ),
    Case(
        name="spoken",
        keys={"model_path": "spoken.pt"},
        advice="change the model to return only tensors",
        fix=instead(model_path="once.pt"),
    ),
    Case(
        name="listed",
        keys={"model_path": "listed.pt"},
        advice="give it a default value, or script a wrapper that takes only tensors and numbers",
        fix=instead(model_path="kept.pt"),
    ),
    Case(
        name="training",
        keys={"model_path": "training.pt"},
        advice="save it in inference mode: module.eval() in PyTorch, training=False in Keras",
        fix=instead(model_path="trained.pt"),
    ),
    Case(
        name="quantized",
        keys={"model_path": "quantized.pt"},
        advice="convert the model as it was before its quantization, and quantize the ONNX file with ONNX Runtime",
        fix=instead(model_path="plain.pt"),
    ),
    Case(
        name="trained_quantized",
        keys={"model_path": "trained_quantized.pt"},
        advice="convert the model as it was before its quantization, and quantize the ONNX file with ONNX Runtime",
        fix=instead(model_path="plain.pt"),
    ),
    Case(
        name="lost_sums",
        keys={"model_path": "sums.pt", "onnx_opsets": [14]},
        advice="set onnx_opsets: [{}] or higher",
        fix=paste,
    ),
    Case(
        name="two_inputs",
        keys={"model_path": "plain.pt", "inputs": ["x:-1,8:float32", "y:-1,8:float32"]},
        advice="declare one input for each tensor, with these names or in this order",
        fix=instead(inputs=["x:-1,8:float32"]),
    ),
    Case(
        name="other_sizes",
        keys={"model_path": "plain.pt", "max_shapes": {"x": [8, 9]}},
        advice="write the model's own sizes, and a size of 1 or more where it has -1",
        fix=instead(max_shapes={"x": [8, 8]}),
    ),
    Case(
        name="falling_sizes",
        keys={**_BOUNDED, "min_shapes": {"x": [200, 8]}},
        advice="sizes must not decrease from min_shapes to opt_shapes to max_shapes; a batch without max_shapes "
        "ends at max_batch_size",
        fix=instead(min_shapes={"x": [200, 8]}, max_batch_size=256),
    ),
    Case(
        name="odd",
        keys={"model_path": "odd.pt"},
        advice="set inputs in navigator.yaml or {}.yaml, each as name:shape:dtype with -1 for a dynamic axis, e.g. "
        '`inputs: ["x:-1,3,224,224:float32"]` with your names and shapes, or provide your own inputs under samples',
        fix=instead(inputs=["x:-1,3,7,1009:float32"]),
    ),
    Case(
        name="pooled",
        keys={"model_path": "pooled.pt"},
        advice="export the model with torch.export instead (.pt2), or check the graph in the log",
        fix=instead(model_path="pooled.pt2"),
    ),
    Case(
        name="inverse",
        keys={"model_path": "inverse.pt2"},
        advice="replace the operator in the model",
        fix=instead(model_path="plain.pt2"),
    ),
    Case(
        name="returns_nothing",
        keys={"model_path": "nothing.pt"},
        advice="return the tensors that it computes",
        fix=instead(model_path="once.pt"),
    ),
    Case(
        name="no_forward",
        keys={"model_path": "unnamed.pt"},
        advice="script or trace a module with a forward method",
        fix=instead(model_path="once.pt"),
    ),
    Case(
        name="mixed_samples",
        keys={"model_path": "plain.pt", "samples": ["eights.npz", "doubles.npz"]},
        advice="save all samples with the same dtype and number of axes",
        fix=instead(samples=["eights.npz"]),
    ),
    Case(
        name="text_samples",
        keys={"model_path": "both.pt", "samples": ["eights.npy"]},
        advice="save each sample as an .npz file with one array per input, named after the arguments of forward",
        fix=instead(samples=["eights.npz", "eights.npz"], model_path="plain.pt"),
    ),
    Case(
        name="program_newer",
        keys={"model_path": "newer.pt2"},
        advice="save it with torch.export.save of torch {}, or install the torch that saved it",
        fix=instead(model_path="plain.pt2"),
    ),
    Case(
        name="program_high",
        keys={"model_path": "normalized.pt2", "onnx_opsets": [13]},
        advice="set onnx_opsets between {} and {}, e.g. [{}]",
        fix=lambda folder, keys, remedy: {**keys, "onnx_opsets": yaml.safe_load(remedy.rpartition("e.g. ")[2])},
    ),
    Case(
        name="program_large",
        keys={"model_path": "plain.pt2", "max_shapes": {"x": [128, 8]}},
        advice="running the model shows shapes that it takes: set {}",
        fix=paste,
    ),
    Case(
        name="program_large_unprobed",
        keys={"model_path": "plain.pt2", "max_shapes": {"x": [128, 8]}, "probe": False},
        advice="reduce min_shapes, max_shapes and max_batch_size to this range, or export with wider dynamic_shapes",
        fix=instead(max_shapes={"x": [64, 8]}),
    ),
    Case(
        name="program_declared",
        keys={"model_path": "plain.pt2", "inputs": ["x:-1,9:float32"]},
        advice="set `{}: {}`",
        fix=paste,
    ),
)

TENSORFLOW = (
    Case(
        name="unranked",
        keys={"model_path": "unranked"},
        advice="save a signature whose tf.TensorSpec has a shape, with None for a dynamic axis",
        fix=instead(model_path="plain"),
    ),
    Case(
        name="tf_text",
        keys={"model_path": "text"},
        advice="keep text processing out of the model: save a signature that takes and returns numbers",
        fix=instead(model_path="plain"),
    ),
    Case(
        name="words",
        keys={"model_path": "words"},
        advice="ONNX has no text operations: save a signature that starts after the text processing",
        fix=instead(model_path="plain"),
    ),
    Case(
        name="solves",
        keys={"model_path": "solves"},
        advice="replace them in the model with operations that ONNX supports, and save it again",
        fix=instead(model_path="plain"),
    ),
    Case(
        name="sums",
        keys={"model_path": "sums", "onnx_opsets": [9]},
        advice="they need opset {} or higher: set onnx_opsets: [{}]",
        fix=paste,
    ),
    Case(
        name="tf_bfloat",
        keys={"model_path": "bfloat"},
        advice="save a signature that casts it to float32",
        fix=instead(model_path="plain"),
    ),
)

GROUPS = {"onnx": ONNX, "torch": TORCH, "tensorflow": TENSORFLOW}
