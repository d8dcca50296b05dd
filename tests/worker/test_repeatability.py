"""A source model that draws random numbers is no reference, and is told what draws; rounding isn't randomness."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx  # noqa: TID253 - makes the models
import pytest

from navigator.errors import StepError
from navigator.records import Signature
from navigator.runners import RUNNERS, tf_savedmodel, torch_export, torchscript
from navigator.runners import onnx as runner
from navigator.runners.protocol import LoadedModel, SourceModel
from navigator.workers.repeatability import RANDOM, require_repeatable

HEAD = '<ir_version: 8, opset_import: ["" : 13]> m (float[b, 40] x) => (float[b, 40] y) '
DRAWING = {
    "RandomUniformLike": "{ n = RandomUniformLike(x) y = Add(x, n) }",
    "RandomNormalLike": "{ n = RandomNormalLike <scale: float = 0.001> (x) y = Add(x, n) }",
    "RandomUniform": "{ n = RandomUniform <shape = [40]> () y = Mul(x, n) }",
    "RandomNormal": "{ n = RandomNormal <shape = [40], seed: float = 7.0> () y = Add(x, n) }",
    "Bernoulli": (
        '<ir_version: 8, opset_import: ["" : 15]> m (float[b, 40] x) => (float[b, 40] y) { n = Bernoulli(x) '
        "y = Mul(x, n) }"
    ),
    "Multinomial": "{ n = Multinomial <sample_size = 40> (x) f = Cast <to = 1> (n) y = Add(x, f) }",
    "Dropout": ("{ r = Constant <value = float {0.5}> () t = Constant <value = bool {1}> () y = Dropout(x, r, t) }"),
}
SAMPLES = [
    ("zeros", {"x": np.zeros((1, 40), np.float32)}),
    ("max", {"x": np.linspace(0.1, 1, 160, dtype=np.float32).reshape(4, 40)}),
    ("min", {"x": np.linspace(0.1, 1, 40, dtype=np.float32).reshape(1, 40)}),
]


def loaded(path: Path, text: str) -> runner.OnnxModel:
    onnx.save(onnx.parser.parse_model(text if text.startswith("<") else HEAD + text), path)
    return runner.load(path, declared=Signature(inputs=(), outputs=()))


def states(path: Path, model: Any, samples: Any = SAMPLES) -> tuple[str, ...]:
    outputs = [(name, model.infer(inputs)) for name, inputs in samples]

    def reload() -> Any:
        return runner.load(path, declared=Signature(inputs=(), outputs=()))

    return require_repeatable(model, samples, outputs, reload)


@pytest.mark.parametrize("operator", DRAWING)
def test_an_onnx_model_that_draws_is_refused_with_the_operator(tmp_path: Path, operator: str) -> None:
    model = loaded(tmp_path / "m.onnx", DRAWING[operator])
    with pytest.raises(StepError) as error:
        states(tmp_path / "m.onnx", model)
    assert f"it draws random numbers with {operator}. Run twice on sample 'min', its output 'y' differs by up to" in (
        error.value.message
    )
    expected = "save it in inference mode" if operator == "Dropout" else "make what it draws an input of the model"
    assert error.value.hint.startswith(expected)


def test_an_operator_that_draws_where_nobody_looks_is_no_reason(tmp_path: Path) -> None:
    model = loaded(tmp_path / "m.onnx", "{ n = RandomNormalLike(x) y = Add(x, x) }")
    assert states(tmp_path / "m.onnx", model) == ()
    dropout = "{ r = Constant <value = float {0.5}> () t = Constant <value = bool {0}> () y = Dropout(x, r, t) }"
    assert states(tmp_path / "m.onnx", loaded(tmp_path / "m.onnx", dropout)) == ()


class Fake(SourceModel):
    """A source model whose calls answer one after the other, since no CPU gives threads' noise on demand."""

    signature = Signature(inputs=(), outputs=())
    properties: Any = None
    random_operations: tuple[str, ...] = ()

    def __init__(self, answers: list[np.ndarray], random_operations: tuple[str, ...] = ()) -> None:
        self.answers = list(answers)
        self.random_operations = random_operations

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        del inputs
        return {"y": self.answers.pop(0)}


