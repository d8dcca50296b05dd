"""The edges of the TensorRT family: in the graph, so that every plan shows them; not built by this version.

Each is an `Engine` value: it says what it leads from and to, and that it is unavailable.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from navigator.converters.protocol import Conversion, Unavailable
from navigator.errors import StepError
from navigator.records import Format, Host, Json


@dataclass(frozen=True, slots=True)
class Engine:
    """A converter (see `navigator.converters.protocol`) that is planned and cannot run yet."""

    SOURCE: Format
    TARGET: Format
    DISTRIBUTIONS: tuple[str, ...]
    PRELOAD: tuple[str, ...] = ()
    NEEDS_SAMPLES: bool = True

    def unavailable(self, host: Host) -> Unavailable | None:
        """Say that no version builds it yet, and what else this machine would lack."""
        lacking = [] if host.gpus or self.TARGET is Format.TRT_RTX else ["an NVIDIA GPU"]
        lacking += [name for name in self.DISTRIBUTIONS if name not in host.versions]
        also = f"; this machine would also lack: {', '.join(lacking)}" if lacking else ""
        return Unavailable(
            reason=f"{self.TARGET} engines are planned but not built by this version{also}",
            remedy="leave the format out of target_formats",
        )

    def convert(self, conversion: Conversion) -> Mapping[str, Json]:
        """Refuse: the plan never gets here."""
        raise StepError(f"{conversion.destination.name}: {self.TARGET} engines are not built by this version")


ONNX_TO_TRT = Engine(Format.ONNX, Format.TRT, ("tensorrt",))
ONNX_TO_TRT_RTX = Engine(Format.ONNX, Format.TRT_RTX, ("tensorrt-rtx-cu13",))
TORCHSCRIPT_TO_TORCH_TRT = Engine(Format.TORCHSCRIPT, Format.TORCH_TRT, ("torch-tensorrt",))
TF_SAVEDMODEL_TO_TF_TRT = Engine(Format.TF_SAVEDMODEL, Format.TF_TRT, ("tensorflow", "tensorrt"))
