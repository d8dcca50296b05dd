"""Whether reports belong together, and whether they are of what somebody wants to publish. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from navigator.errors import ConfigurationError, listed, quote
from navigator.records import CellResult, Origin, Report, Selection
from navigator.report.summary import Summary


def agreed(reports: Sequence[Report]) -> Origin | None:
    """Return the origin of all reports, of several attempts of a run the last one; None if they have none.

    Raises:
        ConfigurationError: they are of different commits, configurations or runs.
    """
    places: dict[Origin | None, str] = {}
    for number, each in enumerate(reports, 1):
        places.setdefault(each.origin, f"shard {each.shard}" if each.shard else f"report {number}")
    known = {origin: place for origin, place in places.items() if origin is not None}
    if not known:
        return None
    hint = "merge the results of one run only, and remove what earlier runs left"
    if None in places:
        raise ConfigurationError(f"can't merge results without an origin ({places[None]}) with others", hint)
    kinds: tuple[tuple[str, Callable[[Origin], object], Callable[[Origin], str]], ...] = (
        ("commits", lambda each: each.commit, lambda each: _short(each.commit)),
        ("configurations", lambda each: each.config_sha256, _configuration),
        ("runs", lambda each: each.run_id, _run),
    )
    for noun, key, shown in kinds:
        different = {key(each): f"{shown(each)} ({place})" for each, place in reversed(known.items())}
        if len(different) > 1:
            names = " and ".join(reversed(different.values()))
            raise ConfigurationError(f"can't merge results of different {noun}: {names}", hint)
    modified = {each.modified for each in known}
    return replace(
        max(known, key=lambda each: each.run_attempt or 0),
        modified=True if True in modified else None if None in modified else False,
    )


def selected(reports: Sequence[Report], results: Sequence[CellResult]) -> Selection:
    """Return what `results`, made of `reports`, cover: what one shard leaves out and another has isn't left out."""
    covered = {(each.model_name, each.conversion) for each in results}
    left_out: dict[str, dict[str, None]] = {}
    for name, labels in (entry for each in reports for entry in each.selection.left_out.items()):
        if missing := [label for label in labels if (name, label) not in covered]:
            left_out.setdefault(name, {}).update(dict.fromkeys(missing))
    filters = {(each.selection.models, each.selection.conversions) for each in reports}
    # Together, jobs with a filter each may well convert everything.
    models, conversions = filters.pop() if left_out and len(filters) == 1 else ((), ())
    return Selection(
        models=models, conversions=conversions, left_out={name: tuple(each) for name, each in left_out.items()}
    )


def difference(origin: Origin, commit: str, config_path: str, config_sha256: str, *, name: str = "") -> str:
    """Return how results differ from those of a commit and a configuration, as the end of a sentence; "" if they don't.

    Args:
        origin: of the results.
        commit: the full SHA that they should be of.
        config_path: the configuration that they should be of, as in `Origin`.
        config_sha256: its digest; "" if it's unknown.
        name: what the commit is also called, such as a tag.
    """
    if origin.commit != commit:
        wanted = f"{name}, which is commit {commit[:12]}" if name else f"{commit[:12]}"
        return f"the results are of commit {_short(origin.commit)}, not of {wanted}"
    if origin.config_path != config_path:
        return f"the results are of the configuration {_name(origin)}, not of {quote(config_path)}"
    if config_sha256 and origin.config_sha256 != config_sha256:
        return f"the results are of {_name(origin)} with other content than here"
    return ""


def lacking(summary: Summary) -> str:
    """Return what the results of a configuration lack, as the end of a sentence; "" if they cover all of it."""
    left_out = summary.report.selection.left_out
    names = listed(f"{name}/{label}" for name, labels in left_out.items() for label in labels)
    return "" if summary.coverage.is_whole else f"the results cover only {summary.coverage}, without {names}"


def _short(digest: str) -> str:
    short = digest[:12]
    return short if short.isalnum() else quote(short)


def _configuration(origin: Origin) -> str:
    return f"{_name(origin)} with digest {_short(origin.config_sha256)}"


def _name(origin: Origin) -> str:
    return quote(origin.config_path) if origin.config_path else "the command line"


def _run(origin: Origin) -> str:
    return str(origin.run_id) if origin.run_id else "one outside GitHub Actions"
