"""What a machine has."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU, as its driver names it."""

    index: int
    uuid: str
    name: str
    compute_capability: str
    memory_bytes: int
    driver_version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """What this machine has; `versions` maps an installed distribution to its version.

    `docker` is the version of the Docker daemon that answers, "" where none does or nobody asked. `notes` are
    sentences about what could not be found out, such as a GPU whose driver does not answer.
    """

    python: str
    system: str
    cpu: str
    cpu_count: int
    memory_bytes: int
    gpus: tuple[Gpu, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    docker: str = ""
    notes: tuple[str, ...] = ()
