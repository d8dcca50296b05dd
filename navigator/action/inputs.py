"""The inputs of action.yml, as a frozen value, and the names of its outputs.

A field's type says how its input is read and what it may be; action.yml repeats the defaults for users, and a test
compares. The input `token` is no part of this: `navigator.action.secrets` takes it away first.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from navigator.config.schema import nearest
from navigator.errors import ConfigurationError, one_line, quote

_MOST_SHARDS = 256
"""The most jobs of a matrix that GitHub runs."""
_NOT_IN_ARTIFACT_NAMES = '":<>|*?\\/\r\n'

T = TypeVar("T")

OUTPUTS = (
    "status",
    "exit_code",
    "total",
    "passed",
    "failures",
    "coverage",
    "results_path",
    "summary_path",
    "page_path",
    "models_path",
    "results",
    "badge",
    "artifact_name",
    "artifact_id",
    "artifact_url",
    "artifact_digest",
    "results_artifact_id",
    "artifacts",
    "comment_url",
    "matrix",
    "shards",
    "release_url",
)
"""The outputs of action.yml, in its order."""


@dataclass(frozen=True, slots=True)
class Between:
    """Reads an integer within limits."""

    smallest: int
    largest: int

    def __call__(self, written: str) -> int:
        if re.fullmatch(r"[0-9]{1,19}", written) and self.smallest <= int(written) <= self.largest:
            return int(written)
        raise ValueError(f"isn't an integer from {self.smallest} to {self.largest}")


def _shard(written: str) -> str:
    found = re.fullmatch(r"([0-9]{1,3})/([0-9]{1,3})", written)
    if found and 1 <= int(found[1]) <= int(found[2]) <= _MOST_SHARDS:
        return f"{int(found[1])}/{int(found[2])}"
    raise ValueError(f"isn't a shard such as 3/7, up to {_MOST_SHARDS}/{_MOST_SHARDS}")


def _lines(written: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in written.splitlines() if line.strip())


def _artifact_name(written: str) -> str:
    if set(_NOT_IN_ARTIFACT_NAMES) & set(written):
        raise ValueError(f"can't contain {' '.join(_NOT_IN_ARTIFACT_NAMES.strip())} or a line break")
    return written


@dataclass(frozen=True, kw_only=True, slots=True)
class Inputs:
    """What the workflow says under `with:`; action.yml describes each. "" and None stand for what is not given.

    A name that Python has for itself ends with an underscore here.
    """

    command: Literal["validate", "plan", "convert", "report", "release", "rehearse"] = "convert"
    config: str = "navigator.yaml"
    models: tuple[str, ...] = ()
    conversions: tuple[str, ...] = ()
    shard: Annotated[str, _shard] = ""
    max_shards: Annotated[int, Between(1, _MOST_SHARDS)] = 16
    workspace_path: str = ""
    cache_path: str = ""
    comment: Literal["always", "change", "failure", "never"] = "always"
    status: bool = True
    status_context: str = ""
    check_run: bool = False
    summary: bool = True
    annotations: bool = True
    artifacts: Literal["none", "converted", "all"] = "converted"
    artifact_name: Annotated[str, _artifact_name] = ""
    artifact_archive: bool = True
    artifact_protocol: Literal[7, 4] = 7
    # Public repositories keep 90 days, private ones as many as their owner allows.
    retention_days: Annotated[int | None, Between(1, 400)] = None
    compression_level: Annotated[int, Between(0, 9)] = 1
    overwrite: bool = True
    baseline: str = "auto"
    with_: Annotated[tuple[str, ...], _lines] = ()
    fail_on: Literal["failure", "regression", "error", "never"] = "failure"
    docker: bool = False
    verbose: bool = False
    matrix: str = ""
    allow_partial: bool = False
    run_id: Annotated[int | None, Between(1, 2**63 - 1)] = None
    tag: str = ""
    draft: bool = False


class InvalidInputsError(ConfigurationError):
    """All that is wrong with the inputs. As text it has one line a problem, and the hint on the last.

    Attributes:
        inputs: the others, and the defaults of those that are wrong.
    """

    def __init__(self, problems: Sequence[str], inputs: Inputs) -> None:
        super().__init__("\n".join(map(one_line, problems)), "fix them under `with:` of the step")
        self.inputs = inputs

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}"


def read_inputs(environment: Mapping[str, str]) -> Inputs:
    """Return the inputs that the runner gives as INPUT_<NAME>; one that is empty has its default.

    Raises:
        InvalidInputsError: says all that is wrong, with the input, its value, and what it may be.
    """
    values: dict[str, Any] = {}
    problems = []
    for name, kind in get_type_hints(Inputs, include_extras=True).items():
        written = environment.get(f"INPUT_{name.rstrip('_').upper()}", "").strip()
        if not written:
            continue
        try:
            values[name] = _read(kind, written)
        except ValueError as error:
            problems.append(f"the input `{name.rstrip('_')}`: {quote(written)} {error}")
    if problems:
        raise InvalidInputsError(problems, Inputs(**values))
    return Inputs(**values)


def _read(kind: Any, written: str) -> Any:
    """Return a value of the type of a field. ValueError says, after the value, what is wrong with it."""
    if get_origin(kind) is Annotated:
        read = get_args(kind)[1]
        return read(written)
    if get_origin(kind) is Literal:
        return _one_of({str(value): value for value in get_args(kind)}, written)
    if get_origin(kind) is tuple:
        return tuple(each for each in re.split(r"[\s,]+", written) if each)
    if kind is bool:
        return _one_of({"true": True, "false": False}, written.lower())
    return written


def _one_of(values: Mapping[str, T], written: str) -> T:
    if written in values:
        return values[written]
    meant = nearest(written, [*values])
    raise ValueError(f"isn't one of {', '.join(values)}" + (f"; did you mean {meant}?" if meant else ""))
