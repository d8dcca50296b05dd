"""The inputs of TorchScript files, which store neither shapes nor types, are found from the graph and by running it."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253 - makes the models
from torch import nn  # noqa: TID253

from navigator.errors import StepError
from navigator.records import Format, FoundShapes, ModelConfig, Signature
from navigator.runners import torchscript
from navigator.samples.found import finding
from navigator.workers.loading import source_loader
from navigator.workers.probing import probed, signed

Module = Any


class Flat(nn.Module):  # type: ignore[misc] # torch is untyped here
    """A network for pictures of 28 x 28."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 4, 3), nn.Linear(4 * 26 * 26, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.flatten(self.conv(x), 1))


class Words(nn.Module):  # type: ignore[misc]
    """A network with at most 48 positions."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions, self.last = nn.Embedding(100, 8), nn.Embedding(48, 8), nn.Linear(8, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        x = self.words(input_ids) + self.positions(torch.arange(input_ids.size(1)))
        return self.last(x.masked_fill(attention_mask[:, :, None] == 0, 0.0))


class Channels(nn.Module):  # type: ignore[misc]
    """Takes pictures with channels last, and normalizes them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.register_buffer("mean", torch.ones(3, 1, 1))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return self.conv(picture.permute(0, 3, 1, 2) - self.mean).mean((2, 3))


class Wave(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 20, stride=5)

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        return self.conv(wave.unsqueeze(1)).mean(-1)


class Named(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(8, 4), nn.Linear(6, 4)

    def forward(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.left(features["left"]) + self.right(features["right"])


class Pictures(nn.Module):  # type: ignore[misc]
    """Takes pictures of different sizes one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, pictures: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([self.convolution(picture[None]).amax(dim=[2, 3]) for picture in pictures])


class Several(nn.Module):  # type: ignore[misc]
    def forward(self, values: list[torch.Tensor]) -> torch.Tensor:
        return values[0] + 2 * values[1]


class Hidden(nn.Module):  # type: ignore[misc]
    """A mask that must be bool, and an argument that may be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor, hide: torch.Tensor, scale: torch.Tensor | None = None) -> torch.Tensor:
        y = self.last(x).masked_fill(hide, 0.0)
        return y if scale is None else y * scale


class Recurrent(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 6, num_layers=2, batch_first=True)

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.lstm(x, (h, c))[0]


class Double(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(5, 2).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x)


class Video(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 2, 3, padding=1)

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        return self.conv(video).mean((2, 3, 4))


class Cache(nn.Module):  # type: ignore[misc]
    """Attention whose keys of earlier steps are an input: nothing but what joins them tells their shape."""

    def __init__(self) -> None:
        super().__init__()
        self.both = nn.Linear(16, 32)

    def forward(self, x: torch.Tensor, past: torch.Tensor) -> torch.Tensor:
        query, key = self.both(x).chunk(2, -1)
        query = query.view(x.size(0), -1, 2, 8).transpose(1, 2)
        key = torch.cat([past, key.view(x.size(0), -1, 2, 8).transpose(1, 2)], 2)
        return torch.matmul(query, key.transpose(2, 3)).softmax(-1)


class Table(nn.Module):  # type: ignore[misc]
    """Columns that are taken one by one, and numbers beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.columns = nn.ModuleList(nn.Embedding(count, 4) for count in (3, 7, 12))
        self.norm, self.last = nn.BatchNorm1d(5), nn.Linear(17, 2)

    def forward(self, categories: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        rows = [column(categories[:, index]) for index, column in enumerate(self.columns)]
        rows.append(self.norm(torch.nan_to_num(numbers)))
        return self.last(torch.cat(rows, 1))


class Nodes(nn.Module):  # type: ignore[misc]
    """A layer of a graph network, whose edges are pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor, edges: torch.Tensor, batch: torch.Tensor) -> torch.Tensor:
        source, target = edges.unbind(0)
        mixed = x + torch.zeros_like(x).index_add(0, target, x[source])
        return torch.zeros(8, 4).index_add(0, batch, self.last(mixed))


