"""Samples: shapes completed from the signature, values inside their ranges, and the user's own data."""

import hashlib
import itertools
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from navigator.errors import StepError
from navigator.records import ModelConfig, Precision, SampleInfo, ShapeProfile, TensorSpec
from navigator.samples.calibration import calibration
from navigator.samples.generate import Sample, generate, resolve_shapes
from navigator.samples.shapes import profile_of
from navigator.samples.values import ANY_TEXTS, Told

GIB = 2**30


def spec(name: str, shape: tuple[int, ...] | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=dtype)


def config(**options: Any) -> ModelConfig:
    return ModelConfig(model_name="m", model_path=Path("/m.onnx"), **options)


def resolve(*inputs: TensorSpec, **options: Any) -> ShapeProfile:
    return resolve_shapes(inputs, config(**options))


def make(
    *inputs: TensorSpec, memory_bytes: int = GIB, told: Mapping[str, Told] | None = None, **options: Any
) -> tuple[list[Sample], tuple[SampleInfo, ...]]:
    return generate(inputs, config(**options), memory_bytes=memory_bytes, told=told)


def values(dtype: str, shape: tuple[int, ...], bounds: tuple[float, float] | None = None, seed: int = 0) -> np.ndarray:
    ranges = {} if bounds is None else {"x": bounds}
    samples, _ = make(spec("x", shape, dtype), value_ranges=ranges, random_seed=seed)
    return samples[0][1]["x"]


SIZES = "  write the model's own sizes, and a size of 1 or more where it has -1"
ORDER = (
    "  sizes must not decrease from min_shapes to opt_shapes to max_shapes; a batch without max_shapes ends at "
    "max_batch_size"
)
IDS, MASK = spec("ids", (-1, -1), "int64"), spec("mask", (-1, -1), "int64")


# Shapes


def test_the_batch_alone_needs_no_shapes() -> None:
    profile = resolve(spec("x", (-1, 3, 8)), max_batch_size=16)
    assert profile == ShapeProfile(min={"x": (1, 3, 8)}, opt={"x": (16, 3, 8)}, max={"x": (16, 3, 8)})


def test_a_static_batch_is_not_overwritten_by_max_batch_size() -> None:
    profile = resolve(spec("x", (1, 4)), spec("scalar", ()), max_batch_size=32)
    assert profile.min == profile.opt == profile.max == {"x": (1, 4), "scalar": ()}


def test_max_shapes_alone_are_enough() -> None:
    """The design document's TorchScript and FastPitch examples."""
    profile = resolve(spec("image__0", (-1, 3, -1, -1)), max_shapes={"image__0": (128, 3, 600, 800)})
    assert profile.min == {"image__0": (1, 3, 1, 1)}
    assert profile.opt == profile.max == {"image__0": (128, 3, 600, 800)}

    profile = resolve(spec("input__0", (-1, -1)), spec("input__1", (-1, 1)), max_shapes={"input__0": (8, 128)})
    assert profile.min == {"input__0": (1, 1), "input__1": (1, 1)}
    assert profile.max == {"input__0": (8, 128), "input__1": (8, 1)}


def test_the_batch_given_for_one_input_is_the_batch_of_all() -> None:
    profile = resolve(
        spec("ids", (-1, 128)),
        spec("mask", (-1, 128)),
        spec("table", (50, 4)),
        min_shapes={"ids": (2, 128)},
        opt_shapes={"ids": (4, 128)},
        max_shapes={"ids": (8, 128)},
    )
    assert (profile.min["mask"], profile.opt["mask"], profile.max["mask"]) == ((2, 128), (4, 128), (8, 128))
    assert profile.min["table"] == profile.max["table"] == (50, 4)


def test_a_length_given_for_one_input_is_that_of_others_with_the_same_maximum() -> None:
    profile = resolve(
        IDS,
        MASK,
        min_shapes={"ids": (1, 16)},
        opt_shapes={"ids": (4, 64)},
        max_shapes={"ids": (8, 128), "mask": (8, 128)},
    )
    assert profile.min["mask"] == (1, 16)
    assert profile.opt["mask"] == (4, 64)

    # What is taken over gives way to what the input itself is given.
    maxima = {"ids": (8, 128), "mask": (8, 128)}
    profile = resolve(IDS, MASK, min_shapes={"ids": (1, 16)}, opt_shapes={"mask": (1, 8)}, max_shapes=maxima)
    assert (profile.min["mask"], profile.opt["mask"]) == ((1, 8), (1, 8))


def test_unknown_rank_takes_what_is_given() -> None:
    x = spec("x", None)
    profile = resolve(x, max_shapes={"x": (8, 3, 224)})
    assert (profile.min, profile.max) == ({"x": (1, 3, 224)}, {"x": (8, 3, 224)})
    profile = resolve(x, min_shapes={"x": (2, 3, 32)}, max_shapes={"x": (8, 3, 224)})
    assert (profile.min, profile.opt) == ({"x": (2, 3, 32)}, {"x": (8, 3, 224)})
    with pytest.raises(StepError, match=r"the number of axes of input 'x' is unknown\n.*`max_shapes: \{x: \[8, 128\]"):
        resolve(x)


