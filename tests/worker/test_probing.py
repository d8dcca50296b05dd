"""Models that are asked which shapes they take. They're Python functions here: no framework is needed to refuse."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from navigator.errors import StepError
from navigator.records import AxisSpec, Format, FoundShapes, ModelConfig, Properties, Signature, TensorSpec
from navigator.samples.found import block, finding, with_found
from navigator.samples.shapes import resolve_shapes
from navigator.workers import questions
from navigator.workers.probing import advised, ask

Shape = tuple[int, ...]
Rule = Callable[..., object]


@dataclass
class Model:
    """A model that takes the shapes for which `rule`, called with the shape of each input, is true."""

    inputs: tuple[TensorSpec, ...]
    rule: Rule
    axes: Mapping[str, tuple[AxisSpec, ...]] = field(default_factory=dict)
    answer: Callable[[Mapping[str, np.ndarray]], np.ndarray] = lambda inputs: np.ones(3, np.float32)
    asked: list[Mapping[str, Shape]] = field(default_factory=list)

    @property
    def signature(self) -> Signature:
        return Signature(inputs=self.inputs, outputs=())

    @property
    def properties(self) -> Properties:
        return Properties()

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        shapes = {name: array.shape for name, array in inputs.items()}
        self.asked.append(shapes)
        if not self.rule(*shapes.values()):
            raise StepError(f"no {shapes}")
        return {"y": self.answer(inputs)}


def spec(name: str, *shape: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=dtype)


def config(**options: Any) -> ModelConfig:
    return ModelConfig(model_name="m", model_path=Path("/m"), model_format=Format.ONNX, **options)


def found(model: Model, **options: Any) -> FoundShapes:
    answer, _ = ask(model, model.inputs, config(**options))
    assert answer is not None
    return answer


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let samples be at most as large as three images of 640 x 640."""
    monkeypatch.setattr(questions, "_ARRAYS_BYTES", 16 * 2**20)


IMAGE = spec("x", -1, 3, -1, -1)
IDS = (spec("ids", -1, -1, dtype="int64"), spec("mask", -1, -1, dtype="int64"))


@pytest.mark.parametrize(
    ("inputs", "rule", "smallest", "largest"),
    [
        pytest.param(
            (IMAGE,), lambda x: x[2] % 32 == x[3] % 32 == 0, {"x": (1, 3, 32, 32)}, {"x": (2, 3, 640, 640)}, id="stride"
        ),
        pytest.param(
            (IMAGE,), lambda x: x[2:] == (224, 224), {"x": (1, 3, 224, 224)}, {"x": (16, 3, 224, 224)}, id="one_size"
        ),
        pytest.param(
            (IMAGE,), lambda x: x[2:] == (77, 77), {"x": (1, 3, 77, 77)}, {"x": (128, 3, 77, 77)}, id="any_size"
        ),
        pytest.param(
            (IMAGE,),
            lambda x: x[2:] in ((7, 7), (8, 8)),
            {"x": (1, 3, 8, 8)},
            {"x": (128, 3, 8, 8)},
            id="roundest_size",
        ),
        pytest.param(
            IDS,
            lambda ids, mask: ids == mask and ids[1] <= 77,
            {"ids": (1, 1), "mask": (1, 1)},
            {"ids": (128, 77), "mask": (128, 77)},
            id="positions",
        ),
        pytest.param(
            IDS,
            lambda past, mask: past[0] == mask[0] and mask[1] == past[1] + 1,
            {"ids": (1, 1), "mask": (1, 2)},
            {"ids": (128, 512), "mask": (128, 513)},
            id="one_longer",
        ),
        pytest.param(
            (spec("wave", -1, -1),), lambda wave: wave[1] >= 105, {"wave": (1, 105)}, {"wave": (128, 512)}, id="kernel"
        ),
        pytest.param(
            (spec("wave", -1, -1),),
            lambda wave: wave[1] >= 9000,
            {"wave": (1, 9000)},
            {"wave": (128, 32000)},
            id="speech",
        ),
        pytest.param((spec("x", -1, 4),), lambda x: x[0] <= 3, {"x": (1, 4)}, {"x": (3, 4)}, id="batch"),
        pytest.param(
            (spec("x", -1, 4), spec("state", 2, -1, 8)),
            lambda x, state: x[0] == state[1],
            {"x": (1, 4), "state": (2, 1, 8)},
            {"x": (128, 4), "state": (2, 128, 8)},
            id="state",
        ),
        pytest.param(
            (spec("x", -1, 4), spec("steps", 2, -1)),
            lambda x, steps: x[0] == 1 and steps[1] > 3,
            {"x": (1, 4), "steps": (2, 4)},
            {"x": (1, 4), "steps": (2, 512)},
            id="no_state",
        ),
    ],
)
def test_the_sizes_that_a_model_takes_are_found(
    inputs: tuple[TensorSpec, ...], rule: Rule, smallest: dict[str, Shape], largest: dict[str, Shape]
) -> None:
    answer = found(Model(inputs, rule))

    assert (answer.min_shapes, answer.max_shapes) == (smallest, largest)
    for shapes in filter(None, (answer.min_shapes, answer.opt_shapes, answer.max_shapes)):
        assert rule(*shapes.values())