class Normed(nn.Module):  # type: ignore[misc]
    """A layer whose weight is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv1d(20, 4, 7, padding=3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class Bags(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.bags = nn.EmbeddingBag(50, 8)

    def forward(self, items: torch.Tensor, starts: torch.Tensor) -> torch.Tensor:
        return self.bags(items, starts)


class Denoiser(nn.Module):  # type: ignore[misc]
    """The time as sines and cosines, rows of points, and features that are taken at them."""

    def __init__(self) -> None:
        super().__init__()
        self.time, self.features = nn.Linear(8, 6), nn.Linear(6, 6)

    def forward(self, timestep: torch.Tensor, points: torch.Tensor, picture: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = picture.shape
        angles = timestep[:, None].float() * torch.arange(4)
        time = self.time(torch.cat([angles.sin(), angles.cos()], -1))
        rows = self.features(picture.flatten(2).transpose(1, 2)) + time[:, None]
        picture = rows.transpose(1, 2).reshape(batch, channels, height, width)
        return torch.nn.functional.grid_sample(picture, points[:, None], align_corners=False)


class Resized(nn.Module):  # type: ignore[misc]
    """Takes pictures with channels last, and resizes and pools them before the layer that tells."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        x = nn.functional.interpolate(picture.permute(0, 3, 1, 2), size=[16, 16], mode="bilinear")
        return self.conv(nn.functional.max_pool2d(x, 2)).mean((2, 3))