@pytest.mark.parametrize(
    ("inputs", "options", "sentence"),
    [
        (
            (IDS, MASK),
            {},
            (
                "input 'ids' [-1, -1] has no maximum size on axis 1; "
                "input 'mask' [-1, -1] has no maximum size on axis 1\n"
                "  set max_shapes, e.g. `max_shapes: {ids: [8, 128], mask: [8, 128]}`"
            ),
        ),
        (
            (IDS, MASK),
            {"max_shapes": {"ids": (4, 64)}},
            (
                "input 'mask' [-1, -1] has no maximum size on axis 1\n"
                "  set max_shapes, e.g. `max_shapes: {ids: [4, 64], mask: [4, 64]}`"
            ),
        ),
        (
            (spec("x:0", (-1, 3, -1, -1)),),
            {"min_shapes": {"x:0": (1, 3, 8, 8)}},
            (
                "input 'x:0' [-1, 3, -1, -1] has no maximum size on axis 2 and 3\n"
                '  set max_shapes, e.g. `max_shapes: {"x:0": [8, 3, 128, 128]}`'
            ),
        ),
        (
            (IDS,),
            {"max_shapes": {"idz": (8, 128), "ids": (8, 128)}},
            "max_shapes: the model has no input 'idz'\n  the model's inputs are ids",
        ),
        (
            (IDS,),
            {"max_shapes": {"ids": (8, 128, 1)}},
            "max_shapes: expected shape [-1, -1] for input 'ids', got [8, 128, 1]\n" + SIZES,
        ),
        (
            (spec("x", (1, 4)),),
            {"max_shapes": {"x": (32, 4)}},
            "max_shapes: expected size 1 on axis 0 of input 'x', got 32\n" + SIZES,
        ),
        (
            (IDS,),
            {"min_shapes": {"ids": (0, 1)}, "max_shapes": {"ids": (-1, 128)}},
            (
                "min_shapes: expected a size of at least 1 on axis 0 of input 'ids', got 0; "
                "max_shapes: expected a size of at least 1 on axis 0 of input 'ids', got -1\n" + SIZES
            ),
        ),
        (
            (IDS,),
            {"min_shapes": {"ids": (1, 64)}, "opt_shapes": {"ids": (1, 32)}, "max_shapes": {"ids": (8, 128)}},
            "expected min <= opt <= max on axis 1 of input 'ids', got 64, 32, 128\n" + ORDER,
        ),
        (
            (spec("x", (-1, 4)),),
            {"min_shapes": {"x": (200, 4)}},
            "expected min <= opt <= max on axis 0 of input 'x', got 200, 200, 128 (max_batch_size)\n" + ORDER,
        ),
        (
            (spec("a", (-1, 4)), spec("b", (-1, 4)), spec("c", (-1, 4))),
            {"max_shapes": {"a": (8, 4), "b": (9, 4)}},
            (
                "the maximum batch (axis 0) of input 'c' is ambiguous: [8, 9]\n"
                "  set max_shapes, e.g. `max_shapes: {a: [8, 4], b: [9, 4], c: [8, 4]}`"
            ),
        ),
    ],
)
def test_contradictions_are_sentences(inputs: tuple[TensorSpec, ...], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(StepError) as error:
        resolve(*inputs, **options)
    assert str(error.value) == sentence
    if "e.g. `" in sentence:
        advice = yaml.safe_load(sentence.split("`")[1])
        given = {**options, "max_shapes": {key: tuple(shape) for key, shape in advice["max_shapes"].items()}}
        resolve(*inputs, **given)  # what we tell users to write is accepted


# Samples


def test_samples_at_min_opt_max_and_between() -> None:
    samples, infos = make(IDS, MASK, opt_shapes={"ids": (4, 64)}, max_shapes={"ids": (8, 128), "mask": (8, 128)})
    assert [name for name, _ in samples] == ["min", "opt", "max", "random_0", "random_1", "batch_max", "batch_min"]
    assert [info.name for info in infos] == [name for name, _ in samples]
    shapes = [(arrays["ids"].shape, arrays["mask"].shape) for _, arrays in samples]
    assert shapes[:3] == [((1, 1), (1, 1)), ((4, 64), (4, 64)), ((8, 128), (8, 128))]
    assert shapes[5:] == [((8, 1), (8, 1)), ((1, 128), (1, 128))]
    assert all(1 < size < largest for ids, _ in shapes[3:5] for size, largest in zip(ids, (8, 128), strict=True))
    for (ids, mask), info in zip(shapes, infos, strict=True):
        assert ids == mask == info.shapes["ids"] == info.shapes["mask"]
        assert info.reduced_from is None


def test_the_same_shapes_are_sampled_once() -> None:
    samples, _ = make(spec("x", (-1, 2)), max_batch_size=2)
    assert [(name, arrays["x"].shape) for name, arrays in samples] == [("min", (1, 2)), ("opt", (2, 2))]


def test_a_model_without_dynamic_axes_gets_a_second_sample_to_compare_with() -> None:
    samples, infos = make(spec("x", (1, 4)))
    assert [(name, arrays["x"].shape) for name, arrays in samples] == [("min", (1, 4)), ("random_0", (1, 4))]
    assert not np.array_equal(samples[0][1]["x"], samples[1][1]["x"])
    assert len(infos) == 2


def test_a_model_without_inputs_gets_one_empty_sample() -> None:
    assert make() == ([("min", {})], (SampleInfo(name="min", shapes={}),))


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=4),
    st.integers(1, 9),
    st.integers(0, 2**63),
    st.integers(0, 2**20),
)
def test_batch_and_equal_ranges_agree_in_every_sample(
    layout: list[tuple[bool, int, int]], batch: int, seed: int, memory_bytes: int
) -> None:
    inputs, maxima = [], {}
    for number, (dynamic_batch, length, extra) in enumerate(layout):
        name = f"x{number}"
        inputs.append(spec(name, (-1 if dynamic_batch else 5, -1, *[7] * extra), "int32"))
        maxima[name] = (batch if dynamic_batch else 5, 40 * length, *[7] * extra)
    samples, infos = make(*inputs, max_shapes=maxima, random_seed=seed, memory_bytes=memory_bytes)
    assert 1 <= len(samples) <= 13
    for (name, arrays), info in zip(samples, infos, strict=True):
        assert name == info.name
        sizes: dict[tuple[int, int], set[int]] = {}
        for item in inputs:
            shape = arrays[item.name].shape
            assert shape == info.shapes[item.name]
            assert item.shape is not None
            for axis, (size, fixed, largest) in enumerate(zip(shape, item.shape, maxima[item.name], strict=True)):
                assert size == fixed or (fixed == -1 and 1 <= size <= largest)
                if fixed == -1:
                    sizes.setdefault((axis, largest), set()).add(size)
        assert all(len(found) == 1 for found in sizes.values())


