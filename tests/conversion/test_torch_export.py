"""torch.export: the runner, and the edge to ONNX, on tiny programs made here."""
# ruff: noqa: TID253 - the frameworks are what is tested
# mypy: allow-subclassing-any

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.onnx._internal.exporter import _fx_passes

from navigator.converters import CONVERTERS, torch_export_to_onnx
from navigator.converters.protocol import Conversion
from navigator.errors import StepError
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.torch.onnx_patches import reshaped_views
from navigator.records import AxisSpec, ModelConfig, Properties, Signature, StepOptions, TensorSpec
from navigator.runners import onnx as onnx_runner
from navigator.runners import torch_export
from navigator.samples.generate import generate
from navigator.verify.compare import verify
from tests.support.exports import Exports, Samples, change_a_weight, floats, require_opset

NOTHING = Signature(inputs=(), outputs=())


class Tagger(torch.nn.Module):
    """A dictionary out of several inputs; `unused` is not read."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(10, 4)

    def forward(
        self, ids: torch.Tensor, *, mask: torch.Tensor, unused: torch.Tensor
    ) -> dict[str, torch.Tensor | tuple[torch.Tensor, torch.Tensor]]:
        hidden = self.embed(ids) * mask.to(torch.float32).unsqueeze(-1)
        return {"hidden": hidden, "more": (hidden.sum(1).argmax(-1), mask.all(1))}


class Attention(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = torch.nn.Linear(4, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.project(x).unsqueeze(1).chunk(3, -1)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v).squeeze(1)


def saved(path: Path, module: torch.nn.Module, args: tuple[Any, ...], **options: Any) -> Path:
    """Export `module` and save the program."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(module.eval(), args, **options), path)
    return path


def exports(tmp_path: Path, source: Path, samples: Samples, declared: Signature = NOTHING) -> Exports:
    model = torch_export.load(source, declared=declared)
    return Exports(
        tmp_path,
        source,
        model,
        samples,
        converter="torch_export_to_onnx",
        options=lambda opset: torch_export_to_onnx.Options(opset=opset),
    )


@pytest.fixture(scope="module")
def tagger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    batch, length = torch.export.Dim("batch", min=2, max=8), torch.export.Dim("length")
    example = torch.ones(3, 5, dtype=torch.int64)
    return saved(
        tmp_path_factory.mktemp("tagger") / "tagger.pt2",
        Tagger(),
        (example,),
        kwargs={"mask": example.bool(), "unused": torch.ones(3)},
        dynamic_shapes={
            "ids": {0: batch, 1: length},
            "mask": {0: batch, 1: length},
            "unused": {0: batch},
        },
    )


@pytest.fixture(scope="module")
def attention_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("attention") / "attention.pt2"
    return saved(path, Attention(), (torch.ones(2, 3, 4),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))


def tags(batch: int, length: int) -> dict[str, np.ndarray]:
    return {
        "ids": np.random.default_rng(batch).integers(0, 10, (batch, length)),
        "mask": np.random.default_rng(length).integers(0, 2, (batch, length)).astype(bool),
        "unused": floats((batch,)),
    }


@pytest.fixture
def tagger(tagger_file: Path, tmp_path: Path) -> Exports:
    return exports(tmp_path, tagger_file, [("min", tags(2, 6)), ("max", tags(8, 3))])


@pytest.fixture
def attention(attention_file: Path, tmp_path: Path) -> Exports:
    return exports(tmp_path, attention_file, [(f"{n}", {"x": floats((n, 3, 4), n)}) for n in (1, 4)])


def test_the_signature_is_the_programs_own(tagger: Exports) -> None:
    assert tagger.signature == Signature(
        inputs=(
            TensorSpec(name="ids", shape=(-1, -1), dtype="int64"),
            TensorSpec(name="mask", shape=(-1, -1), dtype="bool"),
            TensorSpec(name="unused", shape=(-1,), dtype="float32"),
        ),
        outputs=(
            TensorSpec(name="hidden", shape=(-1, -1, 4), dtype="float32"),
            TensorSpec(name="more__0", shape=(-1,), dtype="int64"),
            TensorSpec(name="more__1", shape=(-1,), dtype="bool"),
        ),
    )


