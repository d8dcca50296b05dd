"""The plan of a run: its steps, the conversions that they lead to, and their states."""

from dataclasses import dataclass, field
from enum import StrEnum

from navigator.records.machine import Gpu
from navigator.records.model import Device, Format, ModelConfig, Precision, PrecisionMode
from navigator.records.options import StepOptions


class State(StrEnum):
    """The outcome of a conversion. Only `passed` is a success."""

    PASSED = "passed"
    """Converted, and every output of every sample is within tolerance of the source model."""
    MISMATCHED = "mismatched"
    """Converted and run, but an output is missing, not finite, out of tolerance, or has another shape or dtype."""
    FAILED = "failed"
    """The converter or the runner reported an error."""
    CRASHED = "crashed"
    """The worker died, or ended without a result."""
    TIMED_OUT = "timed_out"
    """The worker was stopped at its deadline."""
    BLOCKED = "blocked"
    """A step that this one depends on did not succeed."""
    CANCELLED = "cancelled"
    """The run was interrupted before this conversion finished."""
    UNAVAILABLE = "unavailable"
    """This machine lacks a package, GPU or driver that the conversion needs."""
    UNVERIFIED = "unverified"
    """Built, but this machine can't run it."""
    NOT_APPLICABLE = "not_applicable"
    """The source format can't be converted to the target format, or nothing in the model became its precision."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One converter with one frozen set of options; it creates one artifact.

    `label` is unique within the model and also the artifact's directory. `parent` is the label of the step whose
    artifact is the input, or None for the source model. `options` is the converter's own record. `opset` is that of the
    ONNX file it writes, if it says so; `raise_from` names the same export's steps at lower opsets: if one of them
    passed, its file's opset is raised, which is cheaper than exporting again. `is_copy` hands the source model on as
    it is. `precision` is what the artifact computes in. `devices` are what it is verified on, one after the other;
    `unrunnable` says why on no other, or on none. `image` is the framework's container image that it runs in, None for
    this interpreter. `artifact_name` is the file name of its artifact, "" for the one that the target's runner gives.
    """

    label: str
    converter: str
    source_format: Format
    target_format: Format
    parent: str | None = None
    options: StepOptions = field(default_factory=StepOptions)
    opset: int | None = None
    is_copy: bool = False
    raise_from: tuple[str, ...] = ()
    precision: Precision = Precision.FP32
    devices: tuple[Device, ...] = (Device.CPU,)
    unrunnable: str = ""
    image: str | None = None
    artifact_name: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """One point of the matrix formats x opsets x modes x precisions, before applicability."""

    target_format: Format
    onnx_opset: int | None = None
    precision: Precision | None = None
    precision_mode: PrecisionMode | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A conversion that the user configured.

    `steps` are the labels from the source to the cell's own step, which is the last; empty if no converter
    applies. `state` is None for a cell that can run here, else `not_applicable` or `unavailable`, or `failed` for a
    model that couldn't be planned, with `reason` and `remedy`. `requested` is false if only the default target formats
    ask for it: then a machine that can't make it does not fail the run. `intermediate` cells were not asked for, but
    other cells depend on them. `merged` counts further configurations that are the same cell.
    """

    label: str
    configuration: Configuration
    steps: tuple[str, ...] = ()
    state: State | None = None
    reason: str = ""
    remedy: str = ""
    requested: bool = True
    intermediate: bool = False
    merged: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPlan:
    """The tree of steps of one model, parents first, and its conversions in matrix order.

    `gpus` are those that its steps can use; `image` is where the source model runs, see `Step`.
    """

    config: ModelConfig
    source_format: Format
    steps: tuple[Step, ...]
    conversions: tuple[Cell, ...]
    gpus: tuple[Gpu, ...] = ()
    image: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The plan of a run."""

    models: tuple[ModelPlan, ...]
