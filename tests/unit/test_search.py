"""The search for a disagreement: what is proposed, what counts as one, and what the source's own rounding explains."""

import math
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.errors import StepError
from navigator.records import ModelConfig, Properties, Signature, TensorSpec
from navigator.samples.generate import drawn_from, generate, look_for_trouble
from navigator.samples.own_data import Sample
from navigator.samples.search import STYLES, Drawn, Recombined, scales, spanned
from navigator.samples.shapes import resolve
from navigator.samples.storage import load, unstacked
from navigator.samples.values import UNKNOWN, Told
from navigator.verify.search import EXACT, OFF, doubtful, excess, explained, widened, with_exact_sums, without_rounding
from navigator.workers.search import DIRECTORY, Search, prepare, tried

Arrays = Mapping[str, np.ndarray]

INPUTS = (
    TensorSpec(name="x", shape=(-1, 3, -1), dtype="float32"),
    TensorSpec(name="mask", shape=(-1, -1), dtype="bool"),
    TensorSpec(name="ids", shape=(-1, -1), dtype="int64"),
    TensorSpec(name="pixels", shape=(2, 5), dtype="uint8"),
)
CONFIG = ModelConfig(
    model_name="m",
    model_path=Path("/m.onnx"),
    max_batch_size=6,
    max_shapes={"x": (6, 3, 9), "mask": (6, 9), "ids": (6, 9)},
    value_ranges={"x": (-2, 5), "ids": (-3, 70)},
)
CONFIG_OF_TEXT = ModelConfig(model_name="m", model_path=Path("/m.onnx"), max_batch_size=2)


def drawn(inputs: tuple[TensorSpec, ...] = INPUTS, config: ModelConfig = CONFIG, **options: Any) -> Drawn:
    samples, _ = generate(inputs, config, memory_bytes=2**30)
    probes, _ = look_for_trouble(inputs, config, memory_bytes=2**30)
    return Drawn(samples=[*samples, *probes], layout=resolve(inputs, config), seed=config.random_seed, **options)


# What is proposed


@pytest.mark.parametrize("style", STYLES)
def test_proposals_stay_in_the_ranges_and_shapes(style: Any) -> None:
    proposals = drawn(styles=(style,))
    sizes = set()
    for _ in range(1000):
        inputs = proposals.propose(1e9)
        proposals.learn(inputs, {"y": inputs["x"].sum(axis=(1, 2))}, 0.0)
        (batch, channels, length) = inputs["x"].shape
        sizes.add((batch, length))
        assert 1 <= batch <= 6
        assert channels == 3
        assert 1 <= length <= 9
        assert inputs["mask"].shape == inputs["ids"].shape == (batch, length)
        assert {name: str(array.dtype) for name, array in inputs.items()} == {each.name: each.dtype for each in INPUTS}
        assert inputs["x"].min() >= -2
        assert inputs["x"].max() <= 5
        assert inputs["ids"].min() >= -3
        assert inputs["ids"].max() <= 70
    assert style is Drawn.climb or len(sizes) > 4


def test_special_sizes_come_before_others_as_soon_as_there_is_time() -> None:
    proposals = drawn(special=(4, 9, 50))
    small = proposals.propose(0)
    shapes = [proposals.propose(1e9)["x"].shape for _ in range(4)]
    assert small["x"].shape == (1, 3, 1)
    assert {(4, 3, 1), (1, 3, 4)} <= set(shapes), "one size of each axis that may have it"
    assert [each["x"].shape for each in drawn(special=(4,)).sized()] == [(4, 3, 1), (1, 3, 4)]


def test_rows_of_floats_have_sizes_of_their_own_and_the_largest_comes_first() -> None:
    proposals = drawn(styles=(Drawn.scaled,), free={"x"})
    found = [proposals.propose(1e9) for _ in range(8)]
    assert np.abs(found[0]["x"]).max() > 1000
    assert all(-3 <= each["ids"].min() <= each["ids"].max() <= 70 for each in found)
    sizes = np.concatenate([np.abs(each["x"]).max(axis=(1, 2)) for each in found])
    for low in range(-3, 3):
        assert ((sizes >= 10.0**low) & (sizes < 10.0 ** (low + 1))).any(), f"no row from 1e{low} on"