def test_every_format_that_can_be_a_source_has_what_is_asked_of_its_models() -> None:
    """A model that lacks a member isn't taken for a source model, and would be judged without being asked."""
    wanted = {name for each in (SourceModel, LoadedModel) for name in vars(each) if not name.startswith("_")}
    classes = (
        runner.OnnxModel,
        torchscript.TorchScriptModel,
        torch_export.TorchExportModel,
        tf_savedmodel._LoadedSavedModel,
    )
    assert len(classes) == sum(each.AS_SOURCE is not None for each in RUNNERS.values())
    assert "random_operations" in wanted
    for each in classes:
        assert wanted <= {*dir(each), *each.__dataclass_fields__}


VALUES = np.linspace(-1500, 1500, 50, dtype=np.float32)


def faked(answers: list[np.ndarray], drawing: tuple[str, ...]) -> Fake:
    return Fake(answers, drawing)  # type: ignore[abstract] # what isn't asked here does nothing


def run(first: np.ndarray, again: np.ndarray, fresh: np.ndarray, *drawing: str) -> tuple[str, ...]:
    model = faked([first, again], drawing)
    samples = [("min", {"x": np.arange(3.0)})]
    return require_repeatable(model, samples, [("min", model.infer({}))], lambda: faked([fresh], drawing))


def test_noise_of_threads_is_no_randomness() -> None:
    noisy = VALUES + np.float32(0.67)  # what another thread count changes in a visformer with outputs up to 3,000
    assert run(VALUES, noisy, VALUES + np.float32(0.3)) == ()


def test_what_is_larger_than_rounding_is_randomness_though_no_operation_tells() -> None:
    with pytest.raises(StepError, match="it seems to draw random numbers"):
        run(VALUES, VALUES + np.float32(2 * RANDOM * 3000), VALUES - np.float32(100))


@pytest.mark.parametrize("drawing", ["RandomUniform in dropout_1", "StatelessRandomUniformV2 in random_flip"])
def test_layers_that_only_draw_in_training_are_told_from_others(drawing: str) -> None:
    for known, begins in ((drawing, "save it in inference mode"), ("RandomUniform", "make what it draws an input")):
        with pytest.raises(StepError) as error:
            run(VALUES, VALUES[::-1], VALUES, known)
        assert error.value.hint.startswith(begins)


def test_a_state_is_no_randomness_since_a_new_copy_begins_anew() -> None:
    assert run(VALUES, VALUES + 100, VALUES) == ("y",)


def test_with_an_operation_that_draws_small_noise_is_randomness_too() -> None:
    with pytest.raises(StepError, match=r"with aten::randn\. Run twice"):
        run(VALUES, VALUES + np.float32(0.01), VALUES, "aten::randn")
    assert run(VALUES, np.nextafter(VALUES, np.float32(np.inf)), VALUES, "aten::randn") == ()


@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64", "float16"])
def test_randomness_shows_in_any_dtype(dtype: str) -> None:
    first = np.array([0, 1, 1, 0], dtype)
    assert run(first, first.copy(), first) == ()
    with pytest.raises(StepError, match="random"):
        run(first, np.array([1, 0, 1, 0], dtype), np.array([1, 1, 1, 1], dtype))


def test_another_number_of_values_is_randomness() -> None:
    with pytest.raises(StepError, match=r"differs first \[50\], then \[49\]"):
        run(VALUES, VALUES[1:], VALUES[1:])


def test_infinities_and_nan_at_the_same_places_are_alike() -> None:
    first = np.array([np.nan, np.inf, 1.0, -np.inf])
    assert run(first, first.copy(), first) == ()
    with pytest.raises(StepError, match="differs by up to inf"):
        run(first, np.array([1.0, np.inf, np.nan, -np.inf]), np.array([1.0, 2.0, 3.0, 4.0]))