def test_the_programs_sizes_and_their_ranges_are_told(tagger: Exports) -> None:
    axes = torch_export.load(tagger.source, declared=NOTHING).axes
    batch, length = axes["ids"]
    assert axes == {"ids": (batch, length), "mask": (batch, length), "unused": (batch,)}
    assert (batch.ranges, length.ranges) == ({batch.size: (2, 8)}, {length.size: (1, None)})


class Past(torch.nn.Module):
    def forward(self, mask: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
        return torch.cat([past, past[:, :1]], 1) * mask


def test_a_size_that_is_computed_from_another_is_told_and_converts(tmp_path: Path) -> None:
    batch, past = torch.export.Dim("batch", max=8), torch.export.Dim("past", max=64)
    shapes = ({0: batch, 1: past + 1}, {0: batch, 1: past})
    source = saved(tmp_path / "past.pt2", Past(), (torch.ones(2, 6), torch.ones(2, 5)), dynamic_shapes=shapes)
    model = torch_export.load(source, declared=NOTHING)
    symbol = model.axes["past"][1].size
    assert model.axes["mask"][1] == AxisSpec(size=f"{symbol} + 1", ranges={symbol: (1, 64)})
    assert model.axes["mask"][0] == model.axes["past"][0]
    samples, infos = generate(
        model.signature.inputs, ModelConfig(model_name="m", model_path=source), memory_bytes=2**30, axes=model.axes
    )
    assert {info.shapes["mask"][1] - info.shapes["past"][1] for info in infos} == {1}
    assert {info.shapes["past"][1] for info in infos} >= {1, 64}

    run = exports(tmp_path, source, samples)
    path, _ = run.convert(18)
    assert run.verdict(path).passed


class Steps(torch.nn.Module):
    """Returns its state under the names that it takes it by."""

    def forward(self, q: torch.Tensor, p: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"q": q + p, "p": p - q}


def test_outputs_are_called_otherwise_than_inputs(tmp_path: Path) -> None:
    source = saved(tmp_path / "steps.pt2", Steps(), (torch.ones(2, 6), torch.ones(2, 6)))
    run = exports(tmp_path, source, [("sample", {"q": np.ones((2, 6), np.float32), "p": np.eye(2, 6, dtype="f")})])
    path, _ = run.convert(18)
    assert [value.name for value in onnx.load(path).graph.output] == ["q_out", "p_out"]
    assert run.verdict(path).passed


@pytest.mark.parametrize("opset", [18, 23])
def test_several_inputs_and_outputs_convert(tagger: Exports, opset: int) -> None:
    require_opset(opset)
    path, properties = tagger.convert(opset)
    exporter = f"torch.onnx {torch.__version__.split('+', 1)[0]} torch.export"
    assert properties == Properties(onnx_opset=opset, exporter=exporter)
    assert onnx_file.opset(path) == opset
    model = onnx_runner.load(path, declared=tagger.signature)
    assert model.signature == tagger.signature
    assert not model.properties.unused_inputs
    assert tagger.verdict(path).passed
    change_a_weight(path)
    assert not tagger.verdict(path).passed


def test_attention_and_a_raised_file(attention: Exports) -> None:
    lower, _ = attention.convert(18)
    assert attention.verdict(lower).passed
    path, properties = attention.convert(20, raise_from=lower)
    assert properties == Properties(onnx_opset=20, exporter="raised from opset 18 by onnx.version_converter")
    assert attention.verdict(path).passed
    change_a_weight(path)
    assert not attention.verdict(path).passed


@pytest.mark.parametrize(
    ("opset", "sentence"),
    [
        (14, r"torch\.export at opset 14: it wrote opset 18 instead of 14"),
        (17, r"torch\.export at opset 17: (the ONNX file is invalid: .*Split|it wrote opset 18 instead of 17)"),
    ],
)
def test_an_opset_that_the_exporter_gets_wrong_is_refused(attention: Exports, opset: int, sentence: str) -> None:
    with pytest.raises(StepError, match=sentence) as refusal:
        attention.convert(opset)
    assert refusal.value.hint == f"set onnx_opsets between 18 and {onnx.defs.onnx_opset_version()}, e.g. [18]"


class Normalised(torch.nn.Module):
    """Silence is 0 / 1e-4; the second output is off by what float32 still tells apart from 1."""

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return frames / (frames.pow(2).mean(-1, keepdim=True) + 1e-8).sqrt(), frames * 1.000008


def test_an_epsilon_and_a_factor_near_1_are_kept(tmp_path: Path) -> None:
    batch = {0: torch.export.Dim.DYNAMIC}
    source = saved(tmp_path / "normalised.pt2", Normalised(), (torch.randn(2, 6),), dynamic_shapes=(batch,))
    silence = np.zeros((2, 6), np.float32)
    run = exports(tmp_path, source, [("drawn", {"frames": floats((3, 6), 1)}), ("silence", {"frames": silence})])
    path, _ = run.convert(18)
    model = onnx_runner.load(path, declared=run.signature)
    outputs = [(name, model.infer(inputs)) for name, inputs in run.samples]
    assert verify(run.expected, outputs, atol={"": 1e-7}, rtol={"": 5e-7}).passed


def test_a_view_of_what_lies_otherwise_for_the_exporter_is_a_reshape() -> None:
    """As in the attention of T5, whose heads lie one after another where the exporter runs the program."""
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    turned = graph.call_function(torch.ops.aten.transpose.int, (x, 1, 2))
    viewed = graph.call_function(torch.ops.aten.view.default, (turned, [2, 12]))
    graph.output((viewed,))
    with FakeTensorMode():
        for node, shape in ((x, (2, 3, 4)), (turned, (2, 4, 3)), (viewed, (2, 12))):
            node.meta["val"] = torch.empty(shape)
    module = torch.fx.GraphModule(torch.nn.Module(), graph)
    with pytest.raises(ValueError, match="Cannot view"):
        _fx_passes.insert_type_promotion_nodes(module)
    with reshaped_views():
        _fx_passes.insert_type_promotion_nodes(module)
    values = torch.arange(24.0).reshape(2, 3, 4)
    module.recompile()
    assert torch.equal(module(values)[0], values.transpose(1, 2).reshape(2, 12))


def test_a_float16_program_is_exported_in_float16(tmp_path: Path) -> None:
    example = torch.ones(2, 4, dtype=torch.float16)
    source = saved(
        tmp_path / "half.pt2",
        torch.nn.Linear(4, 3).half(),
        (example,),
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
    )
    run = exports(tmp_path, source, [(f"{n}", {"input": floats((n, 4), n, "float16")}) for n in (1, 3)])
    path, _ = run.convert(18)
    model = onnx_runner.load(path, declared=run.signature)
    outputs = [(name, model.infer(inputs)) for name, inputs in run.samples]
    assert verify(run.expected, outputs, atol={"": 2e-3}, rtol={"": 2e-3}).passed


def test_a_sample_outside_the_exported_range_is_named(tagger_file: Path) -> None:
    model = torch_export.load(tagger_file, declared=NOTHING)
    with pytest.raises(StepError) as refusal:
        model.infer(tags(9, 3))
    assert refusal.value.message.startswith("input ids: axis 0 is 9, but the program was exported for 2 to 8 (s")
    assert refusal.value.hint.startswith("reduce min_shapes, max_shapes and max_batch_size to this range")


def test_a_sample_that_a_fixed_axis_does_not_fit_is_named(attention_file: Path) -> None:
    model = torch_export.load(attention_file, declared=NOTHING)
    with pytest.raises(StepError, match="input x: axis 1 is 5, but the program was exported for 3"):
        model.infer({"x": floats((2, 5, 4))})


def test_declared_names_rename_by_position(attention_file: Path, tmp_path: Path) -> None:
    declared = Signature(
        inputs=(TensorSpec(name="tokens", shape=(-1, 3, 4), dtype="float32"),),
        outputs=(TensorSpec(name="mixed", shape=(-1, 3, 4), dtype="float32"),),
    )
    run = exports(tmp_path, attention_file, [("a", {"tokens": floats((3, 3, 4))})], declared)
    path, _ = run.convert(18)
    assert onnx_runner.load(path, declared=run.signature).signature == declared
    assert run.verdict(path).passed


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ((), ""),
        ((("x", (-1, 3, 4), "float16"),), "inputs: x is declared as float16, but the model has float32"),
        ((("x", (-1, 7, 4), "float32"),), r"inputs: x is declared as \[-1, 7, 4\], but the model has \[-1, 3, 4\]"),
        ((("x", (-1, 3, 4), "float32"), ("y", (1,), "float32")), "inputs: 2 declared, but the model has 1"),
    ],
)
def test_declared_inputs_are_held_against_the_programs(
    attention_file: Path, inputs: tuple[tuple[str, tuple[int, ...], str], ...], sentence: str
) -> None:
    specs = tuple(TensorSpec(name=name, shape=shape, dtype=dtype) for name, shape, dtype in inputs)
    declared = Signature(inputs=specs, outputs=())
    if not sentence:
        assert torch_export.load(attention_file, declared=declared).signature.inputs[0].name == "x"
        return
    with pytest.raises(StepError, match=sentence) as refusal:
        torch_export.load(attention_file, declared=declared)
    assert refusal.value.hint == 'set `inputs: ["x:-1,3,4:float32"]`'


