"""The cache entries of steps: the keys of artifacts and verdicts, and what is stored under them.

A key is made from everything that an artifact or verdict depends on, so that equal keys can share one.
"""

import os
import platform
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache as once
from pathlib import Path

from navigator.cache.digests import combined, digest, identity
from navigator.cache.earlier import Earlier
from navigator.cache.layers import Layers
from navigator.cache.remembered import Remembered
from navigator.converters import CONVERTERS
from navigator.engine.outcomes import Artifact, Failure, Verified
from navigator.engine.workspace import Workspace
from navigator.host.docker import docker_image_id
from navigator.models.files import files_of
from navigator.records import (
    Host,
    InvalidRecordError,
    Json,
    Latency,
    ModelConfig,
    ModelPlan,
    OutputModel,
    Properties,
    SampleInfo,
    State,
    Step,
    Verdict,
    from_data,
    to_data,
)
from navigator.runners import RUNNERS
from navigator.workers.environment import result_affecting
from navigator.workers.own_code import COMPUTING, code_files

# What converters and runners compute with beside what they name themselves.
_SHARED = ("numpy", "ml-dtypes", "protobuf", "onnx", "onnx-ir", "onnxruntime", "keras", "tf-keras")

# What a verdict depends on in addition to the workers.
_JUDGING = ("verify", "engine")


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """The cache keys of a step: of its artifact, and of its verdict, which also depends on the artifact's bytes."""

    artifact: str
    verdict: str

    def verdict_on(self, sha256: str) -> str:
        """Return the key of the verdict on an artifact with this digest.

        Exporters write different bytes in every run, and an artifact may be evicted and created again.
        """
        return identity([self.verdict, sha256])