def test_floats_with_a_range_become_smaller_only() -> None:
    proposals = drawn(styles=(Drawn.scaled,))
    found = [proposals.propose(1e9)["x"] for _ in range(8)]
    assert max(each.max() for each in found) <= 5
    assert min(np.abs(each).max(axis=(1, 2)).min() for each in found) < 1e-3


def test_what_is_no_number_in_a_sample_does_not_span_a_range() -> None:
    samples = [("a", {"x": np.array([np.nan, -2, np.inf], np.float32)}), ("b", {"x": np.full(3, np.nan, np.float32)})]
    assert (spanned(samples)["x"].low, spanned(samples)["x"].high) == (-2, -2)
    assert scales(samples) == {"x": 2}


@pytest.mark.parametrize(
    ("spec", "before"),
    [
        (TensorSpec(name="number", shape=(), dtype="int64"), np.array(3)),
        (TensorSpec(name="vector", shape=(-1,), dtype="float32"), np.full(5, 0.5, np.float32)),
        (TensorSpec(name="vector", shape=(5,), dtype="float32"), np.full(5, 0.5, np.float32)),
    ],
)
def test_numbers_and_vectors_are_changed_too(spec: TensorSpec, before: np.ndarray) -> None:
    config = ModelConfig(model_name="m", model_path=Path("/m.onnx"), max_batch_size=5)
    proposals = drawn((spec,), config)
    changed = [proposals.patched(spec.name, before) for _ in range(50)]
    assert {np.shape(each) for each in changed} == {before.shape}
    assert sum((each != before).any() for each in changed) > 25
    assert all(style(proposals, 1e9)[spec.name].ndim == before.ndim for style in STYLES for _ in range(50))


def test_every_size_comes_up_soon() -> None:
    config = ModelConfig(model_name="m", model_path=Path("/m.onnx"), max_batch_size=24)
    proposals = drawn((TensorSpec(name="x", shape=(-1, 3), dtype="float32"),), config)
    assert {len(proposals.propose(1e9)["x"]) for _ in range(300)} == {*range(1, 25)}


def test_every_whole_number_and_every_end_alone_come_up() -> None:
    proposals = drawn()
    seen: set[int] = set()
    alone = set()
    for _ in range(400):
        inputs = proposals.propose(1e9)
        seen |= set(inputs["ids"].ravel().tolist())
        for row in inputs["x"]:
            alone |= {end for end in (-2, 5) if (row == end).sum() == 1}
    assert seen == set(range(-3, 71))
    assert alone == {-2, 5}


def test_texts_come_up_in_their_columns_and_others_only_where_a_sample_has_them() -> None:
    inputs = (
        TensorSpec(name="text", shape=(-1, 2), dtype="string"),
        TensorSpec(name="x", shape=(-1,), dtype="float32"),
    )
    columns = (tuple(map(str, range(40))), ("yes", "no"))
    bounds = drawn_from(inputs, CONFIG_OF_TEXT, {"text": Told(low=0, high=39, why="", texts=columns)})
    samples = [("own", {"text": np.array([["0", "yes"], ["other", "no"]]), "x": np.zeros(2, np.float32)})]
    proposals = Drawn(samples=samples, layout=resolve(inputs, CONFIG_OF_TEXT), seed=0, texts={"text": bounds["text"]})
    proposals.learn(samples[0][1], {"y": np.ones(2, np.float32)}, 0.5)
    seen: tuple[set[str], set[str]] = (set(), set())
    for _ in range(1000):
        inputs_now = proposals.propose(1e9)
        assert inputs_now["text"].dtype.kind == "U"
        for column, values in zip(inputs_now["text"].T, seen, strict=True):
            values |= set(column.tolist())
        proposals.learn(inputs_now, {"y": inputs_now["x"]}, 0.0)
    assert seen == ({*columns[0], "other"}, {"yes", "no"})


