"""The worker's part of the user's metric: what it's given, what it may return, and what is said of its errors."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from navigator.errors import StepError
from navigator.records import MetricFunction, ModelConfig, to_data
from navigator.samples import storage
from navigator.workers.metric import metric


@pytest.fixture
def answer(tmp_path: Path) -> Any:
    """Return a function that calls `f` of a file on two samples, and returns the worker's answer."""
    rng = np.random.default_rng(0)
    inputs = {name: {"x": rng.random((2, 3))} for name in ("one", "two")}
    source = {name: {"y": 2 * each["x"]} for name, each in inputs.items()}
    outputs = {name: {"y": 3 * each["x"], "z": each["x"]} for name, each in inputs.items()}
    for directory, sets in (("samples", inputs), ("source", source), ("outputs", outputs)):
        storage.save(tmp_path / directory, list(sets.items()))
    np.savez(tmp_path / "one.npz", x=inputs["one"]["x"], label=[0, 1], text=["a", "b"])
    np.save(tmp_path / "two.npy", inputs["two"]["x"])

    def answer(text: str, *, names: tuple[str, ...] = ("one",), own: bool = True) -> Any:
        (tmp_path / "metric.py").write_text(textwrap.dedent(text))
        files = (tmp_path / "one.npz", tmp_path / "two.npy") if own else ()
        function = MetricFunction(path=tmp_path / "metric.py", function="f")
        config = ModelConfig(model_name="m", model_path=tmp_path / "m.onnx", samples=files, metric=function)
        directories = {name: str(tmp_path / name) for name in ("samples", "source", "outputs")}
        return metric({"config": to_data(config), **directories, "names": list(names)})

    return answer


@pytest.fixture
def call(answer: Any) -> Any:
    """Return a function that calls `f` of a file on two samples, and returns its values."""

    def run(text: str, **how: Any) -> dict[str, list[float]]:
        return {name: list(values) for name, values in answer(text, **how)["values"].items()}

    return run


TENSOR = """
import numpy as np

class Tensor:
    \"\"\"As one of PyTorch's that requires a gradient.\"\"\"
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad")
    def detach(self):
        return np.array([0.5, 1.0])
"""


@pytest.mark.parametrize(
    ("returns", "values"),
    [
        ("True", [1.0]),
        ("0.25", [0.25]),
        ("3", [3.0]),
        ("outputs['y'].argmax(-1) == sample['label']", None),
        ("[0, 1, 0.5]", [0, 1, 0.5]),
        ("np.ones((2, 2), bool)", [1, 1, 1, 1]),
        ("np.float16(0.5)", [0.5]),
        ("[]", []),
        ("float((sample['text'] == 'a').mean())", [0.5]),
        ("Tensor()", [0.5, 1.0]),
    ],
)
def test_what_it_returns_is_a_value_per_item(call: Any, returns: str, values: list[float] | None) -> None:
    found = call(f"{TENSOR}\ndef f(outputs, sample):\n    outputs['y']\n    return {returns}\n")["one"]

    assert found == values if values is not None else set(found) <= {0.0, 1.0}
    assert values is not None or len(found) == 2


def test_it_is_given_outputs_inputs_labels_and_the_source_models_outputs(call: Any) -> None:
    found = call(
        """
        import numpy as np
        def f(outputs, sample, *, source):
            assert set(sample) - {"label", "text"} == {"x"}, sample
            return bool(np.allclose(outputs["y"], 3 * sample["x"]) and np.allclose(source["y"], 2 * sample["x"]))
        """,
        names=("one", "two"),
    )
    assert found == {"one": [1.0], "two": [1.0]}


def test_it_gets_copies(call: Any) -> None:
    text = """
        def f(outputs, sample):
            outputs["y"] *= 0
            sample.clear()
            return float(outputs["y"].sum())
        """
    assert call(text, names=("one", "two"), own=False) == {"one": [0.0], "two": [0.0]}
    assert call("def f(outputs, sample): return float(outputs['y'].sum() > 0)")["one"] == [1.0]


