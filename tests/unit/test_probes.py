"""Samples that look for trouble: what each of them has, for every dtype and range, and when there is none."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from navigator.errors import StepError
from navigator.records import ModelConfig, TensorSpec
from navigator.samples.constants import MOST, NAMES, Constant, candidates, taken
from navigator.samples.generate import drawn_from, generate, look_for_trouble
from navigator.samples.probes import PROBES, reach
from navigator.samples.values import UNKNOWN, Bounds, Origin, Told, nudged

GIB = 2**30


def spec(name: str, shape: tuple[int, ...] | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=dtype)


def config(**options: Any) -> ModelConfig:
    return ModelConfig(model_name="m", model_path=Path("/m.onnx"), **options)


def probed(
    *inputs: TensorSpec, memory_bytes: int = GIB, told: dict[str, Told] | None = None, **options: Any
) -> dict[str, dict[str, np.ndarray]]:
    return dict(look_for_trouble(inputs, config(**options), memory_bytes=memory_bytes, told=told)[0])


def every(name: str, *inputs: TensorSpec, told: dict[str, Told] | None = None, **options: Any) -> np.ndarray:
    """Return all values of an input in all samples."""
    model = config(**options)
    ordinary, _ = generate(inputs, model, memory_bytes=GIB, told=told)
    probes, _ = look_for_trouble(inputs, model, memory_bytes=GIB, told=told)
    return np.concatenate([arrays[name].ravel() for _, arrays in (*ordinary, *probes)])


def bounds(
    name: str, dtype: str, told: Told | None = None, ranges: dict[str, tuple[float, float]] | None = None
) -> Bounds:
    found = drawn_from([spec(name, (2,), dtype)], config(value_ranges=ranges or {}), {name: told} if told else None)
    return found[name]


# Which values


def test_floats_without_ranges_see_negative_values_zeros_ends_and_values_over_1() -> None:
    found = probed(spec("x", (-1, 64)))
    assert list(found) == ["ends", "zeros", "normal"]
    assert set(found["ends"]["x"].ravel().tolist()) == {0, 1}
    first, second = found["zeros"]["x"]
    assert not first.any()
    assert second.all()
    normal = found["normal"]["x"]
    assert 0.3 < (normal < 0).mean() < 0.7
    assert 0.15 < (np.abs(normal) > 1).mean() < 0.5
    assert normal.dtype == np.float32


FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)


@given(st.sampled_from(["float32", "float64"]), FLOATS, FLOATS, st.sampled_from([(), (1,), (-1, 3), (2, 5)]))
def test_both_ends_of_a_given_float_range_occur_exactly(
    dtype: str, one: float, other: float, shape: tuple[int, ...]
) -> None:
    low, high = sorted((one, other))
    values = every("x", spec("x", shape, dtype), value_ranges={"x": (low, high)})
    assert (values.min(), values.max()) == (low, high)


@given(
    st.sampled_from(["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]),
    st.integers(-(2**63), 2**64),
    st.integers(0, 2**20),
    st.sampled_from([(), (-1,), (1, 3)]),
)
@example("uint64", 2**63, 3, (5,))
def test_both_ends_of_a_given_whole_range_occur(dtype: str, low: int, width: int, shape: tuple[int, ...]) -> None:
    limits = np.iinfo(dtype)
    low = min(max(low, limits.min), limits.max)
    high = min(low + width, limits.max)
    values = every("x", spec("x", shape, dtype), told={"x": Told(low=low, high=high, why="rows of 'table'")})
    assert (int(values.min()), int(values.max())) == (low, high)


@pytest.mark.parametrize(("dtype", "ends"), [("uint8", (0, 255)), ("int8", (-128, 127))])
def test_bytes_take_the_whole_range_of_their_dtype(dtype: str, ends: tuple[int, int]) -> None:
    image = spec("frame", (-1, 8, 8, 3), dtype)
    values = every("frame", image)
    assert (values.min(), values.max()) == ends
    ((_, ordinary),) = generate([spec("frame", (1, 64, 64, 3), dtype)], config(), memory_bytes=GIB)[0][:1]
    assert len(np.unique(ordinary["frame"])) == 256
    assert set(probed(image)) == {"ends", "zeros"}
    # The user's word wins, the entry for all inputs too.
    assert set(every("frame", image, value_ranges={"frame": (3, 4)}).tolist()) == {3, 4}
    assert set(every("frame", image, value_ranges={"": (-2, 1)}).tolist()) == {*range(max(ends[0], -2), 2)}


def test_what_the_model_tells_gives_way_to_the_user_alone() -> None:
    told = Told(low=0, high=29_999, why="rows of 'words'")
    assert str(bounds("ids", "int64", told)) == "0 to 29999 (rows of 'words')"
    assert str(bounds("ids", "int64", told, {"ids": (5, 6)})) == "5 to 6"
    assert str(bounds("ids", "int64")) == "0 to 1"
    assert bounds("ids", "uint8", Told(low=0, high=9, why="rows of 'words'")).high == 9
    with pytest.raises(StepError, match="expected two finite numbers"):
        bounds("ids", "int64", told, {"ids": (6, 5)})


@pytest.mark.parametrize("seed", range(10))
def test_every_place_of_a_float_without_a_range_is_once_negative(seed: int) -> None:
    first, second = probed(spec("x", (-1, 2)), spec("y", (-1, 1)), random_seed=seed)["normal"]["x"]
    assert (np.signbit(first) != np.signbit(second)).all()
    alone = probed(spec("x", (2,)), random_seed=seed)["normal"]["x"]
    assert np.signbit(alone).any()


def test_whole_numbers_that_nobody_gave_a_range_see_small_counts_in_one_sample() -> None:
    ids = spec("ids", (-1, 64), "int64")
    found = probed(ids)
    assert list(found) == ["ends", "zeros", "counts"]
    assert set(found["counts"]["ids"].ravel().tolist()) == set(range(8))
    told = {"ids": Told(low=0, high=99, why="rows of 'words'")}
    assert [name for name, _ in look_for_trouble([ids], config(), memory_bytes=GIB, told=told)[0]] == ["ends", "zeros"]


@pytest.mark.parametrize("seed", range(9))
def test_a_single_count_is_once_neither_0_nor_1(seed: int) -> None:
    stride, lengths = spec("stride", (), "int32"), spec("lengths", (-1,), "int32")
    found = probed(stride, lengths, random_seed=seed)["counts"]
    assert 2 <= found["stride"] <= 7
    assert found["lengths"].shape == (2,)


def test_where_what_nobody_gave_a_range_may_be_is_what_its_samples_are_drawn_from() -> None:
    free, count, table = bounds("x", "float32"), bounds("n", "int64"), bounds("n", "int64", None, {"n": (0, 9)})
    signed = bounds("n", "int64", Told(low=0, high=1, why="", signed=True))
    assert reach(free, ["normal"]) == (-1, 1)
    assert reach(count, ["counts", "negatives"]) == (0, 7)
    assert reach(signed, ["counts", "negatives"]) == (-7, 7)
    assert reach(signed, ["counts"]) == (0, 7)
    assert [reach(free, ["counts"]), reach(count, ["normal"]), reach(table, ["counts"])] == [None] * 3


def test_whole_numbers_whose_sign_the_model_minds_are_negative_in_one_sample() -> None:
    ids, sign = spec("ids", (-1, 64), "int64"), {"ids": Told(low=0, high=1, why="", signed=True)}
    samples, infos = look_for_trouble([ids], config(), memory_bytes=GIB, told=sign)
    assert [name for name, _ in samples] == ["ends", "zeros", "counts", "negatives"]
    assert set(dict(samples)["negatives"]["ids"].ravel().tolist()) == set(range(-7, 0))
    assert infos[-1].values == {"ids": "-7 to -1"}
    # Whoever says where the numbers are from says what sign they have.
    given = config(value_ranges={"ids": (0, 9)})
    assert "negatives" not in dict(look_for_trouble([ids], given, memory_bytes=GIB, told=sign)[0])
    for other in ("uint32", "float32", "int8", "bool"):
        assert "negatives" not in dict(
            look_for_trouble([spec("ids", (-1, 64), other)], config(), memory_bytes=GIB, told=sign)[0]
        )


def test_every_row_of_a_table_is_looked_up_before_one_is_again() -> None:
    ids, rows = spec("ids", (-1, 8), "int64"), Told(low=0, high=199, why="rows of 'words'")
    samples, _ = generate([ids], config(max_batch_size=16), memory_bytes=GIB, told={"ids": rows})
    drawn = np.concatenate([arrays["ids"].ravel() for _, arrays in samples])
    assert len(set(drawn[:200].tolist())) == 200
    # Then they're drawn, like those of which nobody knows what they are.
    assert len(set(drawn[200:].tolist())) < len(drawn[200:])
    few = Told(low=0, high=1, why="rows of 'kinds'")
    kinds, _ = generate([ids], config(max_batch_size=16), memory_bytes=GIB, told={"ids": few})
    assert all(len(np.unique(arrays["ids"])) == 2 for _, arrays in kinds)
    most = Told(low=0, high=2**40, why="rows of 'hashes'")
    many, _ = generate([ids], config(), memory_bytes=GIB, told={"ids": most})
    assert max(arrays["ids"].max() for _, arrays in many) > 2**32


# Masks


@pytest.mark.parametrize(
    ("name", "dtype", "mask"),
    [
        ("attention_mask__1", "int64", True),
        ("keyPaddingMask", "float32", True),
        ("mask", "uint8", True),
        ("allowed", "bool", True),
        ("mask_positions", "int64", False),
        ("masked_lm_ids", "int64", False),
        ("image", "float32", False),
        ("damask_colour", "int32", True),  # harmless: 0 and 1 is what it's sampled from without a range
        ("input_ids", "int64", False),
    ],
)
def test_masks_are_known_by_dtype_or_name(name: str, dtype: str, mask: bool) -> None:
    assert bounds(name, dtype).mask == mask
    assert bounds(name, dtype, ranges={name: (0, 1)}).mask == mask
    assert not bounds(name, dtype, ranges={name: (1, 1)}).mask
    if dtype != "bool":
        assert not bounds(name, dtype, ranges={name: (-10_000, 0)}).mask


@pytest.mark.parametrize("dtype", ["bool", "int64", "float32"])
def test_masks_are_all_true_prefixes_and_once_a_row_of_false(dtype: str) -> None:
    inputs = spec("x", (-1, 6, 4)), spec("mask", (-1, 6), dtype)
    found = probed(*inputs, max_batch_size=8)
    assert list(found) == ["ends", "zeros", "normal", "masked"]
    assert all(arrays["mask"].shape == (2, 6) and arrays["mask"].dtype == dtype for arrays in found.values())
    assert found["ends"]["mask"].all()
    rows = [*found["zeros"]["mask"], *found["normal"]["mask"], found["masked"]["mask"][0]]
    for row in rows:
        count = int(row.sum())
        assert 0 < count < 6
        assert row[:count].all()
    assert not found["masked"]["mask"][-1].any()
    # Ordinary samples keep masks with holes.
    ordinary = generate(inputs, config(), memory_bytes=GIB)[0][1][1]["mask"]
    assert any(np.diff(row.astype(float)).max() > 0 for row in ordinary)


def test_a_model_of_masks_alone_sees_all_true_and_all_false() -> None:
    found = probed(spec("a", (1, 5), "bool"), spec("flag", (), "bool"))
    assert list(found) == ["ends", "masked"]
    assert found["ends"]["a"].all()
    assert found["ends"]["flag"]
    assert not found["masked"]["a"].any()
    assert not found["masked"]["flag"]


def test_whole_numbers_that_the_model_reads_as_true_and_false_are_a_mask() -> None:
    told = Told(low=0, high=1, why="read as true and false", mask=True)
    assert bounds("valid", "int64", told).mask
    assert bounds("valid", "uint8", told).mask
    assert bounds("valid", "int64", told, {"valid": (0, 1)}).mask
    assert not bounds("valid", "int64", told, {"valid": (0, 2)}).mask
    assert not bounds("valid", "float32", told).mask


def test_text_that_the_model_may_not_know_is_in_a_sample_of_its_own() -> None:
    known = Told(low=0, high=2, why="", texts=(("red", "green", "blue"),))
    found = probed(spec("color", (-1, 2), "string"), spec("x", (-1, 2)), told={"color": known})
    assert {name for name, arrays in found.items() if not set(arrays["color"].flat) <= set(known.texts[0])} == {
        "unknown"
    }
    assert not set(found["unknown"]["color"][0]) & set(known.texts[0])
    # The ends and zeros of numbers beside it are there as ever.
    assert {0.0} == set(found["zeros"]["x"][0])


@pytest.mark.parametrize("seed", range(5))
def test_of_two_texts_one_is_in_capitals_and_one_that_no_model_makes_a_known_one(seed: int) -> None:
    known = Told(low=0, high=2, why="", texts=(("red", "green", "blue"),))
    sample = probed(spec("color", (-1,), "string"), told={"color": known}, random_seed=seed)["unknown"]
    assert sample["color"][0] in UNKNOWN
    assert sample["color"][1] == "RED"


@pytest.mark.parametrize("seed", range(5))
def test_texts_that_the_model_may_not_know_are_those_in_capitals_and_others(seed: int) -> None:
    known = Told(low=0, high=2, why="", texts=(("red", "green", "blue"),))
    sample = probed(spec("color", (-1, 64), "string"), told={"color": known}, random_seed=seed)["unknown"]
    assert set(sample["color"][0]) == {"RED", "GREEN", "BLUE", *UNKNOWN}


@given(st.sampled_from(["float16", "float32", "float64"]), st.sampled_from([(0.0, 1.0), (-3.0, 2.0), (5.0, 6.0)]))
def test_nudged_values_stay_inside_their_bounds_and_hardly_change(dtype: str, ends: tuple[float, float]) -> None:
    within = bounds("x", dtype, None, {"x": ends})
    for value in ends:
        same = np.full((4, 50), value, dtype)
        found = nudged(same, within)
        assert found.dtype == same.dtype
        assert within.low <= found.min() <= found.max() <= within.high
        assert (found != same).all()
        assert np.abs(found.astype(float) - value).max() <= 0.004 * max(1, abs(value))
    if dtype != "float16":
        assert len(np.unique(nudged(np.zeros(50, dtype), within))) > 40
    ids = np.zeros(5, np.int64)
    assert nudged(ids, bounds("x", "int64")) is ids


# Shapes, names and seeds


def test_probes_are_small_and_in_shapes_that_the_user_asked_for() -> None:
    image = spec("image", (-1, 3, -1, -1))
    shapes: dict[str, Any] = {"max_shapes": {"image": (16, 3, 640, 480)}}
    assert {arrays["image"].shape for arrays in probed(image, **shapes).values()} == {(2, 3, 640, 480)}
    shapes["min_shapes"] = {"image": (4, 3, 64, 32)}
    assert {arrays["image"].shape for arrays in probed(image, **shapes).values()} == {(4, 3, 64, 32)}
    # The batch inside a state is the batch.
    state = probed(spec("x", (-1, 6)), spec("state", (2, -1, 3)), max_shapes={"x": (8, 6), "state": (2, 8, 3)})
    assert not state["zeros"]["state"][:, 0].any()
    assert state["zeros"]["state"][:, 1].all()


def test_probes_are_reduced_to_fit_into_memory_and_say_so() -> None:
    _, infos = look_for_trouble(
        [spec("x", (-1, -1))], config(max_shapes={"x": (8, 1000)}), memory_bytes=2 * 64 * 4 * 600
    )
    assert {info.shapes["x"] for info in infos} == {(1, 500)}
    assert {info.reduced_from["x"] for info in infos if info.reduced_from} == {(2, 1000)}


def test_a_row_of_zeros_leaves_alone_what_all_rows_share() -> None:
    found = probed(spec("x", (-1, 6)), spec("scale", (3,)), spec("offset", (-1, 2)), value_ranges={"offset": (1, 2)})
    assert found["zeros"]["scale"].all()
    assert found["zeros"]["offset"].all()
    assert not found["zeros"]["x"][0].any()
    assert not probed(spec("x", (1, 6)))["zeros"]["x"].any()


def test_there_are_no_probes_without_inputs_or_beside_own_samples() -> None:
    assert look_for_trouble([], config(), memory_bytes=GIB) == ([], ())
    own = config(samples=(Path("/none.npz"),))
    assert look_for_trouble([spec("x", (2,))], own, memory_bytes=GIB) == ([], ())
    assert probed(spec("x", (2, 3)), value_ranges={"x": (4, 4)}) == {}


def test_every_sample_says_what_its_inputs_were_filled_with() -> None:
    inputs = spec("x", (-1, 6)), spec("mask", (-1, 6), "bool")
    _, ordinary = generate(inputs, config(), memory_bytes=GIB)
    _, probes = look_for_trouble(inputs, config(), memory_bytes=GIB)
    assert {info.name: dict(info.values) for info in (*ordinary[:1], *probes)} == {
        "min": {"x": "0 to 1", "mask": "0 to 1"},
        "ends": {"x": "ends of 0 to 1", "mask": "all true"},
        "zeros": {"x": "a row of 0, others 0 to 1", "mask": "first elements true"},
        "normal": {"x": "standard normal", "mask": "first elements true"},
        "masked": {"x": "0 to 1", "mask": "first elements true, last row all false"},
    }


@given(st.integers(0, 2**63), st.sampled_from(["float32", "int32", "uint8", "bool"]))
def test_probes_depend_on_seed_and_name_alone(seed: int, dtype: str) -> None:
    x = spec("x", (-1, 20), dtype)
    alone = probed(x, random_seed=seed)
    again = probed(spec("mask", (-1, 9), "bool"), x, random_seed=seed)
    for name, arrays in alone.items():
        np.testing.assert_array_equal(arrays["x"], again[name]["x"])
    other = probed(x, random_seed=seed + 1)
    # Few bits may come out the same by chance.
    assert dtype == "bool" or any(not np.array_equal(arrays["x"], other[name]["x"]) for name, arrays in alone.items())


@given(st.lists(st.sampled_from(["float32", "float16", "int8", "int64", "bool"]), max_size=3), st.booleans())
def test_probes_are_few_whatever_the_inputs(dtypes: list[str], dynamic: bool) -> None:
    inputs = [spec(f"x{number}", (-1 if dynamic else 1, 4), dtype) for number, dtype in enumerate(dtypes)]
    samples, infos = look_for_trouble(inputs, config(), memory_bytes=GIB)
    names = [name for name, _ in samples]
    assert names == [info.name for info in infos]
    assert len(set(names)) == len(names) <= len(PROBES)
    assert all(set(info.values) == set(info.shapes) for info in infos)
    assert bounds("x", "int64").origin is Origin.DEFAULT


# What the model compares its inputs with


def test_numbers_that_an_input_is_compared_with_are_sampled_one_each() -> None:
    given = {"sr": [Constant(16000), Constant(8000)], "x": [Constant(0.5, ordered=True)]}
    found, infos = look_for_trouble(
        (spec("x", (-1, 6)), spec("sr", (), "int64")), config(), memory_bytes=GIB, compared=given
    )
    made = {name: arrays for name, arrays in found if name in NAMES}
    assert {name: int(arrays["sr"]) for name, arrays in made.items()} == {"compared": 16000, "compared_1": 8000}
    for arrays in made.values():
        assert 0 < np.count_nonzero(arrays["x"] == 0.5) <= arrays["x"].size // 2
    told = {info.name: info.values for info in infos}
    assert told["compared"] == {
        "x": "0.5, with which the model compares it",
        "sr": "16000, with which the model compares it",
    }


@given(st.integers(1, 40), st.integers(1, 60))
def test_every_number_is_in_a_sample_as_far_as_there_is_room(size: int, count: int) -> None:
    numbers = [Constant(1000 + number) for number in range(count)]
    found, _ = look_for_trouble((spec("ids", (size,), "int64"),), config(), memory_bytes=GIB, compared={"ids": numbers})
    made = [arrays["ids"] for name, arrays in found if name in NAMES]
    seen = {int(value) for array in made for value in array.ravel()} - set(range(8))
    assert len(made) <= MOST
    assert len(seen) == min(count, MOST * min(size, MOST))


@pytest.mark.parametrize(
    ("dtype", "ranges", "constants", "expected"),
    [
        ("int64", None, [Constant(16000)], (16000,)),
        ("int64", None, [Constant(100, ordered=True)], (100, 99, 101)),
        # Drawn anyway, or no number of the dtype.
        ("int64", None, [Constant(0), Constant(1), Constant(0.5)], ()),
        ("uint8", None, [Constant(7), Constant(300), Constant(-1)], (7,)),
        ("int64", {"x": (0, 5)}, [Constant(3), Constant(16000)], ()),
        ("int64", {"x": (0, 500)}, [Constant(3), Constant(16000)], (3,)),
        ("float32", None, [Constant(0.25, ordered=True)], (0.25,)),
        ("float32", None, [Constant(16.0, ordered=True)], (16, 14, 18)),
        ("float32", None, [Constant(0.0)], ()),
        ("float32", {"x": (-1, 1)}, [Constant(0.5), Constant(2.0)], (0.5,)),
        ("bool", None, [Constant(1)], ()),
        ("float32", None, [Constant(math.nan), Constant(math.inf)], (math.nan, math.inf)),
        ("float32", {"x": (-1, 1)}, [Constant(math.nan), Constant(math.inf)], ()),
        ("int64", None, [Constant(math.nan), Constant(math.inf)], ()),
    ],
)
def test_which_numbers_are_sampled(
    dtype: str, ranges: dict[str, tuple[float, float]] | None, constants: list[Constant], expected: tuple[float, ...]
) -> None:
    assert candidates(bounds("x", dtype, ranges=ranges), constants) == expected


def test_numbers_that_samples_neither_have_nor_span_are_not_taken() -> None:
    arrays = [np.array([0.1, np.nan], np.float32), np.zeros(2, np.float32)]
    assert [str(each) for each in taken((0.1, 0.05, 0.2, -0.1, math.nan, math.inf), arrays)] == ["0.1", "0.05", "nan"]
    assert taken((math.nan, 3.0), [np.array([3])]) == (3.0,)
    assert taken((math.nan, math.inf), [np.array([math.inf])]) == (math.inf,)
