"""What a probe asks a model, and what it doesn't ask since it would cost too much."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from navigator.errors import StepError
from navigator.records import Signature, TensorSpec
from navigator.samples.symbols import Shape
from navigator.samples.values import Bounds, Origin
from navigator.workers import questions
from navigator.workers.questions import Deadline, Questions

X = TensorSpec(name="x", shape=(-1, -1), dtype="float32")
BOUNDS = {"x": Bounds(dtype=np.dtype("float32"), low=0, high=1, origin=Origin.DEFAULT)}


@dataclass
class Refusing:
    """Takes `bytes_each` bytes for every pair of elements, and then refuses them."""

    bytes_each: int
    signature: Signature = field(default_factory=lambda: Signature(inputs=(X,), outputs=()))
    held: int = 2**30
    asked: list[tuple[int, ...]] = field(default_factory=list)

    def infer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.asked.append(inputs["x"].shape)
        self.held = max(self.held, 2**30 + self.bytes_each * inputs["x"].size ** 2)
        raise StepError("they don't fit together")


@pytest.mark.parametrize(("bytes_each", "asked"), [(1, [64, 224, 640]), (16, [64, 224])])
def test_shapes_that_would_take_too_much_memory_to_refuse_are_not_tried(
    monkeypatch: pytest.MonkeyPatch, bytes_each: int, asked: list[int]
) -> None:
    model: Any = Refusing(bytes_each)
    monkeypatch.setattr(questions, "_peak", lambda: model.held)
    refused: dict[tuple[Shape, ...], int] = {}
    for _ in range(2):  # the process has held as much already when the next signature is tried
        several = Questions(model=model, bounds=BOUNDS, deadline=Deadline(math.inf), refused=refused)
        assert not any(several.takes({"x": (64, side)}) for side in (64, 224, 640))
    assert model.asked == [(64, side) for side in asked] * 2