def test_texts_that_the_model_may_not_know_come_up_if_it_takes_them() -> None:
    inputs = (TensorSpec(name="text", shape=(-1,), dtype="string"),)
    bounds = drawn_from(inputs, CONFIG_OF_TEXT, {"text": Told(low=0, high=1, why="", texts=(("yes", "no"),))})
    samples = [("unknown", {"text": np.array(["", "no"])})]
    proposals = Drawn(samples=samples, layout=resolve(inputs, CONFIG_OF_TEXT), seed=0, texts=bounds)
    seen = {text for _ in range(300) for text in proposals.propose(1e9)["text"].tolist()}
    assert seen == {"yes", "no", "YES", "NO", *UNKNOWN}


BRANCHING = (
    TensorSpec(name="x", shape=(-1, 6), dtype="float32"),
    TensorSpec(name="mode", shape=(), dtype="int64"),
)
FEW_ROWS = ModelConfig(model_name="m", model_path=Path("/m.onnx"), max_batch_size=8)
NUMBERS = {"x": (0.25, -1.5, math.nan), "mode": (3.0, 7.0)}


def test_numbers_that_the_model_compares_with_are_combined() -> None:
    proposals = drawn(BRANCHING, FEW_ROWS, numbers=NUMBERS, wide={"mode": (0, 7)})
    found = [proposals.propose(1e9) for _ in range(60)]
    assert {each["mode"].item() for each in found} >= {2, 3, 4, 6, 7}
    assert any(each["mode"] == 3 and each["x"].max() <= 0.25 for each in found), "a branch in a branch"
    rows = np.concatenate([each["x"] for each in found])
    assert ((rows == 0.25).any(axis=1) & (rows == -1.5).any(axis=1)).any(), "two conditions of a row"
    assert np.isnan(rows).any()
    assert not np.isnan(rows).all(axis=1).all()
    alone = drawn(BRANCHING, FEW_ROWS)
    assert not any(np.isnan(alone.propose(1e9)["x"]).any() for _ in range(60))


def test_numbers_of_the_converted_model_come_among_those_of_the_source() -> None:
    proposals = drawn(BRANCHING, FEW_ROWS, numbers=NUMBERS)
    rows = np.concatenate([each["x"] for each in proposals.joined({"x": (2.501,)})])
    new = (rows == np.float32(2.501)).any(axis=1)
    assert new.any()
    assert not new.all()
    assert (new & (rows == -1.5).any(axis=1)).any()


def test_a_single_number_is_searched_where_other_seeds_would_draw_it() -> None:
    inputs = (TensorSpec(name="x", shape=(1,), dtype="float32"), TensorSpec(name="steps", shape=(), dtype="int64"))
    samples = [("counts", {"x": np.array([0.5], np.float32), "steps": np.array(2)})]
    proposals = Drawn(
        samples=samples, layout=resolve(inputs, FEW_ROWS), seed=0, wide={"x": (-1.0, 1.0), "steps": (-7, 7)}
    )
    found = [proposals.propose(1e9) for _ in range(300)]
    assert {each["steps"].item() for each in found} == set(range(-7, 8))
    assert min(each["x"].item() for each in found) < -0.5


def test_a_seed_repeats_the_proposals() -> None:
    def proposed(seed: int) -> list[bytes]:
        config = ModelConfig(model_name="m", model_path=Path("/m"), random_seed=seed, max_shapes=CONFIG.max_shapes)
        proposals = drawn(config=config)
        return [array.tobytes() for _ in range(20) for array in proposals.propose(1e9).values()]

    assert proposed(3) == proposed(3)
    assert proposed(3) != proposed(4)


def test_large_inputs_wait_until_there_is_time_for_them() -> None:
    proposals = drawn()
    smallest = min(sum(array.size for array in arrays.values()) for _, arrays in proposals.samples)
    assert all(sum(each.size for each in proposals.propose(0).values()) == smallest for _ in range(50))
    assert all(sum(each.size for each in proposals.propose(100).values()) <= 100 for _ in range(50))


