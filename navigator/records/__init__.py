"""The records of the project: frozen values that all layers share, and their conversion to and from plain data.

Nothing here computes, reads a file or imports a framework. Field names are the keys of the YAML and JSON files of
users. One module per stage: the configuration, the machine, the plan, the results.
"""

from navigator.records.codec import InvalidRecordError, Json, from_data, to_data
from navigator.records.description import Description, ValueRange
from navigator.records.machine import Gpu, Host
from navigator.records.model import (
    Auto,
    AxisSpec,
    Device,
    Format,
    LaunchMode,
    MetricFunction,
    ModelConfig,
    Precision,
    PrecisionMode,
    RunConfig,
    ShapeProfile,
    Signature,
    TensorSpec,
)
from navigator.records.options import EngineOptions, StepOptions
from navigator.records.origin import Origin, Selection
from navigator.records.plan import Cell, Configuration, ModelPlan, Plan, State, Step
from navigator.records.results import (
    CellResult,
    ConversionConfig,
    OutputModel,
    Properties,
    Report,
    Seconds,
    SourceModel,
    Status,
    TensorRTConfig,
)
from navigator.records.verdict import (
    DEFAULT_TOLERANCE,
    Agreement,
    Comparison,
    Decisions,
    Latency,
    MetricOutcome,
    MetricResult,
    SampleInfo,
    Slices,
    Tolerances,
    Verdict,
    WorstElement,
    WorstSlice,
)

__all__ = [
    "DEFAULT_TOLERANCE",
    "Agreement",
    "Auto",
    "AxisSpec",
    "Cell",
    "CellResult",
    "Comparison",
    "Configuration",
    "ConversionConfig",
    "Decisions",
    "Description",
    "Device",
    "EngineOptions",
    "Format",
    "Gpu",
    "Host",
    "InvalidRecordError",
    "Json",
    "Latency",
    "LaunchMode",
    "MetricFunction",
    "MetricOutcome",
    "MetricResult",
    "ModelConfig",
    "ModelPlan",
    "Origin",
    "OutputModel",
    "Plan",
    "Precision",
    "PrecisionMode",
    "Properties",
    "Report",
    "RunConfig",
    "SampleInfo",
    "Seconds",
    "Selection",
    "ShapeProfile",
    "Signature",
    "Slices",
    "SourceModel",
    "State",
    "Status",
    "Step",
    "StepOptions",
    "TensorRTConfig",
    "TensorSpec",
    "Tolerances",
    "ValueRange",
    "Verdict",
    "WorstElement",
    "WorstSlice",
    "from_data",
    "to_data",
]
