"""The nouns of the project: frozen values that every layer passes on, and their one round trip to plain data.

Nothing here computes: no file is read, no framework is imported. Field names are the keys of the YAML and
JSON files that users read and write. One module a stage: what was configured, what the machine has, what is planned,
what came out.
"""

from navigator.records.codec import Json, from_data, to_data
from navigator.records.machine import Gpu, Host
from navigator.records.model import (
    Device,
    Format,
    LaunchMode,
    ModelConfig,
    Precision,
    PrecisionMode,
    RunConfig,
    ShapeProfile,
    Signature,
    TensorSpec,
)
from navigator.records.options import EngineOptions, StepOptions
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
from navigator.records.verdict import Comparison, Latency, SampleInfo, Tolerances, Verdict, WorstElement

__all__ = [
    "Cell",
    "CellResult",
    "Comparison",
    "Configuration",
    "ConversionConfig",
    "Device",
    "EngineOptions",
    "Format",
    "Gpu",
    "Host",
    "Json",
    "Latency",
    "LaunchMode",
    "ModelConfig",
    "ModelPlan",
    "OutputModel",
    "Plan",
    "Precision",
    "PrecisionMode",
    "Properties",
    "Report",
    "RunConfig",
    "SampleInfo",
    "Seconds",
    "ShapeProfile",
    "Signature",
    "SourceModel",
    "State",
    "Status",
    "Step",
    "StepOptions",
    "TensorRTConfig",
    "TensorSpec",
    "Tolerances",
    "Verdict",
    "WorstElement",
    "from_data",
    "to_data",
]
