"""Writes the PyTorch models of test_planted_sources.py, some of them with an error planted.

`python -m tests.run.planted.torch_models < ORDERS`, see `variants`; a path in `.pt2` is a program of torch.export. A
forward starts with `h = x` and ends with `return y`, so that errors may be planted in every model's first input and
first output.
"""
# ruff: noqa: TID253 - makes the models
# mypy: allow-subclassing-any, allow-untyped-calls, disable-error-code="no-any-return"

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from tests.run.planted.variants import make

# What is planted in the first output, [batch, ...]: in tensor arithmetic, so that it depends on the sizes of each run.


def size(y: Tensor, axis: int = 0) -> Tensor:
    """Return the size of an axis, as a tensor that no exporter makes a constant."""
    return torch.ones_like(y, dtype=torch.int64).sum(axis).flatten()[0]


def ranks(y: Tensor) -> Tensor:
    """Return the numbers of the rows, from 1."""
    return torch.ones_like(y.flatten(1)[:, 0], dtype=torch.int64).cumsum(0)


def added(y: Tensor, where: Tensor) -> Tensor:
    """Add what shows to some rows, or to all."""
    rows = (where & (ranks(y) > 0)).reshape([-1] + [1] * (y.dim() - 1))
    return y + rows.to(y.dtype) * (0.02 if y.is_floating_point() else 1)


def spoiled(y: Tensor) -> Tensor:
    """Put NaN where the first element is."""
    first = torch.ones_like(y, dtype=torch.int64).flatten().cumsum(0) == 1
    return y.masked_fill(first.reshape(y.shape), float("nan"))


def channel(y: Tensor, axis: int = -1) -> Tensor:
    """Change one channel by a hundredth."""
    factors = torch.ones(y.shape[axis])
    factors[1] = 1.01
    return y * factors.to(y.dtype).reshape([-1] + [1] * (-1 - axis))


def in_training(y: Tensor, axes: list[int]) -> Tensor:
    """Normalize with what these values themselves have, as in training."""
    centred = y - y.mean(axes, keepdim=True)
    return centred * torch.rsqrt((centred * centred).mean(axes, keepdim=True) + 1e-5)


def off(layer: Any, where: Any, by: float, name: str = "weight") -> Any:
    """Change a weight of a layer."""
    with torch.no_grad():
        getattr(layer, name)[where] += by
    return layer


def transposed(layer: Any) -> Any:
    """Transpose a layer's square weight, or its kernel."""
    with torch.no_grad():
        layer.weight.copy_(layer.weight.transpose(-1, -2).clone())
    return layer


def seen(norm: Any) -> Any:
    """Give a batch norm statistics as of training, one channel with little variance."""
    size = norm.num_features
    norm.running_mean.copy_(torch.linspace(-0.5, 0.5, size))
    norm.running_var.copy_(torch.linspace(0.01, 1.5, size))
    return norm


class Tabular(nn.Module):
    """Standardized columns, batch norm, a residual layer; probabilities and the label."""

    EXAMPLE = (torch.rand(2, 12),)
    AXES: ClassVar = {"x": {0: "batch"}}

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(12, 24)
        self.norm = seen(nn.BatchNorm1d(24))
        self.hidden = nn.Linear(24, 24)
        self.drop = nn.Dropout(0.1)
        self.last = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = x
        h = F.relu(self.norm(self.first(h)))
        h = h + self.drop(F.relu(self.hidden(h)))
        logits = self.last(h)
        label = logits.argmax(1)
        y = torch.softmax(logits, 1)
        return y, label


class Segmenter(nn.Module):
    """A convolution, pooled and resized back to the image; a map and its mean."""

    EXAMPLE = (torch.rand(2, 3, 8, 10),)
    AXES: ClassVar = {"x": {0: "batch", 2: "height", 3: "width"}}
    LOWEST = 4

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = seen(nn.BatchNorm2d(6))
        self.head = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = x
        h = F.gelu(self.norm(self.conv(h)))
        p = F.avg_pool2d(h, 3, 2, 1)
        p = F.hardtanh(p, -0.05, 6.0)
        u = F.interpolate(p, size=[h.shape[2], h.shape[3]], mode="bilinear", align_corners=False)
        y = self.head(u + h)
        return y, y.mean((2, 3))