@given(dtype=st.sampled_from(["int8", "uint8", "int64", "uint64", "float16", "float64", "bool"]), data=st.data())
def test_ranges_of_every_dtype_are_kept(dtype: str, data: st.DataObject) -> None:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        ends = st.floats(-1e4, 1e4, width=16)
    else:
        limits = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
        ends = st.integers(int(limits[0]), int(limits[1]))
    low, high = sorted([data.draw(ends), data.draw(ends)])
    spec = TensorSpec(name="x", shape=(2, 3), dtype=dtype)
    samples = [("a", {"x": np.full((2, 3), low, kind)}), ("b", {"x": np.full((2, 3), high, kind)})]
    config = ModelConfig(model_name="m", model_path=Path("/m"))
    proposals = Drawn(samples=samples, layout=resolve((spec,), config), seed=0)
    for _ in range(30):
        array = proposals.propose(1e9)["x"]
        assert array.dtype == kind
        assert array.min() >= kind.type(low)
        assert array.max() <= kind.type(high)


def test_own_samples_are_only_recombined() -> None:
    rng = np.random.default_rng(0)
    samples: list[Sample] = [
        (str(number), {"x": rng.normal(size=(4, 3)).astype(np.float32), "ids": rng.integers(0, 99, (4, 3))})
        for number in range(3)
    ]
    rows = {tuple(row) for _, arrays in samples for row in arrays["ids"].tolist()}
    bounds = spanned(samples)
    proposals = Recombined(samples=samples, batched=True, seed=0)
    mixed = 0
    for _ in range(100):
        inputs = proposals.propose(1e9)
        proposals.learn(inputs, {}, 0.1)
        assert {tuple(row) for row in inputs["ids"].tolist()} <= rows
        assert inputs["x"].min() >= bounds["x"].low
        assert inputs["x"].max() <= bounds["x"].high
        mixed += not np.isin(inputs["x"], np.concatenate([arrays["x"] for _, arrays in samples])).all()
    assert 20 < mixed < 90


# What counts


Y = np.array([1.0, -2.0, 0.0], np.float32)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Y, 0),
        (Y + np.array([0, 0, 0.2], np.float32), 2),
        (Y + np.array([0, 0.15, 0], np.float32), 0.5),
        (np.array([1, np.nan, 0], np.float32), np.inf),
        (np.array([1, np.inf, 0], np.float32), np.inf),
        (Y[:2], np.inf),
        (Y.astype(np.float64), np.inf),
    ],
)
def test_the_largest_error_in_tolerances(value: np.ndarray, expected: float) -> None:
    assert excess({"y": Y}, {"y": value}, {"": 0.1}, {"": 0.1}) == pytest.approx(expected, rel=1e-4)
    assert excess({"y": Y}, {}, {}, {}) == np.inf


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_what_the_source_answers_with_non_finite_values_is_no_disagreement(special: float) -> None:
    reference = np.array([special, 0], np.float32)
    assert excess({"y": reference}, {"y": np.array([0, 1], np.float32)}, {}, {}) == 0


def test_equal_infinities_leave_the_other_values_to_compare() -> None:
    reference = np.array([-np.inf, 0], np.float32)
    assert excess({"y": reference}, {"y": np.array([-np.inf, 1], np.float32)}, {"": 0.5}, {"": 0}) == 2


def test_rounding_explains_five_times_its_steps_and_as_much_as_its_nudges() -> None:
    step, nudge = {"y": Y + np.float32(0.01)}, {"y": Y - np.float32(0.03)}
    assert explained({"y": Y}, [step], [], {"": 0})["y"] == pytest.approx(0.05, rel=1e-3)  # type: ignore[index]
    assert explained({"y": Y}, [step], [nudge], {"": 0})["y"] == pytest.approx(0.05, rel=1e-3)  # type: ignore[index]
    assert explained({"y": Y}, [], [nudge], {"": 0})["y"] == pytest.approx(0.03, rel=1e-3)  # type: ignore[index]
    assert widened({"": 0.1}, {"y": 0.2}) == {"": 0.1, "y": pytest.approx(0.3)}


@pytest.mark.parametrize(
    ("reference", "after"),
    [
        (np.array([3, 4]), np.array([3, 5])),
        (Y, np.array([1, -2, np.nan], np.float32)),
        (Y, Y[:2]),
    ],
)
def test_nothing_can_be_said_where_rounding_decides(reference: np.ndarray, after: np.ndarray) -> None:
    assert explained({"y": reference}, [{"y": after}], [], {}) is None