def test_an_image_is_sampled_wide_and_tall() -> None:
    image = spec("image", (-1, 3, -1, -1))
    _, infos = make(image, min_shapes={"image": (1, 3, 32, 32)}, max_shapes={"image": (4, 3, 64, 64)})
    shapes = {info.name: info.shapes["image"] for info in infos}
    assert {name: shape for name, shape in shapes.items() if name not in {"random_0", "random_1"}} == {
        "min": (1, 3, 32, 32),
        "opt": (4, 3, 64, 64),
        "batch_max": (4, 3, 32, 32),
        "batch_min": (1, 3, 64, 64),
        "uneven_0": (1, 3, 32, 64),
        "uneven_1": (1, 3, 64, 32),
    }
    assert shapes["random_0"][2] != shapes["random_0"][3]
    # A model that takes nothing but squares is still run on a size in between.
    assert shapes["random_1"][2] == shapes["random_1"][3]


def test_the_mask_of_an_image_is_as_wide_as_the_image() -> None:
    image, mask = spec("image", (-1, 3, -1, -1)), spec("mask", (-1, -1, -1))
    _, infos = make(image, mask, max_shapes={"image": (4, 3, 64, 64), "mask": (4, 64, 64)})
    assert {info.shapes["image"][2:] for info in infos} >= {(1, 64), (64, 1)}
    for info in infos:
        assert info.shapes["image"][2:] == info.shapes["mask"][1:]


@given(st.integers(1, 6), st.booleans(), st.integers(0, 2**63))
def test_every_two_sizes_are_sampled_at_all_combinations_of_their_ends(count: int, batch: bool, seed: int) -> None:
    """A covering array of strength two, in at most 13 samples."""
    x = spec("x", (-1 if batch else 7, *[-1] * count))
    largest = (4 if batch else 7, *[3] * count)
    _, infos = make(x, max_shapes={"x": largest}, random_seed=seed)
    assert len(infos) <= 13
    assert infos == make(x, max_shapes={"x": largest}, random_seed=seed)[1]
    shapes = [info.shapes["x"] for info in infos]
    assert all(1 <= size <= high for shape in shapes for size, high in zip(shape, largest, strict=True))
    free = range(0 if batch else 1, count + 1)
    for one, other in itertools.combinations(free, 2):
        ends = {(shape[one] > 1, shape[other] > 1) for shape in shapes if {shape[one], shape[other]} <= {1, 3, 4}}
        assert ends == set(itertools.product([False, True], repeat=2))


def test_the_batch_inside_a_recurrent_state_is_the_batch_of_the_input() -> None:
    x, state = spec("x", (-1, 576)), spec("state", (2, -1, 128))
    maxima = {"x": (8, 576), "state": (2, 8, 128)}
    for seed in range(20):
        samples, _ = make(x, state, max_shapes=maxima, random_seed=seed)
        assert len(samples) > 2
        assert all(arrays["x"].shape[0] == arrays["state"].shape[1] for _, arrays in samples)

    profile = resolve(x, state, min_shapes={"x": (2, 576)}, opt_shapes={"x": (4, 576)}, max_shapes=maxima)
    assert (profile.min["state"], profile.opt["state"]) == ((2, 2, 128), (2, 4, 128))

    # A sequence that may be as long as the batch is large stays a sequence: its input has a batch of its own.
    infos = [make(IDS, max_shapes={"ids": (8, 8)}, random_seed=seed)[1] for seed in range(20)]
    assert any(len(set(info.shapes["ids"])) > 1 for each in infos for info in each)


# Fitting the machine