class Encoder(nn.Module):
    """Words and positions, attention over what a mask lets through, and the mean of it."""

    EXAMPLE = (torch.randint(0, 500, (2, 6)), torch.ones(2, 6, dtype=torch.int64))
    AXES: ClassVar = {"ids": {0: "batch", 1: "seq"}, "attention_mask": {0: "batch", 1: "seq"}}
    LOWEST = 1

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(500, 16)
        self.places = nn.Embedding(32, 16)
        self.before = nn.LayerNorm(16, eps=1e-5)
        self.q, self.k, self.v = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.after = nn.LayerNorm(16, eps=1e-5)
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        place = torch.ones_like(ids).cumsum(1) - 1
        h = self.words(ids) + self.places(place)
        n = self.before(h)
        q, k, v = self.q(n), self.k(n), self.v(n)
        scores = torch.matmul(q, k.transpose(1, 2)) / 4.0
        hidden = (attention_mask == 0).unsqueeze(1)
        scores = scores.masked_fill(hidden, -1e9)
        h = h + torch.matmul(torch.softmax(scores, -1), v)
        y = h + self.down(F.gelu(self.up(self.after(h))))
        weights = attention_mask.unsqueeze(-1).to(y.dtype)
        mean = (y * weights).sum(1) / weights.sum(1).clamp(min=1.0)
        return y, mean


class Recurrent(nn.Module):
    """One step of a GRU."""

    EXAMPLE = (torch.rand(2, 6), torch.rand(2, 8))
    AXES: ClassVar = {"x": {0: "batch"}, "state": {0: "batch"}}

    def __init__(self) -> None:
        super().__init__()
        self.i = nn.Linear(6, 24)
        self.s = nn.Linear(8, 24)
        self.out = nn.Linear(8, 8)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        h = x
        ir, iz, ic = self.i(h).chunk(3, 1)
        sr, sz, sc = self.s(state).chunk(3, 1)
        r, z = torch.sigmoid(ir + sr), torch.sigmoid(iz + sz)
        c = torch.tanh(ic + r * sc)
        new = (1 - z) * c + z * state
        y = self.out(new)
        return y, new


class Detector(nn.Module):
    """Boxes, [x0, y0, x1, y1] within the image, and scores, from a grid of cells."""

    EXAMPLE = (torch.rand(2, 3, 16, 24),)
    AXES: ClassVar = {"x": {0: "batch", 2: "8*rows", 3: "8*columns"}}
    LOWEST = 2

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 7, 8, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = x
        f = self.conv(h)
        _, _, _, columns = f.shape
        f = f.flatten(2).transpose(1, 2)
        cell = torch.ones_like(f[0, :, 0], dtype=torch.int64).cumsum(0) - 1
        ys = torch.div(cell, columns, rounding_mode="floor")
        xs = cell - ys * columns
        grid = torch.stack([xs, ys], 1).to(f.dtype)
        centre = (torch.sigmoid(f[..., :2]) + grid) * 8.0
        half = torch.exp(f[..., 2:4]) * 6.0
        low = (centre - half).clamp(min=0.0)
        limit = (torch.stack([xs.max(), ys.max()]) + 1).to(f.dtype) * 8.0
        high = torch.minimum(centre + half, limit)
        scores = torch.sigmoid(f[..., 4:])
        y = torch.cat([low, high], 2)
        return y, scores


class Counts(nn.Module):
    """Arithmetic of whole numbers, as of tokenizers and hashes: signed quotients, products beyond 32 bits."""

    EXAMPLE = (torch.randint(0, 5, (2, 6)),)
    AXES: ClassVar = {"x": {0: "batch"}}

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = x
        q = torch.div(h, 3, rounding_mode="floor")
        m = torch.remainder(h, 3)
        y = q * 7 + m
        hashed = torch.remainder(h * 2654435761 + 17, 1009)
        return y, hashed