ROWS = np.array([[1, 2], [300, 400], [5, 6]], np.float32)


def without(value: np.ndarray, after: np.ndarray, rows: int | None = 3, **others: np.ndarray) -> np.ndarray:
    """Return what is left of an error in `y` that rounding, which gives `after`, doesn't explain."""
    reference, changed = {"y": ROWS, **others}, {"y": after, **others}
    found = without_rounding(reference, {"y": value, **others}, [changed], [], atol={"": 0.1}, rtol={"": 0}, rows=rows)
    return found["y"] - ROWS


def test_the_rounding_of_large_rows_hides_nothing_in_others() -> None:
    value, after = ROWS + 1, ROWS + np.array([[0], [1], [0]], np.float32)
    assert without(value, after).tolist() == [[1, 1], [0, 0], [1, 1]]
    assert not without(value, after, rows=None).any()


def test_rows_in_which_rounding_decides_are_left_out_alone() -> None:
    chosen = np.array([[1], [2], [3]])
    reference, value = {"y": ROWS, "best": chosen}, {"y": ROWS + 1, "best": chosen + 1}
    step = {"y": ROWS, "best": chosen + np.array([[0], [0], [1]])}
    found = without_rounding(reference, value, [step], [], atol={}, rtol={}, rows=3)
    assert found["y"][:, 0].tolist() == [2, 301, 5]
    assert found["best"][:, 0].tolist() == [2, 3, 3]
    # What isn't in rows may have been decided too.
    count = without_rounding(
        {**reference, "count": np.array(1)},
        {**value, "count": np.array(2)},
        [{**step, "count": np.array(1)}],
        [],
        atol={},
        rtol={},
        rows=3,
    )
    assert count["count"] == 1
    assert count["best"][0] == 2


@pytest.mark.parametrize("other", [np.array([4, 5]), np.array([3])])
def test_nothing_is_left_where_rounding_decides_for_all_rows(other: np.ndarray) -> None:
    reference = {"y": ROWS, "boxes": np.array([3])}
    value, step = {"y": ROWS + 1, "boxes": np.array([3])}, {"y": ROWS, "boxes": other}
    found = without_rounding(reference, value, [step], [], atol={}, rtol={}, rows=3)
    assert np.array_equal(found["y"], ROWS) == (len(other) > 1)


def test_nan_where_the_source_has_numbers_is_no_rounding_whatever_it_decides() -> None:
    source = {"y": np.array([0.0, 1.0]), "place": np.array([3, 4])}
    converted = {"y": np.array([np.nan, 1.5]), "place": np.array([3, 4])}
    nudged = {"y": np.array([0.9, 1.0]), "place": np.array([2, 5])}
    left = without_rounding(source, converted, [], [nudged], atol={"": 1e-5}, rtol={}, rows=2)
    assert np.isnan(left["y"][0])
    assert left["y"][1] == 1, "nothing can be said of another class"
    sometimes = {**nudged, "y": np.array([np.nan, 1.0])}
    left = without_rounding(source, converted, [], [sometimes], atol={"": 1e-5}, rtol={}, rows=2)
    assert left["y"].tolist() == [0, 1]


def test_outputs_that_are_missing_stay_so() -> None:
    assert without_rounding({"y": ROWS}, {}, [{"y": ROWS}], [], atol={}, rtol={}, rows=3) == {}


def summed(value: np.ndarray, exact: np.ndarray, off: np.ndarray, **others: np.ndarray) -> np.ndarray:
    outputs, exactly, changed = ({"y": each, **others} for each in (value, exact, off))
    return with_exact_sums(outputs, exactly, [changed], atol={"": 0.1}, rtol={"": 0}, rows=3)["y"]


def test_a_converted_model_is_as_with_exact_sums_where_its_runtime_may_be_off_as_much() -> None:
    exact, off = ROWS + 1, ROWS + 1 + np.array([[0], [1], [0]], np.float32)
    value = exact + np.array([[0], [4], [4]], np.float32)
    assert summed(value, exact, off).tolist() == [exact[0].tolist(), exact[1].tolist(), value[2].tolist()]
    assert np.array_equal(summed(exact + 6, exact, off), exact + 6), "a kernel that's wrong"


