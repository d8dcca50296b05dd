"""Where results come from, and which part of a configuration they cover."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What was converted, and the job that converted it.

    `commit` is a full SHA, in GitHub Actions the one that a status is set on (`navigator.github.event.Event.sha`)
    unless the command line converts another one there; "" outside a repository. `merge_commit` is what was checked out
    if that merges `commit` into its base, as `actions/checkout` takes it for a pull request, else "". `modified` tells
    whether tracked files differed from what is checked out, None if unknown. `event`, `run_id` and `run_attempt` are
    GitHub's; "" and None elsewhere. `config_path` is relative to the repository if it's inside, None without a file.
    `config_sha256` is `navigator.config.digest`.
    """

    commit: str = ""
    merge_commit: str = ""
    modified: bool | None = None
    event: str = ""
    run_id: int | None = None
    run_attempt: int | None = None
    config_path: str | None = None
    config_sha256: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The part of a configuration that a run converts.

    `models` and `conversions` are the globs of the filters, () without. `left_out` has the labels of the conversions
    that filters and shard leave out, by model, without intermediate ones.
    """

    models: tuple[str, ...] = ()
    conversions: tuple[str, ...] = ()
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
