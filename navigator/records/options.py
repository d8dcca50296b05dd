"""The options of a step: records that converters and runners extend with their own."""

from dataclasses import dataclass
from pathlib import Path

from navigator.records.model import Precision, PrecisionMode


@dataclass(frozen=True, kw_only=True, slots=True)
class StepOptions:
    """The options of a step; each converter has its own subclass."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the step and the runner of its artifact read; their content is part of its identity."""
        return ()


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineOptions(StepOptions):
    """The options of a step that builds TensorRT engines.

    `precision_mode` is None in fp32, which has nothing to fall back to. `max_workspace_size` is in bytes, 0 leaves
    it to TensorRT. `tf32` lets what stays in float32 be computed with 10 bits of mantissa. `optimization_level` is from
    0, the fastest build, to 5; None leaves it to TensorRT.
    """

    precision: Precision = Precision.FP32
    precision_mode: PrecisionMode | None = None
    max_workspace_size: int = 0
    tf32: bool = False
    sparse_weights: bool = False
    optimization_level: int | None = None