def test_a_choice_that_sums_decide_excuses_nothing() -> None:
    exact, value = {"y": ROWS, "best": np.array([1, 2, 3])}, {"y": ROWS + 9, "best": np.array([1, 2, 3])}
    off = {**exact, "best": np.array([4, 5, 6])}
    found = with_exact_sums(value, exact, [off], atol={}, rtol={}, rows=3)
    assert np.array_equal(found["y"], value["y"])


def test_outputs_of_other_shapes_than_with_exact_sums_stay() -> None:
    value = {"y": ROWS[:2]}
    assert with_exact_sums(value, {"y": ROWS}, [{"y": ROWS + 1}], atol={}, rtol={}, rows=3) is value


# A whole search, without a framework


class Model:
    """A function of x as a model."""

    properties = Properties()
    random_operations = ()

    def __init__(self, function: Callable[[np.ndarray], np.ndarray]) -> None:
        self.signature = Signature(inputs=(TensorSpec(name="x", shape=(-1, 8), dtype="float32"),), outputs=())
        self._function = function

    def infer(self, inputs: Arrays) -> dict[str, np.ndarray]:
        return {"y": self._function(inputs["x"])}


def refusing(x: np.ndarray) -> np.ndarray:
    raise StepError("no")


SPEC = TensorSpec(name="x", shape=(-1, 8), dtype="float32")
BATCHES = ModelConfig(model_name="m", model_path=Path("/m"), max_batch_size=4, value_ranges={"x": (-1, 1)})


def begun(source: Callable[..., Any], converted: Callable[..., Any]) -> Search:
    return Search(
        source=Model(source),
        converted=Model(converted),
        proposals=drawn((SPEC,), BATCHES),
        scales={"x": 1},
        atol={"": 1e-5},
        rtol={},
    )


def searched(source: Callable[..., Any], converted: Callable[..., Any], runs: int = 600) -> Search:
    search = begun(source, converted)
    ticks = count()
    search.run(2 * runs, lambda: float(next(ticks)))
    return search


def weighted(x: np.ndarray) -> np.ndarray:
    return np.asarray(x @ np.linspace(0.5, 2, 8, dtype=np.float32))


def argmax(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.argmax(x * np.linspace(0.5, 2, 8, dtype=np.float32), axis=1))


class Adding(Model):
    """Returns sums that its runtime rounds far off."""

    def __init__(self, exact: Callable[[np.ndarray], np.ndarray], by: float) -> None:
        super().__init__(lambda x: exact(x) + np.float32(by))
        self._exact = exact

    def summed(self) -> tuple[Model, Model]:
        return Model(self._exact), Model(lambda x: self._exact(x) + np.float32(0.01))


@pytest.mark.parametrize(("factor", "by", "found"), [(1, 0.04, False), (1.01, 0.04, True), (1, 0.06, True)])
def test_a_search_excuses_what_a_runtime_rounds_in_sums_and_nothing_else(factor: float, by: float, found: bool) -> None:
    search = begun(weighted, weighted)
    search.converted = Adding(lambda x: weighted(x) * np.float32(factor), by)
    inputs = {"x": np.ones((2, 8), np.float32)}
    search.check([inputs], 60)
    assert (search.found is not None) == found
    if search.found is not None:
        assert [name for name, _ in search.found.sets() if name in (EXACT, OFF)] == [EXACT, *[OFF] * 4]
        assert np.array_equal(search.found.converted["y"], search.converted.infer(inputs)["y"])


def test_an_error_at_an_end_is_found() -> None:
    def alone(x: np.ndarray) -> np.ndarray:
        ends = x == 1
        return weighted(np.where(ends & (ends.sum(axis=1, keepdims=True) == 1), np.float32(0), x))

    found = searched(weighted, alone).found

    assert found is not None
    assert (found.inputs["x"] == 1).any()
    assert not np.allclose(found.source["y"], found.converted["y"])


def test_inputs_that_the_converted_model_alone_refuses_are_found() -> None:
    found = searched(weighted, refusing).found
    assert found is not None
    assert found.converted == {}