@dataclass(frozen=True, kw_only=True, slots=True)
class _Made:
    """What is stored of an artifact in addition to its files."""

    properties: Properties


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judged:
    """What is stored of a verified artifact in addition to its files."""

    output_model: OutputModel
    expected_outputs: tuple[str, ...]
    infos: tuple[SampleInfo, ...]
    verdict: Verdict
    failure: Failure | None
    latencies: tuple[Latency, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Basis:
    """What the keys of all steps of a model depend on."""

    plan: ModelPlan
    host: Host
    source: Json
    samples: Json
    tools: Mapping[str, Json]
    taken: Callable[[Path], str]

    @property
    def found(self) -> str:
        """Return the key of what running the source model told of its inputs."""
        tools = {**self.tools, **_versions(RUNNERS[self.plan.source_format].DISTRIBUTIONS, self.host)}
        return identity({"found": tools, "source": self.source, "samples": self.samples})

    def artifact(self, step: Step, parent: str | None) -> str:
        """Return the key of a step's artifact, made from the artifact with the key `parent`."""
        converter = CONVERTERS[step.converter]
        return identity(
            {
                "tools": {**self.tools, **_versions(converter.DISTRIBUTIONS, self.host)},
                "source": parent or self.source,
                "step": to_data([step.converter, step.options, step.raise_from]),
                "samples": self.samples if converter.NEEDS_SAMPLES else None,
                "gpus": to_data(self.plan.gpus) if converter.NEEDS_GPU else None,
                "files": [self.taken(path) for path in step.options.files],
                "image": _image(step.image),
            }
        )

    def verdict(self, step: Step, artifact: str) -> str:
        """Return the key of the verdict on the artifact with the key `artifact`."""
        model, host = self.plan.config, self.host
        runners = (RUNNERS[self.plan.source_format], RUNNERS[step.target_format])
        distributions = tuple(name for each in runners for name in each.DISTRIBUTIONS)
        return identity(
            {
                "tools": {**self.tools, **_versions(distributions, host)},
                "machine": [host.cpu, to_data(host.gpus)],
                "source": self.source,
                "artifact": artifact,
                "judge": _code(_JUDGING),
                "samples": self.samples,
                "states": to_data([model.states, model.state_steps]),
                "tolerances": to_data([model.atol, model.rtol, *_reduced(model)]),
                "metric": _metric(model, self.taken),
                "search": model.search_seconds,
                "weights": model.compare_weights,
                "devices": step.devices,
                "images": [_image(self.plan.image), _image(step.image)],
            }
        )


def keys(
    plan: ModelPlan,
    host: Host,
    sha256: str,
    memory_limit_bytes: int | None = None,
    taken: Callable[[Path], str] = digest,
) -> tuple[dict[str, Keys], str]:
    """Return the cache keys of every step: everything that an artifact or a verdict depends on.

    And the key of what running the source model told of its inputs.

    Args:
        plan: the model's plan.
        host: the machine.
        sha256: the model's `navigator.cache.digests.model_digest`.
        memory_limit_bytes: memory limit of a worker, since samples are made to fit.
        taken: returns the digest of a file.

    Raises:
        ConfigurationError, OSError, DeadlineError, StoppedError: a sample can't be read; see `digest`.
    """
    model = plan.config
    basis = _Basis(
        plan=plan,
        host=host,
        source={
            "model": sha256,
            "format": plan.source_format,
            "signature": to_data([model.inputs, model.outputs, model.signature_name, model.arguments]),
        },
        samples=_samples(model, host, memory_limit_bytes, taken),
        tools={
            "navigator": _code(COMPUTING),
            "python": host.python,
            "machine": platform.machine(),
            "environment": result_affecting(os.environ),
            **_versions(_SHARED, host),
        },
        taken=taken,
    )
    found: dict[str, Keys] = {}
    for step in plan.steps:
        artifact = basis.artifact(step, found[step.parent].artifact if step.parent is not None else None)
        found[step.label] = Keys(artifact=artifact, verdict=basis.verdict(step, artifact))
    return found, basis.found


def recall(
    plan: ModelPlan, step: Step, key: Keys, earlier: Earlier, *, cache: Layers, workspace: Workspace
) -> Artifact | Verified | None:
    """Return the cached result of a step, with its files restored: the verified artifact, the artifact, or None.

    What an entry says is checked: it may be another program's.
    """
    model = plan.config
    path = workspace.artifact(model.model_name, step)
    restored = cache.restore(key.artifact, path.parent, earlier)
    if restored is None:
        return None
    found, digests = restored
    try:
        properties = from_data(_Made, found).properties
    except InvalidRecordError:
        workspace.remove_artifact(model.model_name, step.label)
        return None
    artifact = Artifact(path=path, properties=properties, seconds=0.0, peak_memory_bytes=0, cached=True)
    sha256 = combined(digests)
    kept = cache.get(key.verdict_on(sha256), None)
    if kept is None:
        return artifact
    try:
        judged = from_data(_Judged, kept)
    except InvalidRecordError:
        return artifact
    return Verified(
        output_model=replace(judged.output_model, name=f"{model.model_name}.{step.label}", path=path, sha256=sha256),
        expected_outputs=judged.expected_outputs,
        infos=judged.infos,
        verdict=judged.verdict,
        failure=judged.failure,
        latencies=judged.latencies,
        cached=True,
    )


def remember(key: Keys, verified: Verified, artifact: Artifact, *, cache: Layers, remembered: Remembered) -> None:
    """Store a verified artifact in the cache, or one that this machine can't run.

    An artifact that did not pass is created again in the next run.
    """
    unverified = verified.failure is not None and verified.failure.state is State.UNVERIFIED
    if not verified.passed and not unverified:
        return
    if not artifact.cached:
        made = to_data(_Made(properties=artifact.properties))
        cache.put(key.artifact, made, artifact.path.parent, _known(artifact, verified, remembered))
    judged = _Judged(
        output_model=verified.output_model,
        expected_outputs=verified.expected_outputs,
        infos=verified.infos,
        verdict=verified.verdict,
        failure=verified.failure,
        latencies=verified.latencies,
    )
    cache.put(key.verdict_on(verified.output_model.sha256), to_data(judged), None)


def _known(artifact: Artifact, verified: Verified, remembered: Remembered) -> dict[str, str]:
    """Return the digests of an artifact's files that are known, by name."""
    files = dict(files_of(artifact.path.parent))
    if len(files) == 1:
        return dict.fromkeys(files, verified.output_model.sha256)
    return {name: found for name, path in files.items() if (found := remembered.known(path))}


@once
def _image(name: str | None) -> str | None:
    """Return the id of a container image, since a tag may change; a random value if the image isn't here."""
    return None if name is None else docker_image_id(name) or f"unknown {secrets.token_hex(16)}"


def _reduced(model: ModelConfig) -> list[Json]:
    tolerated = [model.fp16_atol, model.fp16_rtol, model.int8_atol, model.int8_rtol]
    return [*tolerated, model.fp16_gates, model.int8_gates, model.scores, model.top_k]


def _metric(model: ModelConfig, taken: Callable[[Path], str]) -> Json:
    """Return what the verdict of the user's metric depends on beside the samples, None without one."""
    if model.metric is None:
        return None
    where = model.metric
    return [taken(where.path), where.function, model.metric_lower_is_better, model.quality]


def _samples(model: ModelConfig, host: Host, memory_limit_bytes: int | None, taken: Callable[[Path], str]) -> Json:
    """Return what a model's samples depend on, including memory, since they are made to fit."""
    return {
        "shapes": to_data([model.min_shapes, model.opt_shapes, model.max_shapes, model.max_batch_size]),
        "probe": model.probe,
        "values": to_data([model.value_ranges, model.dtypes, model.random_seed]),
        "files": [[path.stem, taken(path)] for path in model.samples],
        "calibration": [[path.stem, taken(path)] for path in model.calibration_samples],
        "memory": [round(host.memory_bytes / 2**30), memory_limit_bytes],
    }


@once
def _code(parts: tuple[str, ...]) -> str:
    """Return what identifies the source code, since the version number doesn't change with every fix."""
    return identity([[name, digest(path)] for name, path in code_files(parts).items()])


def _versions(distributions: tuple[str, ...], host: Host) -> dict[str, str]:
    return {name: host.versions.get(name, "") for name in distributions}
