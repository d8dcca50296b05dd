"""What a TorchScript graph tells of its inputs by what they are combined with, joined to and reduced over."""
# mypy: allow-subclassing-any

import warnings
from typing import Any

import pytest
import torch  # noqa: TID253 - makes the models
from torch import Tensor, nn  # noqa: TID253

from navigator.frameworks.torch.arguments import parameters
from navigator.frameworks.torch.script_inputs import guesses
from navigator.records import TensorSpec


class Joined(nn.Module):
    """A number is joined to rows of tables, and what was seen is a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items, self.last = nn.Embedding(50, 8), nn.Embedding(40, 8), nn.Linear(17, 8)

    def forward(self, row: dict[str, Tensor]) -> Tensor:
        seen = self.items(row["seen"]).mean(1)
        joined = torch.cat([self.users(row["user_id"]), seen, row["age"].unsqueeze(1) / 100.0], 1)
        return (self.last(joined) * self.items(row["item_id"])).sum(-1)


class Gaps(nn.Module):
    """Only how long ago a value was measured meets a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.decay, self.cell = nn.Linear(6, 5), nn.GRUCell(6, 5)

    def forward(self, x: Tensor, known: Tensor, ago: Tensor) -> Tensor:
        h = torch.zeros(x.size(0), 5)
        for step in range(x.size(1)):
            age = ago[:, step]
            value = known[:, step] * x[:, step] + (1 - known[:, step]) * torch.exp(-age)
            h = self.cell(value, h * torch.exp(-torch.relu(self.decay(age))))
        return h


class Scaled(nn.Module):
    """What is added meets what is left of the features, not the hidden layer between."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.mean = nn.Linear(11, 32), nn.Linear(32, 3)

    def forward(self, features: Tensor, noise: Tensor) -> Tensor:
        return self.mean(torch.tanh(self.hidden(features))) + noise


class Groups(nn.Module):
    """Sums rows by groups."""

    def forward(self, x: Tensor, group: Tensor) -> Tensor:
        sums = torch.zeros(4, x.shape[1])
        return sums.scatter_add(0, group[:, None].expand(-1, x.shape[1]), x)


class Nearest(nn.Module):
    """Distances to points that are taken by their index."""

    def forward(self, points: Tensor) -> Tensor:
        rows = torch.zeros(points.shape[0], 4, dtype=torch.long)
        centres = points.gather(1, rows.unsqueeze(-1).expand(-1, -1, 3))
        return (centres.unsqueeze(2) - points.unsqueeze(1)).pow(2).sum(-1)


class Begun(nn.Module):
    """A recurrent layer that begins with what is known of all steps."""

    def __init__(self) -> None:
        super().__init__()
        self.months, self.mix, self.norm = nn.Embedding(12, 6), nn.Linear(6, 12), nn.LayerNorm(6)
        self.wide, self.layer = nn.Linear(1, 6), nn.LSTM(6, 6, batch_first=True)

    def forward(self, month: Tensor, past: Tensor, coming: Tensor) -> Tensor:
        known = self.months(month)
        begin = self.norm(known + nn.functional.glu(self.mix(known), -1))[None]
        state = self.layer(self.wide(past[:, :, 0:1]), (begin, begin))[1]
        return self.layer(self.wide(coming), state)[0]


class Residual(nn.Module):
    """Every block adds to what came before it."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(7, 7), nn.LayerNorm(7)) for _ in range(40))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x) * y
        return x.mean(1)


class Cached(nn.Module):
    """Attention with a cache of keys and values, in a list of pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.keys = nn.Embedding(30, 8), nn.Linear(8, 8)

    def forward(self, ids: Tensor, past: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        x = self.words(ids)
        made = self.keys(x).view(ids.shape[0], ids.shape[1], 2, 4).transpose(1, 2)
        return [torch.cat([key, made], 2) * torch.cat([value, made], 2) for key, value in past]


PAIRS = [(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4)) for _ in range(2)]


@pytest.mark.parametrize(
    ("module", "example", "expected"),
    [
        (Joined(), None, "seen int64 -1,-1; user_id int64 -1; age float32 -1; item_id int64 -1"),
        (Gaps(), None, "x float32 -1,-1,6; known float32 -1,-1,6; ago float32 -1,-1,6"),
        (Scaled(), None, "features float32 -1,11; noise float32 -1,-1"),
        (Groups(), None, "x float32 -1,-1; group int64 -1"),
        (Nearest(), None, "points float32 -1,-1,3"),
        (Begun(), None, "month int64 -1; past float32 -1,-1,-1; coming float32 -1,-1,1"),
        (Residual(), None, "x float32 -1,-1,7; y float32 -1,-1,7"),
        (
            Cached(),
            (torch.ones(1, 1, dtype=torch.long), PAIRS),
            "ids int64 -1,-1; " + "; ".join(f"past__{index} float32 -1,2,-1,4" for index in range(4)),
        ),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, nn.Module) else "",
)
def test_the_inputs_are_among_the_first_guesses(module: Any, example: Any, expected: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = torch.jit.script(module) if example is None else torch.jit.trace(module, example)
    first = [guess for _, guess in zip(range(3), guesses(made, parameters(made)), strict=False)]
    assert expected in ["; ".join(map(written, guess)) for guess in first]


def written(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.dtype} {','.join(map(str, spec.shape or ()))}"