def test_a_class_may_be_defined_beside_it(call: Any) -> None:
    text = """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class Pair:
            hit: bool
        def f(outputs, sample):
            return Pair(outputs["y"].size > 0).hit
        """
    assert call(text)["one"] == [1.0]


@pytest.mark.parametrize(
    ("reads", "outputs"),
    [
        ("outputs['y']", ["y"]),
        ("outputs.get('z')", ["z"]),
        ("outputs.pop('y')", ["y"]),
        ("outputs.copy()['z']", ["z"]),
        ("list(outputs.values())", ["y", "z"]),
        ("[array for _, array in outputs.items()]", ["y", "z"]),
        ("dict(outputs)", ["y", "z"]),
        ("dict(**outputs)", ["y", "z"]),
        ("{**outputs}", ["y", "z"]),
        ("[len(name) for name in outputs], outputs.get('x'), 'z' in outputs, outputs['y']", ["y"]),
    ],
)
def test_the_outputs_that_it_looks_at_are_known(answer: Any, reads: str, outputs: list[str]) -> None:
    assert answer(f"def f(outputs, sample):\n    {reads}\n    return True")["outputs"] == tuple(outputs)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("def f(outputs, sample): return 'y' in outputs", "f looks at no output", "its first argument, which has y, z"),
        (
            "def f(outputs, sample):\n    return sample['lable']",
            "the metric f fails for sample 'one': metric.py, line 2: KeyError: 'lable'",
            "fix the metric; outputs has y, z; sample has x, label, text",
        ),
        ("import numpy\n1 / 0", "the metric f fails while it was loaded: metric.py, line 2: ZeroDivisionError", ""),
        ("def f(", "the metric f fails while it was loaded: metric.py, line 1: SyntaxError", ""),
        (
            "import sys\ndef f(outputs, sample):\n    sys.exit('no')",
            "the metric f fails for sample 'one': metric.py, line 3: SystemExit: no",
            "",
        ),
        ("import no_such_module", "metric.py, line 1: ModuleNotFoundError: No module named", "install it where"),
        (
            "def f(outputs, sample):\n    raise PermissionError(13, 'Permission denied', '/secret')",
            "metric.py, line 2: PermissionError: /secret isn't open to it",
            "save what it needs as arrays",
        ),
        ("def g(outputs, sample): ...", "metric.py has no function 'f'", "define it"),
        ("f = 3", "metric.py has no function 'f'", "define it"),
        ("def f(outputs, sample): pass", "f returns None for sample 'one'", "return a bool or a number"),
        ("def f(outputs, sample): return 'good'", "f returns a str, not numbers, for sample 'one'", ""),
        ("def f(outputs, sample): return {'top1': 1}", "f returns a dict, not numbers, for sample 'one'", ""),
        ("def f(outputs, sample): return [[1], [2, 3]]", "f returns a list for sample 'one'", ""),
        ("def f(outputs, sample): return float('nan')", "f returns nan for sample 'one'", ""),
        (
            "import numpy\ndef f(outputs, sample): return numpy.array([1, numpy.inf])",
            "f returns inf in 1 of 2 values for sample 'one'",
            "",
        ),
        (
            "import random\ndef f(outputs, sample): return random.random()",
            "f returns other values for sample 'one' when it's called again",
            "seed its random numbers",
        ),
        (
            "import numpy\ndef f(outputs, sample): return numpy.ones(1_000_001)",
            "f returns more than 1,000,000 values",
            "an image, not a pixel",
        ),
    ],
)
def test_errors_say_where_they_are(call: Any, text: str, message: str, hint: str) -> None:
    with pytest.raises(StepError) as raised:
        call(text)
    assert message in raised.value.message
    assert hint in raised.value.hint
    assert raised.value.hint