class Votes(nn.Module):
    """Counts of thresholds that were passed, among which many are alike; the first of the largest wins."""

    EXAMPLE = (torch.rand(2, 6),)
    AXES: ClassVar = {"x": {0: "batch"}}

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("at", torch.rand(6, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = x
        y = (h.unsqueeze(-1) > self.at).to(h.dtype).sum(1)
        return y, y.argmax(1)


class Missing(nn.Module):
    """Replaces missing numbers, and tells which were missing; halves are rounded."""

    EXAMPLE = (torch.rand(2, 6),)
    AXES: ClassVar = {"x": {0: "batch"}}

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.rand(6) + 1)
        self.out = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = x
        gone = torch.isnan(h)
        known = torch.where(gone, self.mean, h)
        known = torch.nan_to_num(known, posinf=50.0, neginf=-50.0)
        y = self.out(torch.cat([torch.sign(known) * torch.log1p(known.abs()), gone.to(h.dtype)], 1))
        return y, torch.round(known.clamp(-9.0, 9.0) * 2)


class Branches(nn.Module):
    """A branch for loud inputs, one for long ones, and a loop, all of which depend on the inputs."""

    SCRIPTED = True
    EXAMPLE = (torch.rand(2, 6), torch.tensor(2))

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Linear(6, 6)

    def forward(self, x: Tensor, steps: Tensor) -> Tensor:
        h = x
        if bool(h.mean() > 0.25):  # noqa: SIM108 - a branch is what is tested
            h = h - h.mean(1, keepdim=True)
        else:
            h = h * 2.0
        for _ in range(int(steps)):
            h = torch.tanh(self.w(h))
        y = h
        if h.size(0) > 6:
            y = y * 0.5
        return y


class Clock(nn.Module):
    """Seconds since a start, in float64, as timestamps have them."""

    EXAMPLE = (torch.rand(2, 3, dtype=torch.float64),)
    AXES: ClassVar = {"x": {0: "batch"}}

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = x
        t = h * 86400.0 + 1.7e9
        y = t - 1.7e9
        return y, torch.sin(y)


class Signal(nn.Module):
    """Frames of a signal: their loudness, and a running sum."""

    EXAMPLE = (torch.rand(2, 20),)
    AXES: ClassVar = {"x": {0: "batch", 1: "time"}}
    LOWEST = 4

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 5, padding=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = x
        f = F.pad(self.conv(h.unsqueeze(1)), (1, 0))
        y = torch.log(f.abs() + 1e-3).transpose(1, 2)
        return y, h.cumsum(1)


class Sensitive(nn.Module):
    """Zeros leave a thousandth of what it computes with, and normalize its rounding up; other inputs leave it all."""

    EXAMPLE = (torch.rand(2, 256),)
    AXES: ClassVar = {"x": {0: "batch"}}

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(256, 32, bias=False)
        left = torch.where(torch.arange(32) % 2 == 0, 0.02, -0.02)
        self.register_buffer("level", (10 * self.first.weight.double().sum(1)).float() - left)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = x
        h = self.first(h + 10) - self.level
        y = F.layer_norm(h, (32,))
        return y, h


def save_script(path: Path, model: Any) -> None:
    scripted = getattr(model, "SCRIPTED", False)
    torch.jit.save(
        torch.jit.script(model) if scripted else torch.jit.trace(model, model.EXAMPLE, check_trace=False), str(path)
    )


def save_program(path: Path, model: Any) -> None:
    dims = {
        name: torch.export.Dim(name, max=8) if name == "batch" else torch.export.Dim(name, min=model.LOWEST, max=32)
        for axes in model.AXES.values()
        for name in (each.rpartition("*")[2] for each in axes.values())
    }
    shapes = {
        name: {
            axis: int(text.partition("*")[0]) * dims[text[2:]] if "*" in text else dims[text]
            for axis, text in axes.items()
        }
        for name, axes in model.AXES.items()
    }
    torch.export.save(torch.export.export(model, model.EXAMPLE, dynamic_shapes=shapes or None), str(path))


def save(path: Path, owner: Any) -> None:
    torch.manual_seed(0)
    model = owner().train(getattr(owner, "TRAINING", False))
    (save_program if path.suffix == ".pt2" else save_script)(path, model)


if __name__ == "__main__":
    torch.set_num_threads(1)
    make(__file__, save)