def test_a_sample_too_large_for_the_machine_is_halved_by_batch_first() -> None:
    image, scale = spec("image", (-1, 3, -1, -1)), spec("scale", (-1, 2))
    shapes = {"image": (128, 3, 600, 800)}  # 737 MB
    samples, infos = make(image, scale, max_shapes=shapes, memory_bytes=2 * GIB)
    by_name = {info.name: info for info in infos}
    # 2 GiB / 2 / 64 = 16 MiB of inputs: two images of 5.8 MB
    assert by_name["opt"].shapes == {"image": (2, 3, 600, 800), "scale": (2, 2)}
    assert by_name["opt"].reduced_from == {"image": (128, 3, 600, 800), "scale": (128, 2)}
    assert by_name["min"].reduced_from is None
    for _, arrays in samples:
        assert sum(array.nbytes for array in arrays.values()) * 64 <= GIB
        assert arrays["image"].shape[0] == arrays["scale"].shape[0]


def test_other_axes_are_halved_once_the_batch_is_at_its_minimum() -> None:
    _, infos = make(
        spec("image", (-1, 3, -1, -1)),
        min_shapes={"image": (2, 3, 100, 100)},
        max_shapes={"image": (16, 3, 1000, 800)},
        memory_bytes=2 * 64 * 2 * 3 * 4 * 300 * 600,
    )
    assert {info.name: info for info in infos}["opt"].shapes == {"image": (2, 3, 250, 400)}


def test_a_sample_is_never_reduced_below_the_min_shapes() -> None:
    _, infos = make(spec("x", (-1, 100)), min_shapes={"x": (3, 100)}, max_shapes={"x": (10, 100)}, memory_bytes=1)
    assert {info.shapes["x"] for info in infos} == {(3, 100)}
    assert [info.name for info in infos] == ["min", "opt"]


# Values


@pytest.mark.parametrize("dtype", ["float32", "int32"])
@pytest.mark.parametrize("shape", [(-1, 8), (3, 8)], ids=["batch", "one row"])
def test_rows_of_the_random_samples_touch_both_ends_of_a_given_range(dtype: str, shape: tuple[int, ...]) -> None:
    bounds = (-1000, 3000)
    samples, _ = make(spec("x", shape, dtype), value_ranges={"x": bounds}, max_batch_size=32)
    found = {name: arrays["x"] for name, arrays in samples}
    assert "random_0" in found
    for name, array in found.items():
        rows = array.reshape(len(array), -1) if -1 in shape else array.reshape(1, -1)
        for end in bounds:
            count = (rows == end).sum(axis=1)
            assert (count == (1 if name.startswith("random") else 0)).all(), (name, end)


@pytest.mark.parametrize(
    ("made", "options"),
    [
        (spec("x", (-1, 8), "float32"), {}),
        (spec("x", (-1, 3), "float32"), {"value_ranges": {"x": (-2, 2)}}),
        (spec("attention_mask", (-1, 8), "float32"), {"value_ranges": {"x": (-2, 2)}}),
    ],
    ids=["no range", "short rows", "another input's range"],
)
def test_other_rows_of_the_random_samples_are_ordinary(made: TensorSpec, options: dict[str, Any]) -> None:
    more = (spec("x", (-1, 3), "float32"),) if made.name != "x" else ()
    samples, _ = make(made, *more, max_batch_size=32, **options)
    values = np.concatenate([arrays[made.name].ravel() for name, arrays in samples if name.startswith("random")])
    assert not np.isin(values, (-2, 0, 1, 2)).any()


REAL = st.floats(allow_nan=False, allow_infinity=False)


@given(st.sampled_from(["float16", "float32", "float64"]), REAL, REAL, st.integers(0, 1000))
def test_floats_never_leave_their_range(dtype: str, one: float, other: float, seed: int) -> None:
    low, high = sorted((one, other))
    largest = float(np.finfo(dtype).max)
    if low > largest or high < -largest:
        with pytest.raises(StepError, match=f"value_ranges .*: no {dtype} value is in this range"):
            values(dtype, (50,), (low, high), seed)
        return
    drawn = values(dtype, (50,), (low, high), seed)
    assert drawn.dtype == dtype
    assert np.isfinite(drawn).all()
    inside = [float(value) for value in drawn]
    if min(inside) < low or max(inside) > high:
        # Allowed only if no value of the dtype lies in the range: then it is next to it.
        nearest = np.dtype(dtype).type(max(low, -largest))
        assert set(inside) == {float(nearest)}
        with np.errstate(over="ignore"):
            above = float(np.nextafter(nearest, np.dtype(dtype).type(np.inf)))
            below = float(np.nextafter(nearest, np.dtype(dtype).type(-np.inf)))
        assert below < low
        assert above > high


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_rounding_does_not_leave_the_range(dtype: str) -> None:
    low, high = 0.1, 0.30000001
    drawn = values(dtype, (20_000,), (low, high))
    assert min(map(float, drawn)) >= low
    assert max(map(float, drawn)) <= high
    assert float(drawn.min()) < 0.101
    assert float(drawn.max()) > 0.299
    assert abs(float(drawn.astype(np.float64).mean()) - 0.2) < 0.005


@given(st.sampled_from(["float16", "float32"]), st.floats(0.01, 100), st.floats(1, 4), st.integers(0, 100))
def test_a_range_of_a_few_neighbours_is_not_left_either(dtype: str, low: float, steps: float, seed: int) -> None:
    high = low + steps * 2 * float(np.spacing(np.dtype(dtype).type(low)))
    drawn = [float(value) for value in values(dtype, (50,), (low, high), seed)]
    assert low <= min(drawn) <= max(drawn) <= high


INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@given(st.sampled_from(INTEGERS), st.data(), st.integers(0, 1000))
def test_integers_never_leave_their_range(dtype: str, data: st.DataObject, seed: int) -> None:
    limits = np.iinfo(dtype)
    bounds = st.integers(-(2**65), 2**65) | st.sampled_from([int(limits.min), int(limits.max), 0, 1])
    low, high = sorted((data.draw(bounds), data.draw(bounds)))
    if low > limits.max or high < limits.min:
        with pytest.raises(StepError, match=f"value_ranges .*: no {dtype} value is in this range"):
            values(dtype, (50,), (low, high), seed)
        return
    drawn = values(dtype, (50,), (low, high), seed)
    assert drawn.dtype == dtype
    assert low <= int(drawn.min()) <= int(drawn.max()) <= high
    if max(low, limits.min) < min(high, limits.max):
        assert int(drawn.min()) < int(drawn.max())


@pytest.mark.parametrize("dtype", INTEGERS)
def test_both_ends_of_an_integer_range_occur(dtype: str) -> None:
    assert set(values(dtype, (200,), (3.0, 5.0)).tolist()) == {3, 4, 5}
    assert set(values(dtype, (200,), (2.5, 4.5)).tolist()) == {3, 4}


@pytest.mark.parametrize("dtype", [*INTEGERS[2:], "bool"])
def test_the_default_range_of_whole_numbers_is_0_and_1_and_never_all_zero(dtype: str) -> None:
    for seed in range(30):
        assert set(values(dtype, (2,), seed=seed).tolist()) == {0, 1}
        assert values(dtype, (1,), seed=seed).tolist() == [1]
        assert values(dtype, (), seed=seed).item() == 1
    assert abs(values(dtype, (10_000,)).mean() - 0.5) < 0.05


def test_a_mask_may_be_all_ones() -> None:
    assert values("bool", (3, 4), (1, 1)).all()
    assert (values("int64", (3, 4), (1.0, 1.0)) == 1).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_default_range_of_floats_is_0_to_1(dtype: str) -> None:
    drawn = values(dtype, (10_000,))
    assert (drawn.dtype, drawn.shape) == (np.dtype(dtype), (10_000,))
    assert 0 <= drawn.min() < 0.01
    assert 0.99 < drawn.max() <= 1
    assert values(dtype, ()).shape == ()


def test_the_default_entry_serves_the_inputs_without_their_own() -> None:
    samples, _ = make(
        spec("a", (100,)),
        spec("b", (100,)),
        spec("c", (100,), "uint8"),
        value_ranges={"": (-3.0, -2.0), "b": (5.0, 6.0), "c": (-10.0, 3.0)},
    )
    arrays = samples[0][1]
    assert arrays["a"].max() <= -2
    assert arrays["b"].min() >= 5
    assert set(arrays["c"].tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("bounds", "sentence"),
    [
        ((2.0, 1.0), "value_ranges [2.0, 1.0] of input 'x': expected two finite numbers, the smaller one first"),
        ((0.0, math.inf), "value_ranges [0.0, inf] of input 'x': expected two finite numbers"),
        ((0.2, 0.8), "value_ranges [0.2, 0.8] of input 'x': no int32 value is in this range"),
    ],
)
def test_impossible_ranges_are_sentences(bounds: tuple[float, float], sentence: str) -> None:
    with pytest.raises(StepError) as error:
        values("int32", (3,), bounds)
    assert str(error.value).startswith(sentence)


def test_names_that_the_model_does_not_take_are_sentences() -> None:
    misnamed: dict[str, Any] = {"value_ranges": {"y": (0, 1)}, "dtypes": {"y": "float32"}}
    for key, entries in misnamed.items():
        with pytest.raises(StepError, match=f"{key}: the model has no input 'y'\n  the model's inputs are x"):
            make(spec("x", (2,)), **{key: entries})


# Seeds


def digest(samples: list[Sample]) -> dict[tuple[str, str], str]:
    return {
        (sample, name): hashlib.sha256(array.tobytes()).hexdigest()
        for sample, arrays in samples
        for name, array in arrays.items()
    }