def test_bfloat16_is_refused(tmp_path: Path) -> None:
    class Inside(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x.to(torch.bfloat16)).to(torch.float32)

    source = saved(tmp_path / "inside.pt2", Inside(4, 3).bfloat16(), (torch.ones(2, 4),))
    run = exports(tmp_path, source, [("a", {"x": floats((2, 4))})])
    with pytest.raises(StepError, match="weight weight is bfloat16, which ONNX Runtime can't run on a CPU"):
        run.convert(18)
    example = torch.ones(2, 4, dtype=torch.bfloat16)
    whole = saved(tmp_path / "whole.pt2", torch.nn.Linear(4, 3).bfloat16(), (example,))
    with pytest.raises(StepError, match="input is bfloat16, which NumPy doesn't support"):
        torch_export.load(whole, declared=NOTHING)


def test_an_operator_that_onnx_does_not_have_is_named(tmp_path: Path) -> None:
    class Singular(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svd(x)[1]

    source = saved(tmp_path / "svd.pt2", Singular(), (torch.ones(4, 3),))
    run = exports(tmp_path, source, [("a", {"x": floats((4, 3))})])
    with pytest.raises(StepError, match=r"doesn't support operator aten\._linalg_svd at any opset") as refusal:
        run.convert(18)
    assert "Next steps" not in str(refusal.value)


def test_an_operator_that_the_exporter_fails_at_is_named(tmp_path: Path) -> None:
    class Histogram(torch.nn.Module):
        def forward(self, bins: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
            return torch.bincount(bins, weights, 4)[:4]

    source = saved(tmp_path / "histogram.pt2", Histogram(), (torch.arange(4), torch.ones(4)))
    run = exports(tmp_path, source, [("a", {"bins": np.arange(4), "weights": floats((4,))})])
    with pytest.raises(StepError) as refusal:
        run.convert(18)
    assert refusal.value.message.endswith(
        "fails at opset 18 at operator aten.bincount: aten::bincount with weights is not supported."
    )


def test_constants_among_the_inputs_keep_their_values(tmp_path: Path) -> None:
    class Scaled(torch.nn.Module):
        def forward(self, x: torch.Tensor, times: int, bias: torch.Tensor | None) -> tuple[torch.Tensor, None]:
            return x * times if bias is None else x * times + bias, None

    source = saved(tmp_path / "scaled.pt2", Scaled(), (torch.ones(2), 3, None))
    model = torch_export.load(source, declared=NOTHING)
    assert [each.name for each in model.signature.inputs] == ["x"]
    outputs = model.infer({"x": np.array([1, 2], np.float32)})
    assert {name: value.tolist() for name, value in outputs.items()} == {"output__0": [3, 6]}


def test_files_that_are_no_program_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt2").write_text("hello")
    with pytest.raises(StepError, match=r"text.pt2 can't be loaded as a torch\.export program: ") as refusal:
        torch_export.load(tmp_path / "text.pt2", declared=NOTHING)
    assert refusal.value.hint.startswith("save it with torch.export.save")


def test_a_copy_is_the_same_program(tagger: Exports, tmp_path: Path) -> None:
    destination = tmp_path / "copy" / "model.pt2"
    destination.parent.mkdir()
    conversion = Conversion(source=tagger.source, destination=destination, options=StepOptions())
    assert CONVERTERS["torch_export_to_torch_export"].convert(conversion) == Properties(exporter="copied")
    model = torch_export.load(destination, declared=tagger.signature)
    outputs = [(name, model.infer(inputs)) for name, inputs in tagger.samples]
    assert verify(tagger.expected, outputs, atol={"": 0.0}, rtol={"": 0.0}).passed