def test_what_the_source_refuses_is_no_disagreement() -> None:
    search = searched(refusing, weighted)
    assert search.found is None
    assert search.inputs == 0
    assert search.refused > 100


@pytest.mark.parametrize(
    ("source", "converted"),
    [
        # Equal values, of which each model chooses another one; and rounding that decides.
        (argmax, lambda x: argmax(x * np.float32(1 + 1e-7))),
        (lambda x: np.argmax(x, axis=1), lambda x: 7 - np.argmax(x[:, ::-1], axis=1)),
        (lambda x: np.sort(x, axis=1), lambda x: np.sort(x * np.float32(1 + 1e-7), axis=1)),
        (lambda x: np.sign(x), lambda x: np.sign(x + np.float32(1e-9))),
        # Sums in another order, near a division by almost nothing.
        (lambda x: 1 / x.sum(axis=1), lambda x: 1 / x[:, ::-1].sum(axis=1)),
    ],
)
def test_what_rounding_explains_is_no_disagreement(source: Callable[..., Any], converted: Callable[..., Any]) -> None:
    with np.errstate(all="ignore"):
        search = searched(source, converted, 400)
    assert search.found is None, search.found
    assert search.inputs > 250


def test_of_doubts_the_first_that_rounding_does_not_explain_is_found() -> None:
    def off(x: np.ndarray) -> np.ndarray:
        return np.asarray(argmax(x * np.float32(1 + 1e-7)) + (x[:, 0] == 1))

    alike, wrong = np.zeros((2, 8), np.float32), np.eye(8, dtype=np.float32)[:1]
    search = begun(argmax, off)
    search.check([{"x": alike}, {"x": wrong}, {"x": -wrong}], 60)

    assert search.found is not None
    assert search.found.inputs["x"] is wrong
    assert search.inputs == 2


def test_doubts_are_tried_while_others_keep_the_processor_busy() -> None:
    search = begun(weighted, weighted)
    search.check([{"x": np.zeros((1, 8), np.float32)}] * 3, 1, iter([0.0, 0.1, 1.5, 9.0]).__next__)
    assert search.inputs == 2


def test_of_clear_errors_the_cheapest_are_looked_at_first() -> None:
    outputs = {name: {"y": np.zeros(size)} for name, size in {"a": 4, "b": 900, "c": 9, "d": 2, "e": 1}.items()}
    errors = {"a": 3.0, "b": math.inf, "c": 2e5, "d": 3.0, "e": 0.9}
    assert doubtful(errors, outputs) == ["c", "b", "d", "a"]


# What all conversions are tried on


def test_all_conversions_are_tried_on_what_the_source_model_took(tmp_path: Path) -> None:
    def few(x: np.ndarray) -> np.ndarray:
        return weighted(x) if len(x) < 4 else refusing(x)

    samples, outputs, own = (tmp_path / name for name in ("samples", "outputs", "own"))
    known = drawn((SPEC,), BATCHES).samples
    assert prepare(Model(few), (SPEC,), BATCHES, known, took=0.0, into=(samples, outputs)) > 0
    given, expected = (unstacked(load(each / DIRECTORY)) for each in (samples, outputs))
    assert given.keys() == expected.keys()
    assert {len(arrays["x"]) for arrays in given.values()} == {1, 2, 3}
    assert all(np.array_equal(few(arrays["x"]), expected[name]["y"]) for name, arrays in given.items())

    assert tried(Model(lambda x: weighted(x) if len(x) < 3 else refusing(x)), samples, own) > 0
    left = {name for name, arrays in given.items() if len(arrays["x"]) < 3}
    assert unstacked(load(own / DIRECTORY)).keys() == left


def test_a_source_model_that_fails_on_other_inputs_leaves_none(tmp_path: Path) -> None:
    def failing(x: np.ndarray) -> np.ndarray:
        raise ValueError("not one of its errors")

    known = drawn((SPEC,), BATCHES).samples
    assert prepare(Model(failing), (SPEC,), BATCHES, known, took=0.0, into=(tmp_path, tmp_path)) == 0
    assert not list(tmp_path.iterdir())