def test_the_same_seed_gives_the_same_samples_in_any_process() -> None:
    code = """
import hashlib
from pathlib import Path
from navigator.records import ModelConfig, TensorSpec
from navigator.samples.calibration import calibration
from navigator.samples.generate import generate
config = ModelConfig(model_name="m", model_path=Path("/m"), random_seed=7, max_batch_size=9)
samples, _ = generate([TensorSpec(name="x", shape=(-1, 3), dtype="float32")], config, memory_bytes=2**30)
print(*[hashlib.sha256(arrays["x"].tobytes()).hexdigest() for _, arrays in samples])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "123"}, capture_output=True, text=True, check=True
    )
    samples, _ = make(spec("x", (-1, 3)), random_seed=7, max_batch_size=9)
    assert done.stdout.split() == list(digest(samples).values())


def test_seeds_samples_and_inputs_differ() -> None:
    inputs = spec("x", (-1, 3)), spec("y", (-1, 3))
    seen = [digest(make(*inputs, random_seed=seed)[0]) for seed in (0, 1, -1, 2**70)]
    for one, other in itertools.combinations(seen, 2):
        assert not set(one.values()) & set(other.values())
    assert len(set(seen[0].values())) == len(seen[0])


def test_a_sample_does_not_depend_on_the_other_samples_or_inputs() -> None:
    alone = digest(make(spec("x", (-1, 3)), max_batch_size=16)[0])
    more = digest(make(spec("y", (-1, 2)), spec("x", (-1, 3)), max_batch_size=16)[0])
    fewer = digest(make(spec("x", (-1, 3)), min_shapes={"x": (16, 3)}, max_batch_size=16)[0])
    assert all(more[key] == value for key, value in alone.items())
    with_opt = digest(make(spec("x", (-1, 3)), opt_shapes={"x": (4, 3)}, max_batch_size=16)[0])
    assert with_opt["min", "x"] == alone["min", "x"]
    assert set(fewer) == {("min", "x"), ("random_0", "x")}


# Types


@pytest.mark.parametrize("dtype", ["object", "bytes"])
@pytest.mark.parametrize("own", [False, True])
def test_objects_are_refused_with_or_without_own_data(dtype: str, own: bool) -> None:
    with pytest.raises(StepError, match=f"input 'text' has dtype {dtype}, which NumPy doesn't support"):
        make(spec("text", (-1,), dtype), samples=(Path("/none.npz"),) if own else ())


KNOWN = Told(low=0, high=3, why="from OneHotEncoder", texts=(("a", "b"), ("S", "M", "L", "XL")))


def test_text_is_drawn_from_what_the_model_knows_of_each_column() -> None:
    samples, infos = make(spec("x", (-1, 2), "string"), spec("n", (-1, 1)), told={"x": KNOWN}, max_batch_size=5)
    opt = next(arrays["x"] for name, arrays in samples if name == "opt")
    assert opt.dtype.kind == "U"
    assert opt.shape == (5, 2)
    first = np.concatenate([samples[0][1]["x"], opt[:3]])
    assert [set(column) for column in first.T] == [{"a", "b"}, {"S", "M", "L", "XL"}]
    assert infos[0].values["x"] == "6 texts (from OneHotEncoder)"


def test_all_texts_are_drawn_before_one_comes_again() -> None:
    known = Told(low=0, high=39, why="", texts=(tuple(map(str, range(40))),))
    samples, _ = make(spec("x", (-1,), "string"), told={"x": known}, max_batch_size=30)
    drawn = np.concatenate([arrays["x"] for _, arrays in samples])
    assert len(set(drawn[:40])) == 40


def test_text_of_which_the_model_knows_nothing_is_drawn_too() -> None:
    samples, _ = make(spec("x", (-1,), "string"), max_batch_size=64)
    assert {text for _, arrays in samples for text in arrays["x"]} == set(ANY_TEXTS)


def test_text_has_no_range() -> None:
    make(spec("x", (-1,), "string"), value_ranges={"": (0, 5)}, max_batch_size=2)
    with pytest.raises(StepError, match="value_ranges of input 'x': it's text, which has no range"):
        make(spec("x", (-1,), "string"), value_ranges={"x": (0, 5)})


def test_own_text_is_taken_and_numbers_in_its_place_are_not(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.array(["red", "blue"]))
    ((_, arrays),), _ = make(spec("x", (-1,), "string"), samples=(tmp_path / "one.npy",))
    assert arrays["x"].tolist() == ["red", "blue"]
    np.save(tmp_path / "two.npy", np.array([1, 2]))
    with pytest.raises(StepError, match=r"expected text for input 'x', got int64\n.*dtype=str"):
        make(spec("x", (-1,), "string"), samples=(tmp_path / "two.npy",))
    with pytest.raises(StepError, match="expected float32 for input 'x', got <U4 with values that don't fit"):
        make(spec("x", (-1,)), samples=(tmp_path / "one.npy",))


def test_types_that_numpy_does_not_hold_are_sentences() -> None:
    with pytest.raises(StepError, match=r"input 'x' has dtype float7_e3, which NumPy doesn't support"):
        make(spec("x", (2,), "float7_e3"))
    with pytest.raises(StepError, match=r"complex64 inputs such as 'x' can't be generated\n.*set samples"):
        make(spec("x", (2,), "complex64"))


def test_dtypes_may_repeat_the_signature_but_not_contradict_it() -> None:
    make(spec("x", (2,)), dtypes={"x": "float32", "": "int64"})
    with pytest.raises(StepError) as error:
        make(spec("x", (2,)), dtypes={"x": "int64"})
    assert str(error.value) == (
        "dtypes has int64 for input 'x', but the model has float32\n"
        "  remove these entries from dtypes; the model's signature already has them"
    )


def test_dtypes_fill_in_where_the_signature_has_none() -> None:
    samples, _ = make(spec("a", (2,), ""), spec("b", (2,), ""), dtypes={"a": "uint8", "": "float16"})
    assert {name: str(array.dtype) for name, array in samples[0][1].items()} == {"a": "uint8", "b": "float16"}
    with pytest.raises(StepError, match=r"input 'a' has no dtype\n.*`dtypes: \{a: float32\}`"):
        make(spec("a", (2,), ""))


# The user's own data


def own(tmp_path: Path, arrays: Mapping[str, np.ndarray], *inputs: TensorSpec, name: str = "s.npz") -> np.ndarray:
    """Write arrays as one sample, read them back and return the first input."""
    path = tmp_path / name
    np.savez(path, **arrays)  # type: ignore[arg-type]  # a name is no option
    samples, _ = make(*inputs, samples=(path,))
    return samples[0][1][inputs[0].name]


def test_npz_files_are_samples(tmp_path: Path) -> None:
    paths = []
    for number in range(2):
        paths.append(tmp_path / str(number) / "sample.npz")
        paths[-1].parent.mkdir()
        np.savez(paths[-1], ids=np.full((2, 3 + number), number), mask=np.ones((2, 3 + number), np.int64))
    samples, infos = make(IDS, MASK, samples=tuple(paths))
    assert [name for name, _ in samples] == ["sample", "sample_1"]
    assert [list(arrays) for _, arrays in samples] == [["ids", "mask"]] * 2
    assert infos[1].shapes == {"ids": (2, 4), "mask": (2, 4)}
    assert (samples[1][1]["ids"] == 1).all()


def test_an_npy_file_is_the_only_input(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(np.arange(6.0, dtype=np.float32).reshape(2, 3)))
    samples, _ = make(spec("anything:0", (-1, 3)), samples=(tmp_path / "x.npy",))
    array = samples[0][1]["anything:0"]
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert array.flags.c_contiguous
    with pytest.raises(StepError, match=r"x.npy contains one array, but the model has 2 inputs: ids, mask"):
        make(IDS, MASK, samples=(tmp_path / "x.npy",))


def test_missing_and_extra_arrays_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(StepError) as error:
        own(tmp_path, {"ids": np.ones((1, 2)), "labels": np.ones(3)}, IDS, MASK)
    assert str(error.value) == (
        f"{tmp_path}/s.npz has no array for mask and has an array labels that is not an input\n"
        "  the model's inputs are ids, mask"
    )


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.ones((2, 3), np.float32), "expected shape [-1, 4] for input 'x', got [2, 3]"),
        (np.ones(4, np.float32), "expected shape [-1, 4] for input 'x', got [4]"),
        (np.ones((0, 4), np.float32), "'x' has shape [0, 4], which has no elements"),
        (np.full((1, 4), 0.1), "expected float32 for input 'x', got float64 with values that don't fit"),
        (np.full((1, 4), 2**24 + 1), "expected float32 for input 'x', got int64 with values that don't fit"),
        (np.full((1, 4), 1j), "expected float32 for input 'x', got complex128 with values that don't fit"),
        (np.full((1, 4), "a"), "expected float32 for input 'x', got <U1 with values that don't fit"),
        (np.full((1, 4), None), "Object arrays cannot be loaded when allow_pickle=False"),
    ],
)
def test_data_that_does_not_fit_is_a_sentence(tmp_path: Path, array: np.ndarray, sentence: str) -> None:
    with pytest.raises(StepError) as error:
        own(tmp_path, {"x": array}, spec("x", (-1, 4)))
    assert str(tmp_path / "s.npz") in str(error.value)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("written", "dtype", "array"),
    [
        ("float64", "float32", [0.5, -2.0, math.nan, math.inf]),
        ("int32", "int64", [-(2**31), 5]),
        ("int64", "int32", [-(2**31), 2**31 - 1]),
        ("int64", "uint8", [0, 255]),
        ("int64", "float32", [2**24, -1]),
        ("float32", "int64", [3.0, -4.0]),
        ("bool", "float32", [True, False]),
        ("int64", "bool", [0, 1]),
        (">f4", "float32", [0.1, 2.0]),
    ],
)
def test_another_dtype_is_accepted_if_every_value_survives(
    tmp_path: Path, written: str, dtype: str, array: list[Any]
) -> None:
    read = own(tmp_path, {"x": np.array(array, written)}, spec("x", (-1,), dtype))
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, np.array(array, written))


@pytest.mark.parametrize(
    ("written", "dtype", "value"),
    [
        ("int64", "float64", 2**53 + 1),
        ("int64", "uint64", -1),
        ("uint64", "int64", 2**64 - 1),
        ("int64", "uint8", 256),
        ("int64", "bool", 2),
        ("float64", "int64", 1.5),
        ("float64", "int64", math.nan),
        ("float64", "float16", 1e5),
    ],
)
def test_another_dtype_is_refused_if_a_value_changes(tmp_path: Path, written: str, dtype: str, value: Any) -> None:
    with pytest.raises(StepError, match=f"expected {dtype} for input 'x', got {written} with values that don't fit"):
        own(tmp_path, {"x": np.array([0, value], written)}, spec("x", (-1,), dtype))


def test_unreadable_files_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("not an archive")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04cut")
    (tmp_path / "empty.npy").write_bytes(b"")
    for name in ("text.npz", "cut.npy", "cut.npz", "empty.npy", "none.npz"):
        with pytest.raises(StepError, match=rf"{name} can't be read as a sample: .*\n.*numpy\.savez\("):
            make(spec("x", (-1,)), samples=(tmp_path / name,))


def test_data_too_large_for_the_machine_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros(10_000_000, np.float32))
    assert path.stat().st_size < 100_000
    with pytest.raises(
        StepError, match=r"the samples up to .*bomb\.npz take more than 0\.0 GiB, a quarter of this machine's memory"
    ):
        make(spec("x", (-1,)), samples=(path,), memory_bytes=100_000_000)
    assert make(spec("x", (-1,)), samples=(path,), memory_bytes=GIB)[1][0].shapes == {"x": (10_000_000,)}


def test_an_engine_is_made_for_the_shapes_asked_for_or_for_the_user_s_own_samples() -> None:
    inputs = [TensorSpec(name="ids", shape=(-1, -1), dtype="int64"), TensorSpec(name="w", shape=(3,), dtype="float32")]

    def infos(*sizes: tuple[int, ...]) -> list[SampleInfo]:
        return [SampleInfo(name=str(n), shapes={"ids": size, "w": (3,)}) for n, size in enumerate(sizes)]

    def profile(sizes: Sequence[tuple[int, ...]], **keys: Any) -> tuple[Any, Any, Any]:
        model = ModelConfig(model_name="m", model_path=Path("/m"), **keys)
        found = profile_of(inputs, model, infos(*sizes))
        assert found.min["w"] == found.opt["w"] == found.max["w"] == (3,)
        return found.min["ids"], found.opt["ids"], found.max["ids"]

    own = {"samples": (Path("/a.npz"),)}
    assert profile([(2, 7)], max_shapes={"ids": (8, 64)}) == ((1, 1), (8, 64), (8, 64))
    # The user's samples need no shapes beside them; what is given widens the range.
    assert profile([(2, 7), (4, 5)], **own) == ((2, 5), (4, 7), (4, 7))
    assert profile([(2, 7)], max_shapes={"ids": (8, 6)}, opt_shapes={"ids": (4, 7)}, **own) == ((2, 7), (4, 7), (8, 7))
    assert profile([(2, 7), (2, 7, 1)], **own) == ((2, 7), (2, 7), (2, 7))


def divided(tmp_path: Path, samples: Sequence[int], calibrating: Sequence[int] = (), **options: Any) -> tuple[Any, ...]:
    """Return the values of the samples that calibrate, and the names of the others; each sample is one number."""

    def files(kind: str, values: Sequence[int]) -> tuple[Path, ...]:
        paths = [tmp_path / f"{kind}{number}.npy" for number, _ in enumerate(values)]
        for path, value in zip(paths, values, strict=True):
            np.save(path, np.full((1, 1), value, "float32"))
        return tuple(paths)

    own = {"samples": files("s", samples), "calibration_samples": files("c", calibrating)}
    of = config(**{"tensorrt_precisions": (Precision.INT8,), "max_batch_size": 2, **own, **options})
    inputs = [spec("x", (-1, 1))]
    found = calibration(inputs, of, generate(inputs, of, memory_bytes=GIB)[0], GIB)
    return [int(arrays["x"].flat[0]) for _, arrays in found.samples], found.held_out


@pytest.mark.parametrize(
    ("samples", "calibrating", "chosen", "held_out"),
    [
        pytest.param([1, 2, 3, 4, 5], [], [1, 3, 5], ("s1", "s3"), id="every-other-one"),
        pytest.param([1, 2], [], [1], ("s1",), id="two"),
        pytest.param([1], [], [1], (), id="one-has-no-other-half"),
        pytest.param([1, 1], [], [1], (), id="one-under-two-names"),
        pytest.param([1, 2], [7, 8], [7, 8], ("s0", "s1"), id="files-for-calibration"),
        pytest.param([1, 2], [7, 2], [7, 2], ("s0",), id="a-sample-that-calibrates-is-not-held-out"),
        pytest.param([1, 2], [2, 1], [2, 1], (), id="the-same-files"),
    ],
)
def test_no_sample_calibrates_and_is_held_out(
    tmp_path: Path, samples: Sequence[int], calibrating: Sequence[int], chosen: Sequence[int], held_out: Sequence[str]
) -> None:
    assert divided(tmp_path, samples, calibrating) == (chosen, held_out)


def test_random_samples_are_held_out_only_if_files_calibrate(tmp_path: Path) -> None:
    assert divided(tmp_path, [])[1] == ()
    assert divided(tmp_path, [], [7]) == ([7], ("min", "opt"))
    assert divided(tmp_path, [1, 2], tensorrt_precisions=(Precision.FP16,)) == ([], ())


def test_columns_have_all_numbers_that_the_model_knows_and_others_stay() -> None:
    told = Told(low=0, high=1, why="", columns=((0, (10, 20, 45)), (2, (7, 1000))))
    model = ModelConfig(model_name="m", model_path=Path("m.onnx"))
    codes = TensorSpec(name="codes", shape=(-1, 3), dtype="int64")
    samples, _ = generate([codes], model, memory_bytes=2**30, told={"codes": told})
    for _, arrays in samples:
        assert {*arrays["codes"][:, 0].tolist()} <= {10, 20, 45}
        assert {*arrays["codes"][:, 1].tolist()} <= {0, 1}
        assert {*arrays["codes"][:, 2].tolist()} <= {7, 1000}
    large = dict(samples)["opt"]["codes"]
    assert len({*map(tuple, large[:, [0, 2]].tolist())}) == 6
