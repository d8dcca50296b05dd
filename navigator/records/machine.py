"""Describes a machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from navigator.records.codec import Count


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """A GPU, as its driver describes it."""

    index: Count
    uuid: str
    name: str
    compute_capability: str
    memory_bytes: Count
    driver_version: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """This machine; `versions` maps installed distributions to their versions.

    `docker` is the version of the Docker daemon, "" if it isn't reachable or wasn't needed. `notes` are messages about
    facts that are unknown, such as a GPU whose driver doesn't answer.
    """

    python: str
    system: str
    cpu: str
    cpu_count: Count
    memory_bytes: Count
    gpus: tuple[Gpu, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    docker: str = ""
    notes: tuple[str, ...] = ()