class Warped(nn.Module):  # type: ignore[misc]
    def forward(self, picture: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        grid = nn.functional.affine_grid(theta, list(picture.shape), align_corners=False)
        return nn.functional.grid_sample(picture, grid, align_corners=False)


class Attended(nn.Module):  # type: ignore[misc]
    """Attention to a context, whose layer has a part of a weight: that of keys and values."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.attention = nn.Linear(5, 8), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return self.attention(self.first(x), context, context, need_weights=False)[0]


class Sampled(nn.Module):  # type: ignore[misc]
    """Takes features at points; counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.offsets = nn.Linear(16, 8)
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, query: torch.Tensor, points: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        offsets = self.offsets(query).view(query.size(0), query.size(1), 4, 2)
        return torch.nn.functional.grid_sample(features, points[:, :, None] + offsets, align_corners=False)


def found(path: Path, module: Module, example: tuple[torch.Tensor, ...] | None = None) -> FoundShapes:
    """Ask the file of a scripted module, or of a traced one if there's an example."""
    torch.manual_seed(0)
    with torchscript.quiet(), torch.no_grad():
        made = torch.jit.script(module.eval()) if example is None else torch.jit.trace(module.eval(), example)
        torch.jit.save(made, str(path))
    config = ModelConfig(model_name="m", model_path=path, model_format=Format.TORCHSCRIPT)
    load = partial(torchscript.load, path, declared=Signature(inputs=(), outputs=()))
    _, _, answer = probed(config, load, torchscript)
    assert answer is not None
    return answer


class Policy(nn.Module):  # type: ignore[misc]
    """Hides actions: one element of a mask would stand for all."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(12, 6)

    def forward(self, seen: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
        return self.last(seen).masked_fill(~allowed, -1e9).argmax(-1)


class Cropped(nn.Module):  # type: ignore[misc]
    """Takes the middle of a picture with channels last, whose three channels one would stand for."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("mean", torch.ones(1, 3, 1, 1))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        x = nn.functional.interpolate(picture.permute(0, 3, 1, 2) / 255, size=[32, 32])
        return self.conv(x[:, :, 4:-4, 4:-4] - self.mean)


class Causal(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(5, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(nn.functional.pad(x, [2, 0]))[:, :, -1]


class Hashed(nn.Module):  # type: ignore[misc]
    """Users and what they saw, of which only a remainder is looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items, self.last = nn.Embedding(97, 8), nn.EmbeddingBag(50, 8), nn.Linear(4, 8)

    def forward(self, user: torch.Tensor, seen: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.users(user * 31 % 97), self.items(seen % 50), self.last(numbers)], 1)


class Packed(nn.Module):  # type: ignore[misc]
    """Sequences, none of which is empty."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(6, 5, batch_first=True)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.gru(packed)[1]


class Begun(nn.Module):  # type: ignore[misc]
    """A recurrent layer whose state is given: torch doesn't check the state of a traced one, and crashes."""

    def __init__(self, *, batch_first: bool = False, of: str = "numbers") -> None:
        super().__init__()
        self.of = of
        self.words, self.wave = nn.Embedding(30, 5), nn.Conv1d(4, 5, 3, padding=1)
        self.layer = nn.LSTM(5, 6, 2, batch_first=batch_first)

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, ...]:
        read = {"numbers": lambda x: x, "words": self.words, "wave": lambda x: self.wave(x).transpose(1, 2)}[self.of]
        y, (h, c) = self.layer(read(x), (h, c))
        return y, h, c


class InTuple(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(5, 6, batch_first=True)

    def forward(self, x: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return self.layer(x, state)[0]


STATE = (torch.zeros(2, 3, 6), torch.zeros(2, 3, 6))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    ("module", "x", "expected", "batch"),
    [
        (Begun(), torch.ones(7, 3, 5), "float32 -1,-1,5", 1),
        (Begun(of="words"), torch.ones(7, 3, dtype=torch.int64), "int64 -1,-1", 1),
        (Begun(of="wave", batch_first=True), torch.ones(3, 4, 7), "float32 -1,4,-1", 0),
    ],
    ids=["time_first", "words", "wave"],
)
def test_a_state_has_as_many_rows_as_the_input(
    tmp_path: Path, module: Module, x: torch.Tensor, expected: str, batch: int
) -> None:
    answer = found(tmp_path / "m.pt", module, (x, *STATE))
    written = [f"{each.dtype} {','.join(map(str, each.shape or ()))}" for each in answer.inputs]
    assert written == [expected, *["float32 2,-1,6"] * 2]
    model = torchscript.load(tmp_path / "m.pt", declared=Signature(inputs=answer.inputs, outputs=()))
    tied = [(name, axis) for name, axes in model.axes.items() for axis, each in enumerate(axes) if each.size == "batch"]
    assert tied == [("x", batch), ("h", 1), ("c", 1)]
    assert answer.max_shapes["x"][batch] == answer.max_shapes["h"][1] == answer.max_shapes["c"][1] > 1


@pytest.mark.parametrize(
    ("module", "example", "expected"),
    [
        pytest.param(
            Flat(), (torch.ones(1, 1, 28, 28),), ["x float32 -1,1,28,28"], id="flat_traced", marks=pytest.mark.nightly
        ),
        pytest.param(Flat(), None, ["x float32 -1,1,28,28"], id="flat_scripted"),
        pytest.param(Words(), None, ["input_ids int64 -1,-1", "attention_mask int64 -1,-1"], id="words"),
        pytest.param(
            Words(),
            (torch.ones(1, 9, dtype=torch.int64), torch.ones(1, 9, dtype=torch.int64)),
            ["input_ids int64 -1,-1", "attention_mask int64 -1,-1"],
            id="words_traced",
        ),
        pytest.param(Channels(), None, ["picture float32 -1,-1,-1,3"], id="channels_last"),
        pytest.param(Wave(), None, ["wave float32 -1,-1"], id="wave"),
        pytest.param(Named(), None, ["left float32 -1,8", "right float32 -1,6"], id="dictionary"),
        pytest.param(Several(), None, ["values__0 float32 -1,-1", "values__1 float32 -1,-1"], id="list"),
        pytest.param(Pictures(), None, ["pictures__0 float32 3,-1,-1"], id="list_in_loop"),
        pytest.param(Hidden(), None, ["x float32 -1,8", "hide bool -1,8"], id="bool_mask"),
        pytest.param(
            Recurrent(),
            None,
            ["x float32 -1,-1,5", "h float32 2,-1,6", "c float32 2,-1,6"],
            id="states",
            marks=pytest.mark.nightly,
        ),
        pytest.param(
            InTuple(), None, ["x float32 -1,-1,5", "state__0 float32 1,-1,6", "state__1 float32 1,-1,6"], id="tuple"
        ),
        pytest.param(Video(), None, ["video float32 -1,3,-1,-1,-1"], id="video", marks=pytest.mark.nightly),
        pytest.param(
            Cache(),
            (torch.ones(1, 1, 16), torch.ones(1, 2, 3, 8)),
            ["x float32 -1,16", "past float32 -1,2,-1,8"],
            id="cache",
        ),
        pytest.param(Table(), None, ["categories int64 -1,3", "numbers float32 -1,5"], id="table"),
        pytest.param(Nodes(), None, ["x float32 -1,8", "edges int64 2,-1", "batch int64 -1"], id="graph"),
        pytest.param(Normed(), (torch.ones(1, 20, 9),), ["x float32 -1,20,-1"], id="weight_norm"),
        pytest.param(Bags(), None, ["items int64 -1", "starts int64 -1"], id="bags"),
        pytest.param(
            Denoiser(),
            None,
            ["timestep float32 -1", "points float32 -1,-1,2", "picture float32 -1,6,-1,-1"],
            id="denoiser",
        ),
        pytest.param(Double(), None, ["x float64 -1,5"], id="float64"),
        pytest.param(Policy(), None, ["seen float32 -1,12", "allowed bool -1,6"], id="actions"),
        pytest.param(Cropped(), None, ["picture float32 -1,-1,-1,3"], id="cropped"),
        pytest.param(Causal(), None, ["x float32 -1,5,-1"], id="causal"),
        pytest.param(Hashed(), None, ["user int64 -1", "seen int64 -1,-1", "numbers float32 -1,4"], id="remainders"),
        pytest.param(Packed(), None, ["x float32 -1,-1,6", "lengths int64 -1"], id="packed"),
        pytest.param(Resized(), None, ["picture float32 -1,-1,-1,3"], id="resized"),
        pytest.param(Warped(), None, ["picture float32 -1,3,-1,-1", "theta float32 -1,2,3"], id="warped"),
        pytest.param(
            Attended(),
            (torch.ones(2, 3, 5), torch.ones(2, 4, 8)),
            ["x float32 -1,-1,5", "context float32 -1,-1,8"],
            id="attended",
            marks=pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
        ),
    ],
)
def test_inputs_are_found(
    tmp_path: Path, module: Module, example: tuple[torch.Tensor, ...] | None, expected: list[str]
) -> None:
    answer = found(tmp_path / "m.pt", module, example)
    written = [f"{each.name} {each.dtype} {','.join(map(str, each.shape or ()))}" for each in answer.inputs]
    assert written == expected


def test_ranges_end_where_the_model_refuses(tmp_path: Path) -> None:
    answer = found(tmp_path / "m.pt", Words())
    assert answer.max_shapes["input_ids"][1] == answer.max_shapes["attention_mask"][1] == 48
    assert "1 to 48 (larger ones are refused)" in finding(answer)
    assert found(tmp_path / "w.pt", Wave()).min_shapes["wave"] == (1, 20)


def test_a_module_that_counts_its_calls_is_loaded_again(tmp_path: Path) -> None:
    class Counting(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return x + self.calls

    path = tmp_path / "m.pt"
    with torchscript.quiet():
        torch.jit.save(torch.jit.script(Counting().eval()), str(path))
    config = ModelConfig(model_name="m", model_path=path, model_format=Format.TORCHSCRIPT)
    model, _, _ = probed(config, source_loader(config), torchscript)
    assert isinstance(model, torchscript.TorchScriptModel)
    assert float(model.module.calls) == 0


def test_the_reason_for_a_refusal_is_told_without_the_tensor_after_it(tmp_path: Path) -> None:
    class Offset(nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.embedding_bag(torch.ones(4, 2), x, x + 1)[0]

    with pytest.raises(StepError, match=r"fails on x \[1\]: offsets\[0\] has to be 0"):
        found(tmp_path / "m.pt", Offset())


def test_a_wrong_number_of_axes_is_given_up_after_a_few_sizes(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    with torchscript.quiet():
        torch.jit.save(torch.jit.script(Sampled().eval()), str(path))
    model = signed(torchscript, ModelConfig(model_name="m", model_path=path, model_format=Format.TORCHSCRIPT))
    assert isinstance(model, torchscript.TorchScriptModel)
    assert [spec.shape for spec in model.inputs][:2] == [(-1, -1, 16), (-1, -1, 2)]
    assert model.module.calls < 50


@pytest.mark.parametrize(
    ("network", "example"),
    [
        ((nn.Conv2d(4, 8, 8, 4), nn.Conv2d(8, 8, 4, 2), nn.Conv2d(8, 8, 3)), torch.zeros(1, 4, 84, 84)),
        ((nn.Conv1d(1, 4, 40, 20), nn.MaxPool1d(4)), torch.zeros(1, 1, 4000)),
    ],
)
def test_a_network_that_ends_in_a_linear_layer_has_one_size(
    tmp_path: Path, network: tuple[Module, ...], example: torch.Tensor
) -> None:
    features = nn.Sequential(*network, nn.Flatten())
    answer = found(tmp_path / "m.pt", features.append(nn.Linear(features(example).shape[1], 5)), (example,))
    assert features(torch.zeros(answer.max_shapes["input"])).shape[1] == 5