def test_a_single_size_is_told_as_such() -> None:
    answer = found(Model((spec("x", 1, 3, -1, -1),), lambda x: x[2:] == (224, 224)))
    assert finding(answer).endswith("x[2], x[3]: only 224 (others are refused)")


def test_sizes_in_steps_are_sampled_between_their_ends_and_told() -> None:
    answer = found(Model((IMAGE,), lambda x: x[2] % 16 == x[3] % 16 == 0))

    size = answer.opt_shapes["x"][2]
    assert size % 16 == 0
    assert 32 < size < 640
    assert "x[2], x[3]: 32 to 640 in steps of 16 (the largest that was tried)" in finding(answer)


def test_the_block_to_paste_gives_the_same_shapes_and_asks_no_more() -> None:
    model = Model((IMAGE, spec("a b", -1, -1)), lambda x, a: x[0] == a[0] and x[2] % 32 == x[3] % 32 == 0 and a[1] < 9)
    answer = found(model)

    pasted = yaml.safe_load("\n".join(block(answer)))
    shapes = {key: {name: tuple(shape) for name, shape in each.items()} for key, each in pasted.items()}
    model.asked.clear()
    assert ask(model, model.inputs, config(**shapes)) == (None, False)
    assert model.asked == []
    again = resolve_shapes(model.inputs, config(**shapes))
    assert again == resolve_shapes(model.inputs, with_found(config(), answer))


def test_what_the_user_gives_wins() -> None:
    model = Model((IMAGE,), lambda x: x[2] % 32 == x[3] % 32 == 0)

    assert found(model, max_shapes={"x": (4, 3, 64, 96)}).max_shapes == {"x": (4, 3, 64, 96)}
    assert found(model, max_batch_size=2).max_shapes["x"][0] == 2
    answer = found(model, min_shapes={"x": (2, 3, 96, 64)})
    assert answer.min_shapes == {"x": (2, 3, 96, 64)}
    assert answer.max_shapes["x"][2:] == (640, 640)


def test_a_refused_minimum_is_raised_if_nobody_gave_it() -> None:
    model = Model((spec("x", -1, -1),), lambda x: x[1] % 4 == 0)

    answer = found(model, max_shapes={"x": (1, 64)})
    assert (answer.min_shapes, answer.max_shapes) == ({"x": (1, 4)}, {"x": (1, 64)})
    assert "x[1]: 4 to 64" in finding(answer)
    assert "smaller ones are refused" in finding(answer)


def test_a_model_that_takes_what_is_known_is_asked_little_and_nothing_is_told() -> None:
    model = Model((spec("x", -1, 4),), lambda _: True)
    assert ask(model, model.inputs, config()) == (None, False)
    assert len(model.asked) < 12

    fixed = Model((spec("x", 2, 4),), lambda _: True)
    assert ask(fixed, fixed.inputs, config()) == (None, False)
    assert fixed.asked == []


