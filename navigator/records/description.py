"""What a model's file says about the model, without running it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from navigator.records.codec import Count
from navigator.records.model import AxisSpec, Format, TensorSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueRange:
    """The smallest and the largest value that an input may have, and why."""

    low: float
    high: float
    why: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """A model as its file describes it.

    Args:
        model_format: its format.
        size_bytes: of the file, with external data; of all files of a SavedModel.
        inputs: in the model's order; a shape has -1 for dynamic axes, and `dtype` is "" if the file doesn't store it.
            None: the file doesn't tell which there are.
        outputs: the same.
        axes: what is known of the axes of inputs and outputs, by name, where a file names or limits any.
        values: the values that inputs may have, by name, where the model's operations limit them.
        signature_name: the signature that these are the inputs and outputs of, and all that a SavedModel has.
        signature_names: see `signature_name`.
        producer: the program that wrote the file, "" if it doesn't say.
        opsets: versions of operator sets by domain; of an ONNX model, those whose operators it has.
        operators: how often each operator is used.
        custom_operators: those that don't belong to the format or its runtime.
        quantized: whether it computes with quantized numbers; None: not known.
        training: whether it's in training mode, so that it draws or changes its statistics; None: not known.
        notes: sentences on what its operators mean for conversions.
        unknown: sentences on what only running or another program tells.
    """

    model_format: Format
    size_bytes: Count = 0
    inputs: tuple[TensorSpec, ...] | None = None
    outputs: tuple[TensorSpec, ...] | None = None
    axes: Mapping[str, tuple[AxisSpec, ...]] = field(default_factory=dict)
    values: Mapping[str, ValueRange] = field(default_factory=dict)
    signature_name: str = ""
    signature_names: tuple[str, ...] = ()
    producer: str = ""
    opsets: Mapping[str, Count] = field(default_factory=dict)
    operators: Mapping[str, Count] = field(default_factory=dict)
    custom_operators: tuple[str, ...] = ()
    quantized: bool | None = None
    training: bool | None = None
    notes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
