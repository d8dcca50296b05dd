"""A torch model's own rounding: a right conversion passes though it's off by more than 1e-5, a wrong weight doesn't."""
# ruff: noqa: TID253 - the frameworks are what is tested
# mypy: allow-subclassing-any

import contextlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from navigator.converters import torchscript_to_onnx
from navigator.records import Precision, Signature, TensorSpec, Verdict
from navigator.runners import onnx as onnx_runner
from navigator.runners import torch_export, torchscript
from navigator.runners.protocol import LoadedModel
from navigator.samples.search import Recombined
from navigator.verify.compare import verify
from navigator.verify.noise import FACTOR, Noise, measured
from navigator.verify.ties import all_settled
from navigator.verify.tolerances import tolerances
from navigator.verify.undecided import differing, undecided
from navigator.workers.noise import exact, probes
from navigator.workers.search import Search
from navigator.workers.undecided import runs
from tests.support.builders import a_model
from tests.support.exports import Exports

INPUTS = (TensorSpec(name="x", shape=(-1, 3, 24, 24), dtype="float32"),)
RNG = np.random.default_rng(0)
SAMPLES = [(name, {"x": RNG.random((batch, 3, 24, 24), np.float32)}) for name, batch in (("min", 1), ("opt", 3))]


class Residual(torch.nn.Module):
    """Doubles its values in each block, as a ResNet with random weights does: outputs are in the thousands."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 16, 3, padding=1)
        self.blocks = torch.nn.ModuleList(torch.nn.Conv2d(16, 16, 3, padding=1) for _ in range(blocks))
        for block in self.blocks:
            torch.nn.init.kaiming_normal_(block.weight)
        self.head = torch.nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + torch.relu(block(x))
        return self.head(x.mean((2, 3)))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Exports, Path]:
    torch.manual_seed(0)
    directory = tmp_path_factory.mktemp("rounding")
    with torchscript.quiet():
        torch.jit.save(torch.jit.trace(Residual(20).eval(), torch.rand(2, 3, 24, 24)), str(directory / "m.pt"))
    model = torchscript.load(directory / "m.pt", declared=Signature(inputs=INPUTS, outputs=()))
    options = lambda opset: torchscript_to_onnx.Options(opset=opset)  # noqa: E731
    made = Exports(directory, directory / "m.pt", model, SAMPLES, converter="torchscript_to_onnx", options=options)
    return made, made.convert(17)[0]


def judged(exports: Exports, artifact: Path) -> tuple[Verdict, Noise]:
    model = torchscript.load(exports.source, declared=Signature(inputs=INPUTS, outputs=()))
    found = probes(model, SAMPLES, exports.expected)
    noise = measured(exports.expected, found.rounded, {"": 1e-5}, found.batches)
    converted = onnx_runner.load(artifact, declared=exports.signature)
    outputs = [(name, converted.infer(inputs)) for name, inputs in SAMPLES]
    allowed = tolerances(a_model(), Precision.FP32, exports.expected, noise)
    return verify(exports.expected, outputs, atol=allowed.atol, rtol=allowed.rtol), noise["output__0"]


def test_a_right_conversion_of_a_deep_network_passes(exported: tuple[Exports, Path]) -> None:
    exports, artifact = exported
    verdict, noise = judged(exports, artifact)
    (comparison,) = verdict.comparisons
    assert max(np.abs(arrays["output__0"]).max() for _, arrays in exports.expected) > 1000
    assert verdict.passed
    assert not noise.rejected
    assert comparison.max_abs_error is not None
    assert noise.largest / FACTOR < comparison.max_abs_error < FACTOR * noise.largest


@pytest.mark.parametrize("initializer", range(4))
def test_the_weights_of_one_layer_off_by_a_thousandth_are_still_a_mismatch(
    exported: tuple[Exports, Path], tmp_path: Path, initializer: int
) -> None:
    exports, artifact = exported
    model = onnx.load(str(artifact))
    weight = [each for each in model.graph.initializer if len(each.dims) == 4][5 * initializer]
    values = onnx.numpy_helper.to_array(weight) * np.float32(1.001)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, str(tmp_path / "wrong.onnx"))
    assert not judged(exports, tmp_path / "wrong.onnx")[0].passed


class Half(torch.nn.Module):
    """Weights of every kind: float16, a mask with an infinity, shared, not contiguous, whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(6, 6)
        self.tied = torch.nn.Linear(6, 6)
        self.tied.weight = self.linear.weight
        self.low = torch.nn.Parameter(torch.randn(6, dtype=torch.float16))
        self.mask = torch.nn.Parameter(torch.tensor([0.0, 0, 0, 0, 0, -torch.inf]))
        self.turned = torch.nn.Parameter(torch.randn(6, 6).t())
        self.whole = torch.nn.Parameter(torch.arange(6), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.tied(torch.relu(self.linear(x))) * self.low.float() + self.whole
        return (x @ self.turned + self.mask).softmax(-1)


@pytest.mark.parametrize("kind", ["script", "program"])
def test_the_module_is_as_before_to_the_last_bit(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, x = Half().eval(), torch.rand(3, 6)
    declared = Signature(inputs=(TensorSpec(name="x", shape=(-1, 6), dtype="float32"),), outputs=())
    model: torchscript.TorchScriptModel | torch_export.TorchExportModel
    if kind == "script":
        with torchscript.quiet():
            torch.jit.save(torch.jit.script(module), str(tmp_path / "m"))
        model = torchscript.load(tmp_path / "m", declared=declared)
    else:
        module.turned = torch.nn.Parameter(module.turned.detach().contiguous())  # which torch.export.save wants
        with torch_export.quiet():
            torch.export.save(torch.export.export(module, (x,)), str(tmp_path / "m"))
        model = torch_export.load(tmp_path / "m", declared=declared)
    threads = torch.get_num_threads()
    before = {name: each.clone() for name, each in model.module.named_parameters()}
    (one,) = model.infer({"x": x.numpy()}).values()
    with contextlib.suppress(ZeroDivisionError), model.perturbed() as other:
        changed = {name for name, each in model.module.named_parameters() if not torch.equal(each, before[name])}
        (two,) = other.infer({"x": x.numpy()}).values()
        raise ZeroDivisionError
    assert {name.rpartition(".")[2] for name in changed} == {"weight", "bias", "low", "turned"}
    assert 0 < np.abs(one - two).max() < 1e-3
    assert all(torch.equal(each, before[name]) for name, each in model.module.named_parameters())
    assert torch.get_num_threads() == threads
    assert np.array_equal(model.infer({"x": x.numpy()}).popitem()[1], one)


class Levels(torch.nn.Module):
    """Rounds tenths of bytes: halves are all but ties."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor([scale]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.round(x.float() * self.scale).to(torch.uint8)


@pytest.mark.parametrize(("scale", "found"), [(0.09999999, False), (0.11, True)])
def test_a_search_excuses_whole_numbers_that_other_weights_round_otherwise(
    tmp_path: Path, scale: float, found: bool
) -> None:
    declared = Signature(inputs=(TensorSpec(name="x", shape=(-1, 4), dtype="uint8"),), outputs=())
    models = []
    for number, each in enumerate((0.1, scale)):
        with torchscript.quiet():
            torch.jit.save(torch.jit.script(Levels(each)), str(tmp_path / f"{number}.pt"))
        models.append(torchscript.load(tmp_path / f"{number}.pt", declared=declared))
    inputs = {"x": np.array([[5, 15, 25, 200], [1, 2, 3, 100]], np.uint8)}
    one, other = (each.infer(inputs)["output__0"] for each in models)
    assert not np.array_equal(one, other)
    proposals = Recombined(samples=[("own", inputs)], batched=True, seed=0)
    search = Search(source=models[0], converted=models[1], proposals=proposals, scales={}, atol={}, rtol={"": 0.0})
    search.check([inputs], 60)
    assert (search.found is not None) == found


@pytest.mark.parametrize("outputs", [(), (TensorSpec(name="y", shape=(-1, 10), dtype="float32"),)])
def test_torchscript_in_float64_is_close_and_comes_back(
    exported: tuple[Exports, Path], outputs: tuple[TensorSpec, ...]
) -> None:
    path = exported[1].parent.parent / "m.pt"
    model = torchscript.load(path, declared=Signature(inputs=INPUTS, outputs=outputs))
    check_exact(model)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torch_export_in_float64_is_close_and_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    batch = torch.export.Dim("batch", min=1, max=8)
    program = torch.export.export(Residual(5).eval(), (torch.rand(2, 3, 24, 24),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "m.pt2")
    check_exact(torch_export.load(tmp_path / "m.pt2", declared=Signature(inputs=(), outputs=())))


def check_exact(model: LoadedModel) -> None:
    before = [model.infer(inputs) for _, inputs in SAMPLES]
    found = list(exact(model, SAMPLES))
    after = [model.infer(inputs) for _, inputs in SAMPLES]
    assert [name for name, _ in found] == [name for name, _ in SAMPLES]
    for (_, outputs), one, other in zip(found, before, after, strict=True):
        for name, array in one.items():
            assert outputs[name].dtype == array.dtype == np.float32
            assert np.array_equal(array, other[name])
            error = np.abs(outputs[name] - array).max() / np.abs(array).max()
            assert 0 < error < 1e-4


def test_a_model_with_weights_in_float64_is_not_run_in_another_type(tmp_path: Path) -> None:
    with torchscript.quiet():
        torch.jit.save(
            torch.jit.trace(Residual(2).eval().double(), torch.rand(2, 3, 24, 24).double()), tmp_path / "m.pt"
        )
    inputs = (TensorSpec(name="x", shape=(-1, 3, 24, 24), dtype="float64"),)
    model = torchscript.load(tmp_path / "m.pt", declared=Signature(inputs=inputs, outputs=()))
    assert list(exact(model, [(name, {"x": each["x"].astype("float64")}) for name, each in SAMPLES])) == []


class Pixels(torch.nn.Module):
    """A picture of bytes in and out: floats are cut off, at whole numbers that rounding may miss."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Conv2d(3, 8, 5, padding=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.layer(x.to(self.layer.weight.dtype) / 255 - 0.5).clamp(0, 1) * 255).to(torch.uint8)


@pytest.mark.parametrize("kind", ["script", "program"])
def test_pixels_that_rounding_cuts_off_otherwise_are_found_though_inputs_are_whole_numbers(
    kind: str, tmp_path: Path
) -> None:
    example = (torch.zeros(1, 3, 300, 300, dtype=torch.uint8),)
    declared = Signature(inputs=(TensorSpec(name="x", shape=(1, 3, 300, 300), dtype="uint8"),), outputs=())
    model: torchscript.TorchScriptModel | torch_export.TorchExportModel
    if kind == "script":
        with torchscript.quiet():
            torch.jit.save(torch.jit.trace(Pixels().eval(), example), str(tmp_path / "m"))
        model = torchscript.load(tmp_path / "m", declared=declared)
    else:
        with torch_export.quiet():
            torch.export.save(torch.export.export(Pixels().eval(), example), str(tmp_path / "m"))
        model = torch_export.load(tmp_path / "m", declared=declared)
    before = [each.clone() for each in model.module.parameters()]
    # How many pixels rounding decides depends on the processor: of some pictures, none.
    for seed in range(20):
        inputs = {"x": np.random.default_rng(seed).integers(0, 256, (1, 3, 300, 300)).astype(np.uint8)}
        reference = [("s", model.infer(inputs))]
        # What a right conversion computes: the same in another order.
        pixels = Pixels().double()(torch.from_numpy(inputs["x"])).numpy()
        right = [("s", {"output__0": pixels})]
        if differing(reference, right, {"": 0}, {"": 0}):
            break
    assert differing(reference, right, {"": 0}, {"": 0}) == ["s"]

    masks = undecided(reference, list(runs(model, [("s", inputs)])), {"": 0}, {"": 0})

    assert all(map(torch.equal, model.module.parameters(), before))
    ((_, settled),) = all_settled(reference, right, masks)
    assert np.array_equal(settled["output__0"], reference[0][1]["output__0"])
    ((_, wrong),) = all_settled(reference, [("s", {"output__0": pixels ^ 1})], masks)
    assert np.mean(wrong["output__0"] != pixels) > 0.99
