"""What is verified: an artifact and what it's compared with."""

from dataclasses import dataclass
from pathlib import Path

from navigator.cache.digests import artifact_digest, size_bytes
from navigator.cache.remembered import Remembered
from navigator.engine.outcomes import Artifact, Reference, Verified
from navigator.engine.schedule import ModelState
from navigator.models.reading import Watch
from navigator.records import (
    Device,
    Format,
    Json,
    ModelConfig,
    OutputModel,
    Precision,
    SampleInfo,
    Seconds,
    Step,
    to_data,
)
from navigator.runners import RUNNERS
from navigator.runners.protocol import read_by
from navigator.verify.outputs import Outputs


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What is verified: the artifact of a step of a model, against the model's reference.

    `origin` is the file that the artifact was made from. `together` is whether the source model runs in the same
    environment. `onnx` is the ONNX file that computes in the artifact's precision: itself, or what an engine was built
    from.
    """

    model: ModelConfig
    step: Step
    artifact: Artifact
    reference: Reference
    origin: Path
    together: bool = False
    onnx: Path | None = None

    @property
    def calibrated(self) -> bool:
        """Whether scales were measured on samples."""
        return bool(self.artifact.properties.calibrated)

    @property
    def weights_of(self) -> tuple[Format, Path] | None:
        """The format and the file that its weights are to be from; None if they aren't compared.

        In a reduced precision, that's the ONNX file that it's made from, whose own weights have been compared already.
        """
        copied = self.artifact.properties.exporter == "copied"
        if not self.model.compare_weights or self.step.target_format is not Format.ONNX or copied:
            return None
        if self.step.precision is not Precision.FP32:
            return Format.ONNX, self.origin
        source = self.model.model_format
        return (source, self.model.model_path) if source is not None and self.together else None

    @property
    def unsearchable(self) -> str:
        """Why no disagreement is searched for, or ""."""
        if self.step.precision is not Precision.FP32:
            return "the error of a reduced precision depends on the inputs"
        if self.artifact.properties.exporter == "copied":
            return "it's a copy"
        if self.reference.unstable:
            return "the source model keeps a state"
        if not self.together:
            return "the source model runs in another environment"
        return ""

    @property
    def infos(self) -> tuple[SampleInfo, ...]:
        """The samples and what they were used for."""
        reference = self.reference
        if not self.calibrated:
            return reference.infos
        held_out = [each for each in reference.infos if each.name in reference.held_out or each.refused]
        rolled = [each for each in reference.infos if reference.rolled and each.name in reference.rolled.noise]
        return (*reference.calibration_infos, *(held_out if reference.held_out else ()), *rolled)

    def compared(self, outputs: Outputs) -> Outputs:
        """Return the outputs of the samples to compare: those that it wasn't calibrated on, if there are any."""
        held_out = [each for each in outputs if each[0] in self.reference.held_out]
        return held_out if self.calibrated and held_out else outputs

    def output_model(self, watch: Watch, remembered: Remembered) -> OutputModel:
        """Return the artifact for the report."""
        directory = self.artifact.path.parent
        return OutputModel(
            name=f"{self.model.model_name}.{self.step.label}",
            path=self.artifact.path,
            format=self.step.target_format,
            size_bytes=size_bytes(directory),
            sha256=artifact_digest(directory, watch, remembered),
            properties=self.artifact.properties,
        )

    def verified(self, watch: Watch, remembered: Remembered) -> Verified:
        """Return the result before it is run."""
        return Verified(
            output_model=self.output_model(watch, remembered),
            expected_outputs=tuple(spec.name for spec in self.reference.signature.outputs),
            infos=self.infos,
            seconds=Seconds(convert=self.artifact.seconds),
            peak_memory_bytes=self.artifact.peak_memory_bytes,
        )


def subject_of(model: ModelState, label: str) -> Subject:
    """Return what is verified of a step whose artifact and reference are there."""
    artifact, step = model.outcomes[label], model.step(label)
    assert isinstance(artifact, Artifact)
    assert isinstance(model.reference, Reference)
    origin = model.artifact(step.parent)
    assert origin is not None
    return Subject(
        model=model.plan.config,
        step=step,
        artifact=artifact,
        reference=model.reference,
        origin=origin,
        together=step.image == model.plan.image,
        onnx=artifact.path if step.target_format is Format.ONNX else origin,
    )


def loading(subject: Subject, device: Device) -> dict[str, Json]:
    """Return how a worker loads the artifact."""
    step = subject.step
    return {
        "format": step.target_format,
        "path": str(subject.artifact.path),
        "declared": to_data(subject.reference.signature),
        "signature_name": subject.model.signature_name,
        "device": device,
        "options": to_data(read_by(RUNNERS[step.target_format], step.options)),
    }
