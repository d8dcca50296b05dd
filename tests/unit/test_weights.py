"""Weights of a converted model beside the source model's: what's recognised, what's wrong, and what isn't judged."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from navigator.models.stored import Computed, Place, Stored
from navigator.records import Weights
from navigator.verify.weights import compared

Array = np.ndarray


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def stored(tensors: dict[str, Array]) -> list[Stored]:
    def reader(values: Array) -> Callable[[], Array]:
        return lambda: values

    return [Stored(name, values.shape, reader(values)) for name, values in tensors.items()]


def judged(
    source: dict[str, Array], converted: dict[str, Array], computed: Computed | None = None, **more: Any
) -> Weights:
    return compared(stored(source), stored(converted), lambda: computed or Computed(), **more)


def lying(path: Path, values: Array) -> Stored:
    """Return a tensor after some other bytes in a file; nobody may decode it."""

    def read() -> Array:
        raise AssertionError("read as a whole")

    path.write_bytes(b"other" + values.tobytes())
    return Stored("w", values.shape, read, Place(path, 5, values.dtype))


def off(values: Array, at: int, by: float = 1e-3) -> Array:
    values = values.copy()
    values.flat[at] += np.float32(by)
    return values


WEIGHT = normal(16, 6, 3, 3)
FACTOR = normal(16, seed=1)
# What exporters make of one tensor, and where its element [3, 2, 1, 0] is then.
LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "as it is": lambda w: w,
    "transposed": lambda w: w.transpose(2, 3, 1, 0),
    "with axes of one": lambda w: w.reshape(1, 16, 6, 1, 3, 3),
    "flat": lambda w: w.reshape(16, 54),
    "flat and transposed": lambda w: w.reshape(16, 54).T.copy(),
    "as depthwise": lambda w: w.transpose(1, 0, 2, 3).reshape(96, 1, 3, 3),
    "scaled": lambda w: w * np.float32(0.125),
    "a factor for each channel": lambda w: w * FACTOR[:, None, None, None],
    "a factor for each channel, transposed": lambda w: (w * FACTOR[:, None, None, None]).transpose(1, 2, 3, 0),
    "a factor for each input": lambda w: w * normal(6, seed=2)[:, None, None],
}


def test_the_same_bytes_are_compared_a_piece_at_a_time(tmp_path: Path) -> None:
    """As in a model whose external data is copied."""
    large = normal(300, 1000)
    one, other = (lying(tmp_path / name, large) for name in "ab")
    found = compared([one], [other], Computed, named=True)
    assert (found.recognised, found.recognised_elements, found.wrong) == (1, large.size, ())


@pytest.mark.parametrize("change", ["last", "type", "end", "shape"])
def test_other_bytes_under_the_same_name_are_looked_at(tmp_path: Path, change: str) -> None:
    large = normal(300, 1000)
    changed = {"last": off(large, -1), "type": large.astype(np.float64), "end": large, "shape": large.T.copy()}[change]
    one, other = lying(tmp_path / "a", large), lying(tmp_path / "b", changed)
    if change == "end":
        os.truncate(tmp_path / "b", large.nbytes)
    with pytest.raises(AssertionError, match="read as a whole"):
        compared([one], [other], Computed, named=True)
    one, other = replace(one, read=lambda: large), replace(other, read=lambda: changed)
    found = compared([one], [other], Computed, named=True)
    assert [each.differing for each in found.wrong] == ([1] if change == "last" else [])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tensor_is_recognised_and_a_wrong_element_found(layout: str) -> None:
    made = LAYOUTS[layout]
    others = {"other": normal(16, 6, 3, 3, seed=5), "small": normal(6), "empty": normal(0, 54)}
    right = judged({**others, "w": WEIGHT}, {"x": made(WEIGHT)})
    assert (right.recognised, right.tensors, right.wrong) == (1, 1, ())

    marked = np.zeros_like(WEIGHT)
    marked[3, 2, 1, 0] = 1
    at = int(np.flatnonzero(made(marked))[0])
    wrong = judged({**others, "w": WEIGHT}, {"x": off(made(WEIGHT), at)}).wrong
    assert [(each.tensor, each.index, each.converted) for each in wrong] == [("w", (3, 2, 1, 0), "x")]
    assert (wrong[0].differing, wrong[0].total) == (1, WEIGHT.size)
    assert float(wrong[0].value) - float(wrong[0].expected) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("at", [0, 431, -1])
def test_every_place_is_looked_at(at: int) -> None:
    for made in LAYOUTS.values():
        assert judged({"w": WEIGHT}, {"x": off(made(WEIGHT), at)}).wrong


def test_what_an_exporter_computed_from_it_is_not_judged() -> None:
    clipped = WEIGHT.clip(-2, 2)
    assert judged({"w": WEIGHT}, {"x": clipped}).wrong
    found = judged({"w": WEIGHT}, {"x": clipped}, Computed(names=frozenset({"w"})))
    assert (found.recognised, found.wrong) == (0, ())
    assert not judged({"w": WEIGHT}, {"x": clipped}, Computed(sizes=frozenset({WEIGHT.size}))).wrong
    assert not judged({"w": WEIGHT}, {"x": clipped}, Computed(sizes=None)).wrong


@pytest.mark.parametrize(
    "values",
    [normal(16, 6, 3, 3, seed=9), WEIGHT + normal(16, 6, 3, 3, seed=9) * 1e-3, WEIGHT - WEIGHT.mean(), np.abs(WEIGHT)],
)
def test_what_is_like_nothing_is_not_judged(values: Array) -> None:
    found = judged({"w": WEIGHT}, {"x": values})
    assert (found.recognised, found.wrong) == (0, ())


def test_an_exact_tensor_goes_before_one_that_is_nearly_the_same() -> None:
    changed = off(WEIGHT, 7)
    found = judged({"first": WEIGHT, "second": changed}, {"a": changed, "b": WEIGHT})
    assert (found.recognised, found.wrong) == (2, ())


def test_constants_tell_nothing_but_by_their_name() -> None:
    ones = np.ones(64, np.float32)
    assert judged({"norm.weight": ones}, {"x": off(ones, 3)}).recognised == 0
    found = judged({"norm.weight": ones}, {"norm.weight": off(ones, 3)})
    assert [(each.tensor, each.index) for each in found.wrong] == [("norm.weight", (3,))]
    # Where every name is kept, a single number is judged too.
    scalar = np.array(0.5, np.float32)
    assert not judged({"slope": scalar}, {"slope": off(scalar, 0)}).wrong
    assert judged({"slope": scalar}, {"slope": off(scalar, 0)}, named=True).wrong


def test_a_name_that_was_given_to_something_else_is_not_judged() -> None:
    found = judged({"bias": normal(64)}, {"bias": normal(64, seed=3)})
    assert (found.recognised, found.wrong) == (0, ())


def test_rows_that_are_swapped_zero_or_lost_are_wrong() -> None:
    swapped = WEIGHT.copy()
    swapped[[2, 5]] = swapped[[5, 2]]
    zero = WEIGHT.copy()
    zero[4] = 0
    for values, count in ((swapped, 108), (zero, 54)):
        assert [each.differing for each in judged({"w": WEIGHT}, {"x": values}).wrong] == [count]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_tensor_that_was_rounded_is_wrong(dtype: str) -> None:
    if dtype == "float16":
        values = WEIGHT.astype(np.float16).astype(np.float32)
    else:
        values = ((WEIGHT.view(np.uint32) + 0x8000) & np.uint32(0xFFFF0000)).view(np.float32)
    for made in (values, values.transpose(2, 3, 1, 0)):
        assert [each.rounded for each in judged({"w": WEIGHT}, {"x": made}).wrong] == [dtype]
    # The source's own precision isn't lost.
    assert judged({"w": values}, {"x": values}) == Weights(
        tensors=1, recognised=1, elements=864, recognised_elements=864
    )


def test_weights_of_a_narrower_type_are_recognised_in_a_wider_one() -> None:
    half = WEIGHT.astype(np.float16)
    assert judged({"w": half}, {"x": half.astype(np.float32)}).recognised == 1
    assert judged({"w": half}, {"x": off(half.astype(np.float32), 5)}).wrong


def norm(channels: int, prefix: str, seed: int, names: tuple[str, ...]) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    vectors = (rng.normal(1, 0.3, channels), rng.normal(size=channels), rng.normal(size=channels))
    made = (*vectors, rng.uniform(0.2, 2, channels))
    return {f"{prefix}{name}": values.astype(np.float32) for name, values in zip(names, made, strict=True)}


TORCH = ("weight", "bias", "running_mean", "running_var")
KERAS = ("gamma", "beta", "moving_mean", "moving_variance")


@pytest.mark.parametrize(("names", "separator"), [(TORCH, "."), (KERAS, "/")])
@pytest.mark.parametrize("epsilon", [0.0, 1e-5, 1e-3])
def test_what_is_left_of_a_batch_normalization_is_recognised(
    names: tuple[str, ...], separator: str, epsilon: float
) -> None:
    source = {"conv/bias": normal(32, seed=7)}
    for number in range(3):
        source |= norm(32, f"bn{number}{separator}", number, names)
    gamma, beta, mean, variance = (source[f"bn1{separator}{name}"] for name in names)
    scale = gamma / np.sqrt(variance + np.float32(epsilon))
    made = {
        "factor": scale,
        "summand": beta - mean * scale,
        "with a bias": (beta + (source["conv/bias"] - mean) * scale).reshape(1, 32, 1, 1),
    }
    assert judged(source, made).recognised == 3
    assert not judged(source, made).wrong
    for name, values in made.items():
        found = judged(source, {name: off(values, 9)}).wrong
        assert [(each.tensor, each.index, each.differing) for each in found] == [(f"bn1{separator}{names[3]}", (9,), 1)]


def test_a_vector_that_a_normalization_explains_in_some_channels_only_is_not_judged() -> None:
    source = norm(32, "bn.", 0, TORCH)
    variance = np.maximum(source["bn.running_var"], 0.5)
    found = judged(source, {"x": source["bn.weight"] / np.sqrt(variance)})
    assert (found.recognised, found.wrong) == (0, ())


def gates(weight: Array, order: tuple[int, ...] = (0, 3, 1, 2)) -> Array:
    """Return the rows of an LSTM's gates in ONNX's order."""
    return np.concatenate([np.split(weight, 4)[gate] for gate in order])


INPUT, HIDDEN = normal(48, 20), normal(48, 12, seed=1)
BIASES = [normal(48, seed=seed) for seed in (2, 3)]
LSTM = {"weight_ih": INPUT, "weight_hh": HIDDEN, "bias_ih": BIASES[0], "bias_hh": BIASES[1]}
SEVERAL = {str(number): normal(24, 16, seed=number) for number in range(3)}
JOINED: dict[str, tuple[dict[str, Array], Array]] = {
    "gates": (LSTM, gates(INPUT)[None]),
    "gates of columns": ({"kernel": INPUT.T.copy(), "other": normal(48, 20, seed=8)}, gates(INPUT)[None]),
    "biases": (LSTM, np.concatenate([gates(each) for each in BIASES])[None]),
    "biases of both directions": (LSTM, np.stack([np.concatenate([gates(each), gates(each)]) for each in BIASES])),
    "queries, keys and values": (SEVERAL, np.concatenate(list(SEVERAL.values()))),
    "a part": ({"w": INPUT}, INPUT[12:36]),
    "columns of several": (SEVERAL, np.hstack(list(SEVERAL.values()))),
    "filters": ({"w": normal(32, 6, 3, 3)}, normal(32, 6, 3, 3)[8:24]),
}


@pytest.mark.parametrize("name", JOINED)
def test_rows_that_were_joined_split_or_put_in_order_are_recognised(name: str) -> None:
    source, made = JOINED[name]
    right = judged(source, {"x": made})
    assert (right.recognised, right.wrong) == (1, ())
    for at in (0, made.size // 2 + 1, made.size // 3, made.size - 1):
        found = judged(source, {"x": off(made, at, 1e-2)})
        if "both directions" in name:  # twice the same: what's missing isn't known
            assert not found.wrong
            continue
        (wrong,) = found.wrong
        assert (wrong.differing, wrong.total) == (1, made.size)
        assert source[wrong.tensor][wrong.index] == pytest.approx(made.flat[at])
        assert wrong.value == pytest.approx(made.flat[at] + np.float32(1e-2))


def test_rows_that_are_mostly_unknown_or_between_no_known_ones_are_not_judged() -> None:
    unknown = gates(INPUT)
    unknown[::3] = normal(16, 20, seed=9)
    replaced = gates(INPUT)
    replaced[5] = normal(20, seed=9)
    for values in (unknown, replaced):
        found = judged(LSTM, {"x": values})
        assert (found.recognised, found.wrong) == (0, ())


def test_a_source_tensor_without_elements_is_passed_over() -> None:
    """Modules in PyTorch keep empty buffers until they're used."""
    found = judged({"w": WEIGHT, "empty": normal(0, 6)}, {"x": normal(40, 6, seed=9)})
    assert (found.tensors, found.recognised) == (1, 0)
