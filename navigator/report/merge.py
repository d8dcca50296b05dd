"""Merges the reports of shards into one that has every planned conversion. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from navigator.errors import ConfigurationError
from navigator.plan.shards import Shard, parse, read_matrix
from navigator.records import CellResult, Host, Json, Report, SourceModel, State, Status, Tolerances
from navigator.report import report
from navigator.report.origin import agreed, selected

_WORST_FIRST = (
    State.CRASHED,
    State.TIMED_OUT,
    State.FAILED,
    State.MISMATCHED,
    State.BLOCKED,
    State.CANCELLED,
    State.UNAVAILABLE,
    State.UNVERIFIED,
    State.NOT_APPLICABLE,
    State.PASSED,
)

# If no shard has results, the machines are unknown.
_UNKNOWN = Host(python="", system="", cpu="", cpu_count=1, memory_bytes=0)

# How many items a message names.
_NAMED = 5

_Key = tuple[str, str]


def merge(reports: Sequence[Report], matrix: Json = None, *, allow_partial: bool = False) -> Report:
    """Return one report of all `reports`, in the order of their shards.

    A conversion in several reports counts once, with its worst state; a planned one without a report is `cancelled`.
    The environment is that of the first report; notes say how machines differ. Shards run in parallel, so `seconds` is
    that of the longest.

    Args:
        reports: of shards ("3/7"), or of complete runs; empty only with `matrix`.
        matrix: from `navigator.plan.shards.matrix`; if None, only the numbers of the shards show which are missing.
        allow_partial: without a matrix, missing shards don't make the report incomplete; they're left out.

    Raises:
        ConfigurationError: there is nothing to merge, the reports are of different runs, commits or configurations, or
            `matrix` is invalid.
    """
    planned = () if matrix is None else read_matrix(matrix)
    count = _count(reports, planned)
    origin = agreed(reports)
    ordered = sorted(reports, key=_place)
    missing = _missing(ordered, planned, count)
    results, notes = _results(ordered, planned, frozenset(missing))
    if missing:
        names = f"shard{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
        notes = (f"{names} reported no results: check the job and run it again", *notes)
    first = ordered[0].environment if ordered else _UNKNOWN
    notes = (*notes, *_machines(ordered))
    notes = (*notes, *(note for each in ordered for note in each.notes))
    elsewhere = (note for each in ordered for note in each.environment.notes if note not in first.notes)
    return report.build(
        first,
        results,
        notes=tuple(dict.fromkeys((*notes, *elsewhere))),
        found=tuple({each.model_name: each for report_ in reversed(ordered) for each in report_.found}.values()),
        seconds=max((each.seconds for each in ordered), default=0.0),
        complete=(not missing or (allow_partial and matrix is None)) and all(each.complete for each in ordered),
        origin=origin,
        selection=selected(ordered, results),
        rules=next((each.rules for each in ordered if each.rules is not None), None),
        timeline=ordered[0].timeline if len(ordered) == 1 else (),
        models=tuple({given.model_name: given for each in reversed(ordered) for given in each.models}.values()),
    )


def _place(each: Report) -> tuple[int, int]:
    return parse(each.shard or "1/1")


def _count(reports: Sequence[Report], planned: Sequence[Shard]) -> int:
    """Return the number of shards of the run."""
    if not reports and not planned:
        raise ConfigurationError("there are no results to merge", "name the files or directories that `convert` wrote")
    versions = {each.version for each in reports}
    if len(versions) > 1:
        raise ConfigurationError(
            f"can't merge results of versions {', '.join(map(str, sorted(versions)))}",
            "use one version of model-navigator for all shards",
        )
    counts = {_place(each)[1] for each in reports} | {parse(each.shard)[1] for each in planned}
    if len(counts) > 1:
        raise ConfigurationError(
            f"can't merge results of runs with {' and '.join(map(str, sorted(counts)))} shards",
            "merge the results of one run only: all jobs take their --shard from the same plan",
        )
    return counts.pop()


def _missing(reports: Sequence[Report], planned: Sequence[Shard], count: int) -> tuple[str, ...]:
    """Return the shards without a report. Trusts a matrix that was written by hand."""
    expected = [each.shard for each in planned] or [f"{index}/{count}" for index in range(1, count + 1)]
    there = {each.shard or "1/1" for each in reports}
    return tuple(each for each in dict.fromkeys(expected) if each not in there)


def _results(
    reports: Sequence[Report], planned: Sequence[Shard], missing: frozenset[str]
) -> tuple[tuple[CellResult, ...], tuple[str, ...]]:
    """Return every conversion once, and notes about those that are in several reports."""
    found: dict[_Key, CellResult] = {}
    differing: dict[str, None] = {}
    for each in (result for one in reports for result in one.results):
        key = (each.model_name, each.conversion)
        other = found.setdefault(key, each)
        if each.status.state is not other.status.state:
            differing["/".join(key)] = None
            found[key] = min(other, each, key=lambda result: _WORST_FIRST.index(result.status.state))
    sources = {each.model_name: each.source_model_config for each in found.values() if each.source_model_config}
    # An intermediate conversion is only shown on machines that can run those that depend on it.
    known = {(name, label) for (name, _), each in found.items() for label in (each.conversion, *each.steps)}
    absent = [
        _cancelled(cell, shard.shard, sources, missing)
        for shard in planned
        for cell in shard.conversions or ()
        if _key(cell) not in known
    ]
    notes = (f"two reports differ on {_some(differing)}: the worse result counts",) if differing else ()
    return (*found.values(), *absent), notes


def _cancelled(cell: str, shard: str, sources: Mapping[str, SourceModel | None], missing: frozenset[str]) -> CellResult:
    name, label = _key(cell)
    message, remedy = f"shard {shard} reported no results", "check the job of that shard and run it again"
    if shard not in missing:
        message = f"shard {shard} has no result for this planned conversion"
        remedy = "use the same configuration and the same filters for `plan` and `convert`"
    return CellResult(
        model_name=name,
        conversion=label,
        status=Status(state=State.CANCELLED, message=message),
        source_model_config=sources.get(name),
        conversion_config=None,
        comparator_config=Tolerances(atol={}, rtol={}),
        remedy=remedy,
    )


def _key(cell: str) -> _Key:
    name, _, label = cell.partition("/")
    return name, label


def _machines(reports: Sequence[Report]) -> tuple[str, ...]:
    """Return notes about reports from other machines than the first, and their differences."""
    groups: dict[str, list[str]] = {}
    for index, each in enumerate(reports):
        what = _differences(reports[0].environment, each.environment)
        if what:
            groups.setdefault(what, []).append(f"shard {each.shard}" if each.shard else f"report {index + 1}")
    return tuple(f"{_some(names)} ran on a different machine: {what}" for what, names in groups.items())


def _differences(one: Host, other: Host) -> str:
    gpus = [", ".join(gpu.name for gpu in host.gpus) or "no GPU" for host in (one, other)]
    found = [f"{gpus[1]} instead of {gpus[0]}"] if gpus[0] != gpus[1] else []
    before, after = ({"Python": host.python, **host.versions} for host in (one, other))
    found += [
        f"{name} {after.get(name, 'none')} instead of {before.get(name, 'none')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    return _some(found, "; ")


def _some(names: Iterable[str], separator: str = ", ") -> str:
    listed = list(names)
    more = [f"{len(listed) - _NAMED} more"] if len(listed) > _NAMED else []
    return separator.join([*listed[:_NAMED], *more])
