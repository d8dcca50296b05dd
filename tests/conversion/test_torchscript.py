"""TorchScript: the runner, and the edge to ONNX, on tiny models made here."""
# ruff: noqa: TID253 - the frameworks are what is tested
# mypy: allow-subclassing-any

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from navigator.converters import CONVERTERS
from navigator.converters.protocol import Conversion
from navigator.errors import StepError
from navigator.frameworks.onnx import file as onnx_file
from navigator.records import Properties, Signature, StepOptions, TensorSpec
from navigator.runners import onnx as onnx_runner
from navigator.runners import torchscript
from navigator.verify.compare import verify
from tests.support.exports import Exports, change_a_weight, floats, of_torchscript, require_opset


class Mlp(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Linear(4, 8)
        self.two = torch.nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(torch.relu(self.one(x)))


class Tagger(torch.nn.Module):
    """Several inputs and outputs of several dtypes; `unused` is not read."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(10, 4)

    def forward(
        self, ids: torch.Tensor, mask: torch.Tensor, unused: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        hidden = self.embed(ids) * mask.to(torch.float32).unsqueeze(-1)
        return hidden, hidden.sum(1).argmax(-1), mask.all(1)


class Attention(torch.nn.Module):
    def forward(self, q: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(q, q, q)


class Halves(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        low = x * 0.5 if bool(x.sum() > 0) else x * 2.0
        return {"low": low, "high": x + 1.0}


class Stack(torch.nn.Module):
    def forward(self, frames: list[torch.Tensor], scale: torch.Tensor | None = None, times: int = 2) -> torch.Tensor:
        total = frames[0] * times - frames[1]
        return total if scale is None else total * scale


def saved(path: Path, module: torch.nn.Module, *example: torch.Tensor, train: bool = False) -> Path:
    """Save `module`, traced with `example` or scripted without one."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module.train(train)
        made = torch.jit.trace(module, example, check_trace=False) if example else torch.jit.script(module)
        torch.jit.save(made, path)
    return path


def spec(name: str, shape: tuple[int, ...], dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=dtype)


def declared(*inputs: TensorSpec, outputs: Sequence[TensorSpec] = ()) -> Signature:
    return Signature(inputs=inputs, outputs=tuple(outputs))


@pytest.fixture
def mlp(tmp_path: Path) -> Exports:
    source = saved(tmp_path / "mlp.pt", Mlp(), torch.ones(2, 4))
    samples = [("min", {"x": floats((1, 4))}), ("max", {"x": floats((5, 4), 1)})]
    return of_torchscript(tmp_path, source, declared(spec("x", (-1, 4))), samples)


@pytest.fixture
def tagger(tmp_path: Path) -> Exports:
    source = saved(tmp_path / "tagger.pt", Tagger())
    samples = [
        (
            f"{batch}x{length}",
            {
                "ids": np.random.default_rng(batch).integers(0, 10, (batch, length)),
                "mask": np.random.default_rng(length).integers(0, 2, (batch, length)).astype(bool),
                "unused": floats((batch,)),
            },
        )
        for batch, length in ((1, 6), (3, 7))
    ]
    inputs = (spec("ids", (-1, -1), "int64"), spec("mask", (-1, -1), "bool"), spec("unused", (-1,)))
    return of_torchscript(tmp_path, source, declared(*inputs), samples)


def interface(path: Path) -> dict[str, list[str | int]]:
    graph = onnx.load(str(path)).graph
    return {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


@pytest.mark.parametrize("opset", [9, 13, 14, 17, 18, 20, 23, 25])
def test_every_opset_is_written_as_asked_and_computes_the_same(mlp: Exports, opset: int) -> None:
    require_opset(opset)
    path, properties = mlp.convert(opset)
    assert onnx_file.opset(path) == properties.onnx_opset == opset
    assert mlp.verdict(path).passed
    expected = f"torch.onnx {torch.__version__.split('+', 1)[0]} TorchScript"
    raised = ", raised from opset 20 by onnx.version_converter" if opset > 20 else ""
    assert properties.exporter == expected + raised
    assert [each.name for each in path.parent.iterdir()] == ["model.onnx"]


def test_a_wrong_weight_is_a_mismatch(mlp: Exports) -> None:
    path, _ = mlp.convert(17)
    change_a_weight(path)
    verdict = mlp.verdict(path)
    assert not verdict.passed
    assert verdict.comparisons[0].mismatched > 0


def test_several_inputs_and_outputs_keep_their_names_and_dynamic_axes(tagger: Exports) -> None:
    path, _ = tagger.convert(17)
    assert interface(path) == {
        "ids": ["batch", "ids_1"],
        "mask": ["batch", "mask_1"],
        "output__0": ["batch", "output__0_1", 4],
        "output__1": ["batch"],
        "output__2": ["batch"],
    }
    assert tagger.verdict(path).passed


def test_an_unused_input_that_the_exporter_drops_is_named(tagger: Exports) -> None:
    path, _ = tagger.convert(17)
    model = onnx_runner.load(path, declared=tagger.signature)
    assert [each.name for each in model.signature.inputs] == ["ids", "mask"]
    assert model.properties.unused_inputs == ("unused",)


def test_swapped_outputs_are_a_mismatch(tmp_path: Path) -> None:
    class Pair(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x * 2, x * 3

    run = of_torchscript(
        tmp_path, saved(tmp_path / "p.pt", Pair()), declared(spec("x", (-1, 4))), [("a", {"x": floats((2, 4))})]
    )
    path, _ = run.convert(17)
    assert run.verdict(path).passed
    model = onnx.load(str(path))
    for node in model.graph.node:
        for position, name in enumerate(node.output):
            node.output[position] = {"output__0": "output__1", "output__1": "output__0"}.get(name, name)
    onnx.save(model, str(path))
    assert [each.passed for each in run.verdict(path).comparisons] == [False, False]


def test_a_lower_opsets_file_is_raised_instead_of_exporting_again(mlp: Exports) -> None:
    lower, _ = mlp.convert(13)
    path, properties = mlp.convert(17, raise_from=lower)
    assert properties == Properties(onnx_opset=17, exporter="raised from opset 13 by onnx.version_converter")
    assert interface(path) == interface(lower) == {"x": ["batch", 4], "output__0": ["batch", 3]}
    assert mlp.verdict(path).passed
    change_a_weight(path)
    assert not mlp.verdict(path).passed


def test_a_file_that_cannot_be_raised_is_exported(
    mlp: Exports, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    path, properties = mlp.convert(17, raise_from=tmp_path / "broken.onnx")
    assert properties.exporter.endswith("TorchScript")
    assert mlp.verdict(path).passed
    assert "exporting instead" in caplog.text


def test_a_float16_module_is_exported_in_float16(tmp_path: Path) -> None:
    source = saved(tmp_path / "half.pt", Mlp().half(), torch.ones(2, 4, dtype=torch.float16))
    samples = [(f"{size}", {"x": floats((size, 4), size, "float16")}) for size in (1, 3)]
    run = of_torchscript(tmp_path, source, declared(spec("x", (-1, 4), "float16")), samples)
    path, _ = run.convert(17)
    model = onnx_runner.load(path, declared=run.signature)
    assert model.signature.outputs[0].dtype == "float16"
    outputs = [(name, model.infer(inputs)) for name, inputs in samples]
    assert verify(run.expected, outputs, atol={"": 2e-3}, rtol={"": 2e-3}).passed


def test_dictionary_outputs_are_flattened_and_the_branches_stay(tmp_path: Path) -> None:
    samples = [("positive", {"x": np.ones((2, 3), np.float32)}), ("negative", {"x": -np.ones((4, 3), np.float32)})]
    run = of_torchscript(tmp_path, saved(tmp_path / "halves.pt", Halves()), declared(spec("x", (-1, 3))), samples)
    assert [each.name for each in run.signature.outputs] == ["low", "high"]
    path, _ = run.convert(17)
    assert run.verdict(path).passed


def test_list_inputs_and_defaults_are_filled(tmp_path: Path) -> None:
    names = ("frames__0", "frames__1", "scale")
    samples = [("a", {name: floats((2, 3), seed) for seed, name in enumerate(names)})]
    source = saved(tmp_path / "stack.pt", Stack())
    run = of_torchscript(tmp_path, source, declared(*(spec(name, (-1, 3)) for name in reversed(names))), samples)
    inputs = samples[0][1]
    expected = (inputs["frames__0"] * 2 - inputs["frames__1"]) * inputs["scale"]
    np.testing.assert_allclose(run.expected[0][1]["output__0"], expected, rtol=1e-6)
    path, _ = run.convert(17)
    assert run.verdict(path).passed


def test_dropout_left_active_in_the_source_is_seen(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Dropout(0.5))
    source = saved(tmp_path / "train.pt", module, torch.ones(2, 4), train=True)
    run = of_torchscript(tmp_path, source, declared(spec("input", (-1, 4))), [("a", {"input": floats((3, 4))})])
    with pytest.warns(UserWarning, match="operator 'dropout' is set to train=True"):
        path, _ = run.convert(17)
    assert not run.verdict(path).passed


def test_a_transformer_layer_with_a_mask_is_exported(tmp_path: Path) -> None:
    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(self.layer(x, src_key_padding_mask=~mask))

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        source = saved(tmp_path / "encoder.pt", Encoder(), torch.ones(2, 5, 8), torch.ones(2, 5, dtype=torch.bool))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    samples = [
        (f"{batch}", {"x": floats((batch, length, 8)), "mask": np.arange(length) < np.full((batch, 1), length - 1)})
        for batch, length in ((2, 4), (3, 7))
    ]
    run = of_torchscript(tmp_path, source, declared(spec("x", (-1, -1, 8)), spec("mask", (-1, -1), "bool")), samples)

    path, _ = run.convert(17)

    assert run.verdict(path).passed


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("options", [{}, {"norm_first": True, "activation": "gelu"}], ids=["plain", "first"])
def test_a_transformer_that_was_traced_on_the_fast_path_is_exported(
    options: dict[str, Any], masked: bool, tmp_path: Path
) -> None:
    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **options)
            self.layers = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            hidden = torch.logical_not(mask) if masked else None
            return torch.as_tensor(self.layers(x, src_key_padding_mask=hidden)) + mask.sum()

    with torch.no_grad():
        source = saved(tmp_path / "fast.pt", Encoder(), torch.ones(2, 5, 8), torch.ones(2, 5, dtype=torch.bool))
    kinds = [node.kind() for node in torchscript.load_module(source).inlined_graph.nodes()]
    assert kinds.count("aten::_transformer_encoder_layer_fwd") == 2
    samples = [
        (f"{batch}", {"x": floats((batch, length, 8)), "mask": np.arange(length) < np.full((batch, 1), length - 1)})
        for batch, length in ((2, 4), (3, 7))
    ]
    run = of_torchscript(tmp_path, source, declared(spec("x", (-1, -1, 8)), spec("mask", (-1, -1), "bool")), samples)

    path, _ = run.convert(17)

    assert run.verdict(path).passed


@pytest.mark.parametrize("masked", [False, True])
def test_attention_that_was_traced_on_the_fast_path_is_exported(masked: bool, tmp_path: Path) -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> Any:
            hidden = torch.logical_not(mask) if masked else None
            return self.attention(x, x, x, key_padding_mask=hidden)

    with torch.no_grad():
        source = saved(tmp_path / "fast.pt", Own(), torch.ones(2, 5, 8), torch.ones(2, 5, dtype=torch.bool))
    kinds = [node.kind() for node in torchscript.load_module(source).inlined_graph.nodes()]
    assert "aten::_native_multi_head_attention" in kinds
    samples = [("a", {"x": floats((2, 4, 8)), "mask": np.arange(4) < np.full((2, 1), 3)})]
    run = of_torchscript(tmp_path, source, declared(spec("x", (-1, -1, 8)), spec("mask", (-1, -1), "bool")), samples)

    path, _ = run.convert(17)

    assert run.verdict(path).passed


def test_attention_below_opset_14_is_refused_with_the_opset_to_choose(tmp_path: Path) -> None:
    source = saved(tmp_path / "attention.pt", Attention(), torch.ones(2, 2, 3, 4))
    run = of_torchscript(tmp_path, source, declared(spec("q", (-1, 2, 3, 4))), [("a", {"q": floats((2, 2, 3, 4))})])
    with pytest.raises(StepError) as refusal:
        run.convert(13)
    assert refusal.value.message.endswith(
        "doesn't support operator aten::scaled_dot_product_attention at opset 13: it needs 14 or higher"
    )
    assert refusal.value.hint == "set onnx_opsets: [14]"
    path, _ = run.convert(14)
    assert run.verdict(path).passed


def test_an_opset_that_the_exporter_writes_invalid_is_refused(tmp_path: Path) -> None:
    source = saved(tmp_path / "gelu.pt", torch.nn.GELU(), torch.ones(2, 3))
    run = of_torchscript(tmp_path, source, declared(spec("input", (-1, 3))), [("a", {"input": floats((2, 3))})])
    with pytest.raises(StepError, match=r"TorchScript at opset 7: the ONNX file is invalid: .*Erf") as refusal:
        run.convert(7)
    assert "set onnx_opsets: [14], or higher" in refusal.value.hint


@pytest.mark.parametrize(
    ("opset", "sentence"),
    [
        (6, "the TorchScript exporter can't write opset 6: it supports 7 and higher"),
        (99, r"onnx \S+ doesn't support opset 99"),
    ],
)
def test_impossible_opsets_are_refused(mlp: Exports, opset: int, sentence: str) -> None:
    with pytest.raises(StepError, match=sentence):
        mlp.convert(opset)


def test_an_operator_that_onnx_does_not_have_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Singular(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svd(x)[1]

    source = saved(tmp_path / "svd.pt", Singular())
    run = of_torchscript(tmp_path, source, declared(spec("x", (-1, 3))), [("a", {"x": floats((4, 3))})])
    with pytest.raises(StepError) as refusal:
        run.convert(17)
    assert "doesn't support operator aten::linalg_svd" in refusal.value.message
    assert "graph(" not in str(refusal.value)
    assert "Torch IR graph" in capfd.readouterr().out


def test_bfloat16_is_refused(tmp_path: Path) -> None:
    class Inside(Mlp):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.to(torch.bfloat16)).to(torch.float32)

    source = saved(tmp_path / "bf16.pt", Inside().bfloat16(), torch.ones(2, 4))
    run = of_torchscript(tmp_path, source, declared(spec("x", (-1, 4))), [("a", {"x": floats((2, 4))})])
    with pytest.raises(StepError, match=r"weight one\.weight is bfloat16, which ONNX Runtime can't run on a CPU"):
        run.convert(17)
    whole = saved(tmp_path / "whole.pt", Mlp().bfloat16(), torch.ones(2, 4, dtype=torch.bfloat16))
    with pytest.raises(StepError, match="fails on x"):
        torchscript.load(whole, declared=declared(spec("x", (-1, 4)))).infer({"x": floats((2, 4))})


def test_memory_is_refused_before_it_is_taken(mlp: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("navigator.converters.torchscript_to_onnx._MEMORY_FACTOR", 1e9)
    with pytest.raises(
        StepError, match=r"exporting mlp.pt \(0.0 GB\) needs about .* GB of memory, but only .* is available"
    ):
        mlp.convert(17)


def test_a_copy_is_the_same_file(mlp: Exports, tmp_path: Path) -> None:
    destination = tmp_path / "copy" / "model.pt"
    destination.parent.mkdir()
    copied = CONVERTERS["torchscript_to_torchscript"].convert(
        Conversion(source=mlp.source, destination=destination, options=StepOptions())
    )
    assert copied == Properties(exporter="copied")
    model = torchscript.load(destination, declared=mlp.signature)
    outputs = [(name, model.infer(inputs)) for name, inputs in mlp.samples]
    assert verify(mlp.expected, outputs, atol={"": 0.0}, rtol={"": 0.0}).passed


def test_outputs_are_seen_where_they_are_not_declared(mlp: Exports) -> None:
    model = torchscript.load(mlp.source, declared=declared(spec("x", (-1, 4))))
    seen = [model.signature.outputs]
    for size in (2, 5):
        model.infer({"x": floats((size, 4))})
        seen.append(model.signature.outputs)
    assert seen == [(), (spec("output__0", (2, 3)),), (spec("output__0", (-1, 3)),)]


def test_undeclared_inputs_are_asked_for_by_name(tagger: Exports) -> None:
    with pytest.raises(StepError) as refusal:
        torchscript.load(tagger.source, declared=declared())
    assert "forward takes ids: Tensor, mask: Tensor, unused: Tensor" in refusal.value.message
    assert "in navigator.yaml or tagger.pt.yaml" in refusal.value.hint
    assert '"ids:-1,3,224,224:float32"' in refusal.value.hint


@pytest.mark.parametrize("order", [("mask", "ids", "unused"), ("in__1", "in__0", "in__2"), ("a", "b", "c")])
def test_inputs_go_by_name_by_index_or_by_position(tagger: Exports, order: tuple[str, ...]) -> None:
    dtypes = {"ids": "int64", "in__0": "int64", "a": "int64", "mask": "bool", "in__1": "bool", "b": "bool"}
    axes = {"unused": (-1,), "in__2": (-1,), "c": (-1,)}
    inputs = [spec(name, axes.get(name, (-1, -1)), dtypes.get(name, "float32")) for name in order]
    model = torchscript.load(tagger.source, declared=declared(*inputs))
    names = [each.name for each in model.signature.inputs]
    given = dict(zip(names, tagger.samples[1][1].values(), strict=True))
    outputs = [("3x7", model.infer(given))]
    assert verify(tagger.expected[1:], outputs, atol={"": 0.0}, rtol={"": 0.0}).passed


@pytest.mark.parametrize(
    ("outputs", "sentence"),
    [
        ((spec("y", (-1, 3)), spec("z", (-1,))), r"outputs: 2 declared \(y, z\), but the model returns 1"),
        ((spec("y", (-1, 5)),), r"outputs: y is declared as \[-1, 5\], but the model has \[2, 3\]"),
        ((spec("y", (-1,)),), r"outputs: y is declared as \[-1\], but the model has \[2, 3\]"),
        ((spec("y", (-1, 3), "float16"),), "outputs: y is declared as float16, but the model has float32"),
    ],
)
def test_declared_outputs_are_held_against_the_real_ones(
    mlp: Exports, outputs: tuple[TensorSpec, ...], sentence: str
) -> None:
    model = torchscript.load(mlp.source, declared=declared(spec("x", (-1, 4)), outputs=outputs))
    with pytest.raises(StepError, match=sentence) as refusal:
        model.infer({"x": floats((2, 4))})
    assert '`outputs: ["output__0:2,3:float32"]`' in refusal.value.hint


def test_inputs_that_do_not_fill_forward_are_refused(tagger: Exports) -> None:
    with pytest.raises(
        StepError, match=r"inputs: 1 declared \(ids\), but forward takes ids: Tensor, mask: Tensor, unused"
    ):
        torchscript.load(tagger.source, declared=declared(spec("ids", (-1, -1), "int64")))


def test_a_number_as_argument_needs_a_value(tmp_path: Path) -> None:
    class Scaled(torch.nn.Module):
        def forward(self, x: torch.Tensor, times: int) -> torch.Tensor:
            return x * times

    source = saved(tmp_path / "scaled.pt", Scaled())
    for inputs in ([spec("x", (-1, 3))], []):
        with pytest.raises(StepError, match="forward takes times: int, whose values aren't known") as caught:
            torchscript.load(source, declared=declared(*inputs))
        assert caught.value.hint.startswith("set them, with your values: `arguments: {times: 1}`")


def test_nested_outputs_and_numbers_have_names(tmp_path: Path) -> None:
    class Nested(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, list[torch.Tensor]], int, None]:
            return x, {"hidden": [x + 1, x + 2]}, 7, None

    model = torchscript.load(saved(tmp_path / "nested.pt", Nested()), declared=declared(spec("x", (-1,))))
    outputs = model.infer({"x": np.zeros(2, np.float32)})
    assert {name: value.tolist() for name, value in outputs.items()} == {
        "output__0": [0, 0],
        "output__1__hidden__0": [1, 1],
        "output__1__hidden__1": [2, 2],
        "output__2": 7,
    }


class Absent(torch.nn.Module):
    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        return x * 2, (x + mask if mask is not None else None), x - 1


class Numbers(torch.nn.Module):
    def forward(self, frames: list[torch.Tensor]) -> tuple[torch.Tensor, int, dict[str, float], bool]:
        return frames[0] * 2, frames[1].size(0), {"half": 0.5}, True


@pytest.mark.parametrize(
    ("module", "names", "expected"),
    [
        (Absent(), ["x"], {"output__0": [2, 4], "output__2": [0, 1]}),
        (Absent(), ["x", "mask"], {"output__0": [2, 4], "output__1": [2, 4], "output__2": [0, 1]}),
        (Numbers(), ["a", "b"], {"output__0": [2, 4], "output__1": 2, "output__2__half": 0.5, "output__3": True}),
    ],
)
def test_a_model_that_returns_none_or_numbers_is_exported(
    tmp_path: Path, module: torch.nn.Module, names: list[str], expected: dict[str, Any]
) -> None:
    inputs = {name: np.array([1, 2], np.float32) for name in names}
    source = saved(tmp_path / "module.pt", module)
    run = of_torchscript(tmp_path, source, declared(*(spec(name, (-1,)) for name in names)), [("two", inputs)])

    path, _ = run.convert(17)

    assert run.verdict(path).passed
    outputs = onnx_runner.load(path, declared=run.signature).infer(inputs)
    assert {name: value.tolist() for name, value in outputs.items()} == expected


def test_text_as_output_is_refused(tmp_path: Path) -> None:
    class Text(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, str]:
            return x, "cat"

    model = torchscript.load(saved(tmp_path / "text.pt", Text()), declared=declared(spec("x", (-1,))))
    with pytest.raises(StepError, match="output output__1 is a str, not a tensor"):
        model.infer({"x": np.zeros(2, np.float32)})


def test_a_model_that_writes_into_its_input_leaves_the_sample_alone(tmp_path: Path) -> None:
    class Greedy(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.add_(1)

    model = torchscript.load(saved(tmp_path / "greedy.pt", Greedy()), declared=declared(spec("x", (-1,))))
    sample = np.zeros(2, np.float32)
    assert model.infer({"x": sample})["output__0"].tolist() == [1, 1]
    assert sample.tolist() == [0, 0]


def test_what_torch_says_about_a_wrong_shape_is_one_sentence(mlp: Exports) -> None:
    model = torchscript.load(mlp.source, declared=declared(spec("x", (-1, 4))))
    with pytest.raises(StepError) as refusal:
        model.infer({"x": floats((2, 5))})
    assert str(refusal.value) == (
        "the TorchScript model fails on x [2, 5]: mat1 and mat2 shapes cannot be multiplied (2x5 and 4x8)"
    )


def test_files_that_are_no_torchscript_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "state.pt")
    (tmp_path / "text.pt").write_text("hello")
    for name in ("state.pt", "text.pt", "absent.pt"):
        with pytest.raises(StepError, match=f"{name} can't be loaded as TorchScript: ") as refusal:
            torchscript.load(tmp_path / name, declared=declared(spec("x", (1,))))
        assert refusal.value.hint == "save it with torch.jit.save"


def test_weights_that_torch_left_out_of_the_file_are_told(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(torch.nn.Conv2d(3, 4, 3).eval(), torch.ones(1, 3, 8, 8))
        torch.jit.optimize_for_inference(traced).save(str(tmp_path / "m.pt"))
    with pytest.raises(StepError, match="optimize_for_inference gave its weights a layout that") as refusal:
        torchscript.load(tmp_path / "m.pt", declared=declared(spec("x", (1, 3, 8, 8))))
    assert refusal.value.hint == "save the module as it was before torch.jit.optimize_for_inference"


def test_a_gru_runs_at_another_batch_size(tmp_path: Path) -> None:
    class Recurrent(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = torch.nn.GRU(3, 4, batch_first=True, bidirectional=True)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            output, state = self.gru(x)
            return output, state

    source = saved(tmp_path / "gru.pt", Recurrent(), torch.ones(2, 5, 3))
    samples: list[tuple[str, dict[str, Any]]] = [(f"{n}", {"x": floats((n, n + 4, 3), n)}) for n in (1, 2, 3)]
    run = of_torchscript(tmp_path, source, declared(spec("x", (-1, -1, 3))), samples)
    path, _ = run.convert(14)
    assert run.verdict(path).passed
    assert onnxruntime.InferenceSession(str(path)).get_inputs()[0].shape == ["batch", "x_1", 3]
