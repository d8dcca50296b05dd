"""Sizes that a model's file names: one size for each name, others computed, and the user's shapes first."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from navigator.errors import StepError
from navigator.records import AxisSpec, ModelConfig, SampleInfo, Signature, TensorSpec
from navigator.runners import onnx as onnx_runner
from navigator.samples.expressions import LARGEST, parsed
from navigator.samples.generate import generate, look_for_trouble
from navigator.samples.shapes import axis_notes, resolve

Axes = Mapping[str, tuple[AxisSpec, ...]]


def inputs(**axes: list[str | int]) -> tuple[list[TensorSpec], Axes]:
    """Return inputs by name, whose axes are sizes or texts of the file, and what the file says of them."""
    specs = [
        TensorSpec(name=name, shape=tuple(-1 if isinstance(each, str) else each for each in sizes), dtype="float32")
        for name, sizes in axes.items()
    ]
    return specs, {
        name: tuple(AxisSpec(size=each if isinstance(each, str) else "") for each in sizes)
        for name, sizes in axes.items()
    }


def stated(axes: Axes, **ranges: tuple[int, int | None]) -> Axes:
    """Return `axes` as torch.export knows them: with the range of each symbol."""

    def known(spec: AxisSpec) -> dict[str, tuple[int, int | None]]:
        size = parsed(spec.size)
        return {name: ranges[name] for name in size.names} if size else {}

    return {name: tuple(AxisSpec(size=spec.size, ranges=known(spec)) for spec in specs) for name, specs in axes.items()}


def config(**options: Any) -> ModelConfig:
    return ModelConfig(model_name="m", model_path=Path("/m.onnx"), **options)


def drawn(specs: list[TensorSpec], axes: Axes, memory_bytes: int = 2**32, **options: Any) -> tuple[SampleInfo, ...]:
    return generate(specs, config(**options), memory_bytes=memory_bytes, axes=axes)[1]


# Expressions


@pytest.mark.parametrize(
    ("text", "sizes", "value"),
    [
        ("seq", {"seq": 7}, 7),
        ("past + 1", {"past": 7}, 8),
        ("2*seq", {"seq": 7}, 14),
        ("past_sequence_length + sequence_length", {"past_sequence_length": 7, "sequence_length": 2}, 9),
        ("((s0//2)) - 1", {"s0": 9}, 3),
        ("height/8", {"height": 71}, 8),
        ("seq - 9", {"seq": 7}, None),
        ("seq // zero", {"seq": 7, "zero": 0}, None),
        ("seq * seq", {"seq": LARGEST}, None),
        ("past + 1", {}, None),
    ],
)
def test_the_value_of_an_expression(text: str, sizes: dict[str, int], value: int | None) -> None:
    expression = parsed(text)
    assert expression is not None
    assert expression.value(sizes) == value


@pytest.mark.parametrize("text", ["", "?", " ", "*", "-1", "None", "unk", "dynamic", "12", "_"])
def test_texts_that_say_nothing(text: str) -> None:
    assert parsed(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("input.batch", "batch size", "f(x)", "Mod(s0, 2)", "a if b else c", "x**9**9", "1.5*a", "None[0]", "unk__6"),
        *("a" * 300, "(" * 150 + "a", "+".join(["a"] * 150), "lambda: a", "\x00a"),
    ],
)
def test_other_texts_are_names(text: str) -> None:
    expression = parsed(text)
    assert expression is not None
    assert expression.names == {text.strip()}
    assert expression.value({text.strip(): 5}) == 5


@given(st.text(max_size=60))
def test_no_text_is_run_or_breaks_anything(text: str) -> None:
    expression = parsed(text)
    if expression is not None:
        expression.value(dict.fromkeys(expression.names, 3))
        expression.at_least(min(expression.names), 5, dict.fromkeys(expression.names, 3))


@given(st.integers(1, 9), st.integers(0, 99), st.integers(0, 10**6))
def test_an_expression_is_solved_for_a_name(factor: int, offset: int, size: int) -> None:
    expression = parsed(f"{factor}*seq + {offset}")
    assert expression is not None
    assert expression.solved("seq", factor * size + offset, {}) == size
    if factor > 1:
        assert expression.solved("seq", factor * size + offset + 1, {}) is None


# Shapes that follow from names


def test_a_size_given_for_one_input_is_that_of_its_name_and_of_what_is_computed_from_it() -> None:
    specs, axes = inputs(ids=["batch", "seq"], mask=["batch", "past + seq"], past=["batch", 4, "past", 16])
    shapes = {"ids": (8, 32), "past": (8, 4, 64, 16)}
    layout = resolve(specs, config(max_shapes=shapes, min_shapes={"ids": (2, 3)}), axes)
    assert layout.profile.max["mask"] == (8, 96)
    assert layout.profile.min == {"ids": (2, 3), "mask": (2, 4), "past": (2, 4, 1, 16)}
    assert layout.names.notes == ()

    # What is given for the computed axis says what it is computed from.
    layout = resolve(specs, config(max_shapes={"ids": (8, 1), "mask": (8, 65)}), axes)
    assert layout.profile.max["past"] == (8, 4, 64, 16)


def test_names_with_nothing_known_still_need_shapes() -> None:
    specs, axes = inputs(ids=["batch", "seq"], mask=["batch", "seq"])
    with pytest.raises(StepError, match=r"input 'ids' \[-1, -1\] has no maximum size on axis 1; input 'mask'"):
        resolve(specs, config(), axes)


def test_the_smallest_size_leaves_no_computed_axis_empty() -> None:
    specs, axes = inputs(image=["batch", 3, "height"], latent=["batch", 4, "height // 8"])
    layout = resolve(specs, config(max_shapes={"image": (2, 3, 512)}), axes)
    assert (layout.profile.min["image"], layout.profile.min["latent"]) == ((1, 3, 8), (1, 4, 1))
    assert layout.profile.max["latent"] == (2, 4, 64)


def test_ranges_of_the_file_are_the_shapes_where_none_are_given() -> None:
    specs, axes = inputs(audio=["s0", 4, "s1"])
    axes = stated(axes, s0=(1, 16), s1=(16, 400))
    layout = resolve(specs, config(), axes)
    assert (layout.profile.min, layout.profile.max) == ({"audio": (1, 4, 16)}, {"audio": (16, 4, 400)})
    assert axis_notes(specs, config(), axes) == (
        "sizes from the model's file: audio[0] from 1 to 16, audio[2] from 16 to 400",
    )
    assert resolve(specs, config(max_batch_size=4), axes).profile.max["audio"] == (4, 4, 400)
    assert resolve(specs, config(max_shapes={"audio": (2, 4, 50)}), axes).profile.min["audio"] == (1, 4, 16)

    without_end = stated(axes, s0=(1, None), s1=(16, None))
    with pytest.raises(StepError, match="has no maximum size on axis 2"):
        resolve(specs, config(), without_end)


def test_the_user_is_right_where_the_file_ties_what_is_given_differently() -> None:
    specs, axes = inputs(ids=["batch", "seq"], mask=["batch", "seq"])
    options: dict[str, Any] = {"max_shapes": {"ids": (4, 32), "mask": (4, 16)}}
    assert resolve(specs, config(**options), axes).profile.max == {"ids": (4, 32), "mask": (4, 16)}
    assert axis_notes(specs, config(**options), axes) == (
        "max_shapes has 32 for ids[1] and 16 for mask[1], which are one size 'seq' in the model: yours are used",
    )
    infos = drawn(specs, axes, **options)
    assert {info.shapes["ids"][1] == info.shapes["mask"][1] for info in infos} == {True, False}

    specs, axes = inputs(mask=["batch", "past + 1"], past=["batch", "past"])
    options = {"max_shapes": {"mask": (8, 64), "past": (8, 64)}}
    assert axis_notes(specs, config(**options), axes) == (
        "max_shapes has 64 for mask[1], but mask[1] is past[1] + 1 in the model: yours is used",
    )
    assert resolve(specs, config(**options), axes).profile.max == {"mask": (8, 64), "past": (8, 64)}


def test_nothing_is_computed_from_an_axis_without_elements() -> None:
    specs, axes = inputs(mask=["batch", "past + 1"], past=["batch", "past"])
    given = config(max_shapes={"mask": (8, 65)}, min_shapes={"mask": (1, 1)})
    with pytest.raises(StepError, match=r"input 'past' \[-1, -1\] has no maximum size on axis 1"):
        resolve(specs, given, axes)
    given = config(max_shapes={"mask": (8, 65)}, min_shapes={"mask": (1, 2)})
    assert resolve(specs, given, axes).profile.min == {"mask": (1, 2), "past": (1, 1)}


def test_notes_are_one_line() -> None:
    sizes: dict[str, list[str | int]] = {"a\nb": ["batch", "n"], "c": ["batch", "(n\n+ 1)"]}
    specs, axes = inputs(**sizes)
    (note,) = axis_notes(specs, config(max_shapes={"a\nb": (2, 4)}), axes)
    assert note == "sizes from the model's file: c[1] = ('a\\nb'[1]\\n+ 1)"


def test_a_difference_whose_ends_are_not_its_own_needs_shapes_of_its_own() -> None:
    specs, axes = inputs(a=["total"], b=["batch", "past"], c=["batch", "total - past"])
    shapes = {"a": (9,), "b": (2, 9)}
    with pytest.raises(StepError, match=r"input 'c' \[-1, -1\] has no maximum size on axis 1"):
        resolve(specs, config(max_shapes=shapes), axes)
    assert resolve(specs, config(max_shapes={**shapes, "c": (2, 5)}), axes).profile.max["c"] == (2, 5)


# Samples


def test_a_mask_is_computed_in_every_sample() -> None:
    specs, axes = inputs(ids=["s0", 1], mask=["s0", "s1 + 1"], k=["s0", "s1", 16], v=["s0", "s1", 16])
    axes = stated(axes, s0=(1, 8), s1=(1, 64))
    infos = drawn(specs, axes)
    assert len(infos) == 6
    _, probes = look_for_trouble(specs, config(), memory_bytes=2**30, axes=axes)
    assert probes
    for info in (*infos, *probes):
        batch, past = info.shapes["k"][:2]
        assert (1 <= batch <= 8, 1 <= past <= 64) == (True, True)
        assert info.shapes == {
            "ids": (batch, 1),
            "mask": (batch, past + 1),
            "k": (batch, past, 16),
            "v": (batch, past, 16),
        }


def test_a_sample_that_is_made_smaller_keeps_its_computed_axes() -> None:
    specs, axes = inputs(mask=["batch", "past + 1"], past=["batch", "past", 1024])
    infos = drawn(specs, axes, memory_bytes=64 * 4 * 1200 * 10, max_shapes={"past": (8, 64, 1024)})
    reduced = [info for info in infos if info.reduced_from is not None]
    assert reduced
    for info in infos:
        assert info.shapes["mask"][1] == info.shapes["past"][1] + 1


def test_two_axes_with_one_name_are_one_size() -> None:
    specs, axes = inputs(image=["batch", 3, "size", "size"])
    for seed in range(5):
        infos = drawn(specs, axes, max_shapes={"image": (4, 3, 64, 64)}, random_seed=seed)
        assert [info.name for info in infos] == ["min", "opt", "random_0", "random_1", "batch_max", "batch_min"]
        assert all(info.shapes["image"][2] == info.shapes["image"][3] for info in infos)


def test_names_that_mean_nothing_tie_nothing() -> None:
    specs, axes = inputs(image=["?", 3, "?", "?"], other=["None", "None"])
    infos = drawn(specs, axes, max_shapes={"image": (4, 3, 64, 64), "other": (4, 7)})
    assert {info.shapes["image"][2] == info.shapes["image"][3] for info in infos} == {True, False}
    assert axis_notes(specs, config(max_shapes={"image": (4, 3, 64, 64), "other": (4, 7)}), axes) == ()


def test_sizes_that_a_file_says_are_independent_are_drawn_apart() -> None:
    specs, axes = inputs(queries=["s0", 4], keys=["s1", 4])
    infos = drawn(specs, stated(axes, s0=(1, 50), s1=(1, 50)))
    pairs = {(info.shapes["queries"][0], info.shapes["keys"][0]) for info in infos}
    assert {(1, 1), (50, 50), (1, 50), (50, 1)} <= pairs

    # ONNX's names alone say no such thing: exporters give each input names of its own.
    infos = drawn(specs, axes, max_batch_size=50)
    assert all(info.shapes["queries"] == info.shapes["keys"] for info in infos)


def test_names_that_several_inputs_share_tell_other_names_apart() -> None:
    shapes = {"ids": (4, 32), "memory": (4, 32, 8)}
    specs, axes = inputs(ids=["batch", "seq"], memory=["batch", "source", 8])
    infos = {info.name: info.shapes for info in drawn(specs, axes, max_shapes=shapes)}
    pairs = {name: (each["ids"][1], each["memory"][1]) for name, each in infos.items()}
    assert {(1, 32), (32, 1)} <= set(pairs.values())
    assert pairs["random_1"][0] == pairs["random_1"][1]  # in case they're one size after all

    # An exporter that makes up a name for each axis.
    specs, axes = inputs(ids=["ids_0", "ids_1"], memory=["memory_0", "memory_1", 8])
    assert all(info.shapes["ids"] == info.shapes["memory"][:2] for info in drawn(specs, axes, max_shapes=shapes))


def test_the_first_axis_of_one_input_may_be_the_second_of_another() -> None:
    specs, axes = inputs(ids=["seq", "batch"], mask=["batch", "seq"])
    infos = drawn(specs, axes, max_shapes={"ids": (8, 8)})
    assert all(info.shapes["ids"] == info.shapes["mask"][::-1] for info in infos)
    assert {(1, 8), (8, 1)} <= {info.shapes["ids"] for info in infos}


def test_notes_stay_short() -> None:
    past: dict[str, list[str | int]] = {f"past_{layer}": ["batch", "past"] for layer in range(64)}
    specs, axes = inputs(ids=["batch", "seq"], **past)
    shapes = {"ids": (4, 8), "past_0": (4, 32)}
    (note,) = axis_notes(specs, config(max_shapes=shapes), axes)
    tied = [f"past_{layer}[1]" for layer in range(6)]
    assert note == f"sizes from the model's file: {' = '.join(tied)} = 58 others"
    assert set(resolve(specs, config(max_shapes=shapes), axes).profile.max.values()) == {(4, 8), (4, 32)}


@given(st.data(), st.integers(0, 2**63))
def test_every_sample_keeps_to_names_and_ranges(data: st.DataObject, seed: int) -> None:
    texts: st.SearchStrategy[str | int] = st.sampled_from(["a", "b", "c", "a + b", "2*c", "a//2 + 1", "?", 3])
    layout = data.draw(st.lists(st.lists(texts, min_size=1, max_size=3), min_size=1, max_size=4))
    written: list[list[str | int]] = [["a", "b", "c"], *layout]
    specs, axes = inputs(**{f"x{number}": sizes for number, sizes in enumerate(written)})
    values = {"a": 6, "b": 4, "c": 5, "?": 9}

    def largest(text: str | int) -> int:
        size = parsed(text) if isinstance(text, str) else None
        return (size.value(values) if size else values.get(str(text), 3)) or 0

    maxima = {spec.name: tuple(map(largest, own)) for spec, own in zip(specs, written, strict=True)}
    infos = drawn(specs, axes, max_shapes=maxima, random_seed=seed)
    assert infos == drawn(specs, axes, max_shapes=maxima, random_seed=seed)
    assert 1 <= len(infos) <= 13
    for info in infos:
        at = dict(zip("abc", info.shapes["x0"], strict=True))
        for spec, own in zip(specs, written, strict=True):
            for text, size, high in zip(own, info.shapes[spec.name], maxima[spec.name], strict=True):
                expression = parsed(text) if isinstance(text, str) else None
                assert 1 <= size <= high
                assert expression is None or size == expression.value(at), (info, text)


@pytest.mark.parametrize("dtype", ["bool", "int64", "uint8", "float32"])
def test_the_first_and_the_last_row_of_a_batch_differ(dtype: str) -> None:
    specs = [
        TensorSpec(name="ids", shape=(-1, 1), dtype=dtype),
        TensorSpec(name="state", shape=(2, -1, 1), dtype=dtype),
    ]
    shapes = {"ids": (4, 1), "state": (2, 4, 1)}
    for seed in range(20):
        samples, _ = generate(specs, config(max_shapes=shapes, random_seed=seed), memory_bytes=2**30)
        assert len(samples) == 4
        for name, arrays in samples[1:]:
            assert (arrays["ids"][0] != arrays["ids"][-1]).all(), (seed, name)
            assert (arrays["state"][:, 0] != arrays["state"][:, -1]).any(), (seed, name)

    fixed = config(max_shapes=shapes, value_ranges={"": (1, 1)})
    assert all((arrays["ids"] == 1).all() for _, arrays in generate(specs, fixed, memory_bytes=2**30)[0])


@given(st.data(), st.integers(0, 2**63))
def test_what_the_user_gives_is_kept_whatever_the_file_says(data: st.DataObject, seed: int) -> None:
    texts: st.SearchStrategy[str | int] = st.sampled_from(["a", "b", "a + b", "2*b", "a - 1", "c // 2", "?", 3])
    written = data.draw(st.lists(st.lists(texts, max_size=4), min_size=1, max_size=4))
    specs, axes = inputs(**{f"x{number}": sizes for number, sizes in enumerate(written)})
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, ends in {"min_shapes": (1, 3), "opt_shapes": (3, 6), "max_shapes": (6, 9)}.items():
        some = [spec for spec in specs if data.draw(st.booleans())]
        size = st.integers(*ends)
        shapes[key] = {
            spec.name: tuple(data.draw(size) if own < 0 else own for own in spec.shape or ()) for spec in some
        }
    options = config(random_seed=seed, **shapes)
    memory_bytes = data.draw(st.sampled_from([2**12, 2**30]))
    try:
        profile = resolve(specs, options, axes).profile
        _, infos = generate(specs, options, memory_bytes=memory_bytes, axes=axes)
        _, probes = look_for_trouble(specs, options, memory_bytes=memory_bytes, axes=axes)
    except StepError as refusal:
        told = re.search(r"has no maximum size|is ambiguous|expected min <= opt <= max", str(refusal))
        if told is None:
            raise
        return
    for given_shapes, found in zip(shapes.values(), (profile.min, profile.opt, profile.max), strict=True):
        assert found.items() >= given_shapes.items()
    for info in (*infos, *probes):
        for name, shape in info.shapes.items():
            assert all(map(int.__le__, profile.min[name], shape)), info
            assert all(map(int.__le__, shape, profile.max[name])), info


# Files


def test_an_onnx_file_tells_its_names(tmp_path: Path) -> None:
    import onnx

    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]> m (float[batch, seq] x, float[batch, 3] z) => (float[b, n] y)'
        " { y = Concat<axis = 1>(x, z) }"
    )
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "2*seq"
    onnx.save(model, tmp_path / "model.onnx")
    loaded = onnx_runner.load(tmp_path / "model.onnx", declared=Signature(inputs=(), outputs=()))
    assert {name: [spec.size for spec in specs] for name, specs in loaded.axes.items()} == {
        "x": ["batch", "2*seq"],
        "z": ["batch", ""],
    }
    infos = drawn(list(loaded.signature.inputs), loaded.axes, max_shapes={"x": (4, 8)})
    assert all(info.shapes["x"][1] % 2 == 0 for info in infos)
    assert np.shape(loaded.infer({"x": np.ones((1, 2), np.float32), "z": np.ones((1, 3), np.float32)})["y"]) == (1, 5)
