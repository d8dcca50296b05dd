"""What a verification is about: an artifact, and the source model's outputs that it's compared with."""

from dataclasses import dataclass

import numpy as np

from navigator.cache.digests import artifact_digest, size_bytes
from navigator.engine.outcomes import Artifact, Reference, Verified
from navigator.models.reading import Watch
from navigator.records import ModelConfig, OutputModel, SampleInfo, Seconds, Step

Outputs = list[tuple[str, dict[str, np.ndarray]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What is verified: the artifact of a step of a model, against the model's reference.

    `together` is whether the source model runs in the same environment.
    """

    model: ModelConfig
    step: Step
    artifact: Artifact
    reference: Reference
    together: bool = False

    @property
    def calibrated(self) -> bool:
        """Whether scales were measured on samples."""
        return bool(self.artifact.properties.calibrated)

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

    def output_model(self, watch: Watch) -> OutputModel:
        """Return the artifact for the report."""
        directory = self.artifact.path.parent
        return OutputModel(
            name=f"{self.model.model_name}.{self.step.label}",
            path=self.artifact.path,
            format=self.step.target_format,
            size_bytes=size_bytes(directory),
            sha256=artifact_digest(directory, watch),
            properties=self.artifact.properties,
        )

    def verified(self, watch: Watch) -> Verified:
        """Return the result before it is run."""
        return Verified(
            output_model=self.output_model(watch),
            expected_outputs=tuple(spec.name for spec in self.reference.signature.outputs),
            infos=self.infos,
            seconds=Seconds(convert=self.artifact.seconds),
            peak_memory_bytes=self.artifact.peak_memory_bytes,
        )
