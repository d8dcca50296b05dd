"""The inputs of action.yml, as a frozen value, and the names of its outputs.

Owns defaults, choices and limits; action.yml repeats the defaults for users, and a test compares. The input `token` is
no part of this: `navigator.action.secrets` takes it away first.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from navigator.config.schema import nearest
from navigator.errors import ConfigurationError, quote

CHOICES: Mapping[str, tuple[str, ...]] = {
    "command": ("validate", "plan", "convert", "report", "release"),
    "comment": ("always", "change", "failure", "never"),
    "artifacts": ("none", "converted", "all"),
    "fail_on": ("failure", "error", "never"),
}

RANGES: Mapping[str, tuple[int, int]] = {
    # GitHub runs at most 256 jobs of a matrix.
    "max_shards": (1, 256),
    # Public repositories keep 90 days, private ones as many as their owner allows.
    "retention_days": (1, 400),
    "compression_level": (0, 9),
    "run_id": (1, 2**63 - 1),
}

_PROTOCOLS = {"7": 7, "4": 4}
_FLAGS = {"true": True, "false": False}
_NOT_IN_ARTIFACT_NAMES = '":<>|*?\\/\r\n'

T = TypeVar("T")

OUTPUTS = (
    "status",
    "exit_code",
    "total",
    "passed",
    "failures",
    "results_path",
    "summary_path",
    "models_path",
    "results",
    "artifact_id",
    "artifact_url",
    "artifact_digest",
    "results_artifact_id",
    "comment_url",
    "matrix",
    "shards",
    "release_url",
)
"""The outputs of action.yml, in its order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What the workflow says under `with:`; action.yml describes each. "" and None stand for what is not given."""

    command: str = "convert"
    config: str = "navigator.yaml"
    models: tuple[str, ...] = ()
    conversions: tuple[str, ...] = ()
    shard: str = ""
    max_shards: int = 16
    workspace_path: str = ""
    cache_path: str = ""
    comment: str = "always"
    status: bool = True
    status_context: str = "model-navigator"
    check_run: bool = False
    summary: bool = True
    annotations: bool = True
    artifacts: str = "converted"
    artifact_name: str = "model-navigator"
    artifact_archive: bool = True
    artifact_protocol: int = 7
    retention_days: int | None = None
    compression_level: int = 1
    overwrite: bool = True
    fail_on: str = "failure"
    docker: bool = False
    verbose: bool = False
    matrix: str = ""
    run_id: int | None = None
    tag: str = ""
    draft: bool = False


_DEFAULTS = Inputs()


def read_inputs(environment: Mapping[str, str]) -> Inputs:
    """Return the inputs that the runner gives as INPUT_<NAME>; one that is empty has its default.

    Raises:
        ConfigurationError: says all that is wrong, with the input, its value, and what it may be.
    """
    reading = _Reading(environment)
    inputs = Inputs(
        command=reading.choice("command"),
        config=reading.text("config"),
        models=reading.globs("models"),
        conversions=reading.globs("conversions"),
        shard=reading.shard("shard"),
        max_shards=reading.integer("max_shards", _DEFAULTS.max_shards),
        workspace_path=reading.text("workspace_path"),
        cache_path=reading.text("cache_path"),
        comment=reading.choice("comment"),
        status=reading.flag("status"),
        status_context=reading.text("status_context"),
        check_run=reading.flag("check_run"),
        summary=reading.flag("summary"),
        annotations=reading.flag("annotations"),
        artifacts=reading.choice("artifacts"),
        artifact_name=reading.artifact_name("artifact_name"),
        artifact_archive=reading.flag("artifact_archive"),
        artifact_protocol=reading.protocol("artifact_protocol"),
        retention_days=reading.integer("retention_days", _DEFAULTS.retention_days),
        compression_level=reading.integer("compression_level", _DEFAULTS.compression_level),
        overwrite=reading.flag("overwrite"),
        fail_on=reading.choice("fail_on"),
        docker=reading.flag("docker"),
        verbose=reading.flag("verbose"),
        matrix=reading.text("matrix"),
        run_id=reading.integer("run_id", _DEFAULTS.run_id),
        tag=reading.text("tag"),
        draft=reading.flag("draft"),
    )
    if reading.problems:
        raise ConfigurationError("\n".join(reading.problems), "correct them under `with:` of the step")
    return inputs


class _Reading:
    """Reads inputs one by one and collects what is wrong; a wrong one has its default meanwhile."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.problems: list[str] = []
        self._environment = environment

    def text(self, name: str) -> str:
        return self._written(name) or str(getattr(_DEFAULTS, name))

    def globs(self, name: str) -> tuple[str, ...]:
        return tuple(each for each in re.split(r"[\s,]+", self._written(name)) if each)

    def flag(self, name: str) -> bool:
        return self._one_of(name, _FLAGS, self._written(name).lower())

    def choice(self, name: str) -> str:
        return self._one_of(name, {choice: choice for choice in CHOICES[name]}, self._written(name))

    def protocol(self, name: str) -> int:
        return self._one_of(name, _PROTOCOLS, self._written(name))

    def integer(self, name: str, default: T) -> int | T:
        written = self._written(name)
        smallest, largest = RANGES[name]
        if not written:
            return default
        if re.fullmatch(r"[0-9]{1,19}", written) and smallest <= int(written) <= largest:
            return int(written)
        self._wrong(name, f"is not an integer from {smallest} to {largest}")
        return default

    def shard(self, name: str) -> str:
        written = self._written(name)
        found = re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})", written)
        most = RANGES["max_shards"][1]
        if found and 1 <= int(found[1]) <= int(found[2]) <= most:
            return f"{int(found[1])}/{int(found[2])}"
        if written:
            self._wrong(name, f"is no part of a whole such as 3/7, at most {most}/{most}")
        return ""

    def artifact_name(self, name: str) -> str:
        if set(_NOT_IN_ARTIFACT_NAMES) & set(self._written(name)):
            self._wrong(name, f"must hold none of {' '.join(_NOT_IN_ARTIFACT_NAMES.strip())} and no line break")
        return self.text(name)

    def _written(self, name: str) -> str:
        return self._environment.get(f"INPUT_{name.upper()}", "").strip()

    def _one_of(self, name: str, values: Mapping[str, T], written: str) -> T:
        if written and written not in values:
            meant = nearest(written, [*values])
            self._wrong(name, f"is not one of {', '.join(values)}" + (f"; did you mean {meant}?" if meant else ""))
        default: T = getattr(_DEFAULTS, name)
        return values.get(written, default)

    def _wrong(self, name: str, why: str) -> None:
        self.problems.append(f"the input `{name}`: {quote(self._written(name))} {why}")