def test_names_and_ranges_of_the_file_are_kept_to() -> None:
    model = Model(
        IDS,
        lambda past, mask: mask[1] == past[1] + 1 and past[1] <= 600,
        axes={
            "ids": (AxisSpec(size="b", ranges={"b": (1, 8)}), AxisSpec(size="p", ranges={"p": (3, None)})),
            "mask": (AxisSpec(size="b", ranges={"b": (1, 8)}), AxisSpec(size="p + 1", ranges={"p": (3, None)})),
        },
    )
    answer = found(model)

    assert answer.min_shapes == {"ids": (1, 3), "mask": (1, 4)}
    assert answer.max_shapes == {"ids": (8, 512), "mask": (8, 513)}
    assert "ids[0], mask[0]: 1 to 8 (the model's file has no larger ones)" in finding(answer)


def test_what_costs_much_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A millisecond a row: 128 rows would take more than 50."""
    monkeypatch.setattr(questions, "_SECONDS", 0.05)

    def slow(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        until = time.process_time() + 0.001 * len(inputs["x"])
        while time.process_time() < until:
            pass
        return np.ones(3, np.float32)

    model = Model((spec("x", -1, 4),), lambda _: True, answer=slow)
    answer = found(model)

    assert 2 <= answer.max_shapes["x"][0] <= 32
    assert "larger ones take more than 0.05 s" in finding(answer)
    assert max(shapes["x"][0] for shapes in model.asked) <= 32


def test_the_memory_of_a_refused_run_is_not_that_of_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [2**20]
    monkeypatch.setattr(questions, "_peak", lambda: held[0])

    def only_small(x: Shape) -> bool:
        held[0] = max(held[0], 10 * 2**30 if x[2] > 24 else 0)
        return x[2:] == (24, 24)

    answer = found(Model((IMAGE,), only_small))
    assert answer.max_shapes["x"] == (128, 3, 24, 24)
    assert "larger ones are refused" in finding(answer)


def test_sides_that_are_refused_together_are_tried_apart() -> None:
    """A reader of lines of text: 32 or 64 high, and as wide as the line."""
    answer = found(Model((IMAGE,), lambda x: x[2] in (32, 64) and x[3] % 32 == 0))
    assert answer.min_shapes["x"][2:] == (32, 256)
    assert answer.max_shapes["x"][2:] == (64, 512)
    assert "x[2]: 32 to 64" in finding(answer)
    assert "longer ones together are refused" in finding(answer)
    # A square stays one.
    assert found(Model((IMAGE,), lambda x: x[2] == x[3] <= 64)).max_shapes["x"][2:] == (64, 64)


def test_samples_stay_small() -> None:
    model = Model((spec("x", -1, 2**20),), lambda _: True)
    assert found(model).max_shapes["x"][0] == 4
    assert max(shapes["x"][0] for shapes in model.asked) == 4


@pytest.mark.parametrize(
    "nothing", [np.zeros(3, np.float32), np.full(3, np.nan, np.float32), np.zeros(0), np.full(3, -3.4028235e38, "f")]
)
def test_a_model_that_answers_nothing_does_not_run(nothing: np.ndarray) -> None:
    """The mean of nothing is NaN: the input is shorter than the kernel."""
    model = Model(
        (spec("x", -1, -1),),
        lambda _: True,
        answer=lambda inputs: nothing if inputs["x"].shape[1] < 7 else np.ones(3, np.float32),
    )
    assert found(model).min_shapes["x"] == (1, 7)


def test_a_model_that_refuses_everything_is_told_with_its_first_refusal() -> None:
    model = Model((spec("x", -1, -1),), lambda _: False)
    with pytest.raises(StepError, match=r"says how large x \[-1, -1\] gets.*no \{'x': \(1, 16\)\}") as refusal:
        ask(model, model.inputs, config())
    assert "set min_shapes and max_shapes" in refusal.value.hint


def test_a_model_that_remembers_is_noticed() -> None:
    count = iter(range(10**6))
    model = Model((spec("x", -1, -1),), lambda _: True, answer=lambda _: np.full(3, next(count) + 1, np.float32))
    _, changed = ask(model, model.inputs, config())
    assert changed


def test_a_state_that_another_batch_size_resets_is_noticed() -> None:
    rows: list[int] = []

    def answer(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        batch = len(inputs["x"])
        rows[:] = [*rows, batch] if batch in rows else [batch]
        return np.full(3, len(rows), np.float32)

    model = Model((spec("x", -1, 4),), lambda _: True, answer=answer)
    _, changed = ask(model, model.inputs, config())
    assert changed


def test_shapes_of_the_user_that_contradict_the_signature_are_refused() -> None:
    model = Model((spec("x", -1, 4),), lambda _: True)
    given = config(max_shapes={"x": (8, 5)})
    with pytest.raises(StepError, match="expected size 4 on axis 1") as refusal:
        ask(model, model.inputs, given)
    advice = advised(refusal.value, model, model.inputs, given)
    assert advice.message == refusal.value.message
    assert advice.hint.endswith("set `min_shapes: {x: [1, 4]}`, `max_shapes: {x: [128, 4]}`")


def test_a_refusal_that_is_not_about_shapes_keeps_its_own_advice() -> None:
    model = Model((spec("x", -1, -1),), lambda _: False)
    error = StepError("no", "do something else")
    assert advised(error, model, model.inputs, config(max_shapes={"x": (8, 5)})) is error
    assert advised(error, model, model.inputs, config()) is error


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_a_number_of_axes_that_nobody_says_is_found(rank: int) -> None:
    model = Model((TensorSpec(name="x", shape=None, dtype="float32"),), lambda x: len(x) == rank and x[0] < 20)
    answer = found(model)
    assert len(answer.min_shapes["x"]) == rank
    assert model.rule(answer.min_shapes["x"])
    assert model.rule(answer.max_shapes["x"])


def test_values_that_the_model_refuses_are_narrowed() -> None:
    """Bytes of which only 0 and 1 mean something."""

    @dataclass
    class Careful(Model):
        def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            if inputs["x"].max() > 1:
                raise StepError("too large")
            return super().infer(inputs)

    model = Careful((spec("x", -1, -1, dtype="uint8"),), lambda _: True)
    assert found(model).max_shapes == {"x": (128, 512)}


def test_a_signature_that_was_found_is_part_of_the_block() -> None:
    answer = replace(
        found(Model((spec('a"b', -1, -1),), lambda x: x[1] % 2 == 0)), inputs=(spec('a"b', -1, -1, dtype="int64"),)
    )
    pasted = yaml.safe_load("\n".join(block(answer)))
    assert pasted["inputs"] == ['a"b:-1,-1:int64']
    assert list(pasted["max_shapes"]) == ['a"b']


def test_rows_that_are_folded_into_others_do_not_count() -> None:
    """`x.reshape(-1, 1024)`: two halves are one row, and twice the length is two."""
    model = Model(
        (spec("x", -1, -1),),
        lambda x: x[0] * x[1] % 1024 == 0,
        answer=lambda inputs: inputs["x"].reshape(-1, 1024) + np.float32(1),
    )
    answer = found(model)
    assert (answer.min_shapes, answer.max_shapes) == ({"x": (1, 1024)}, {"x": (128, 1024)})


def test_a_length_at_which_the_model_ignores_its_inputs_does_not_count() -> None:
    """A kernel of 25 on 24 elements: what comes out is what the memory held."""
    held = iter(range(10**6))

    def answer(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        x = inputs["x"]
        return x.mean(1) if x.shape[1] >= 25 else np.full(len(x), next(held) + 1, np.float32)

    assert found(Model((spec("x", -1, -1),), lambda x: x[1] >= 24, answer=answer)).min_shapes == {"x": (1, 25)}


def test_an_axis_is_not_static_because_the_machine_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "_SECONDS", 0.0)
    answer = found(Model((IMAGE,), lambda x: x[2] % 32 == x[3] % 32 == 0 and x[2] > 32))
    assert answer.min_shapes["x"][2] < answer.max_shapes["x"][2]
    assert answer.min_shapes["x"][0] < answer.max_shapes["x"][0]


@pytest.mark.parametrize(("passed", "used", "over"), [(19, 30, False), (21, 5, False), (21, 21, True), (61, 5, True)])
def test_a_deadline_counts_the_time_of_others_only_as_far_as_it_must(passed: int, used: int, over: bool) -> None:
    own = time.process_time() - used
    assert questions.Deadline(20.0, time.monotonic() - passed, own).over is over
