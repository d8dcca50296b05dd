"""Where `report` and `release` get results from: the workspace, this run's artifacts, or another run's.

What another run left was made by somebody who may be a stranger: it is unpacked as hostile, and nothing in it decides
which pull request or commit is spoken about.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from navigator.action import names
from navigator.action.job import Job
from navigator.action.publisher import Publisher
from navigator.errors import ConfigurationError
from navigator.github.artifacts.unpack import unpack
from navigator.github.rest import PublishError
from navigator.records import Report
from navigator.render.files import write_files
from navigator.report import storage
from navigator.report.merge import merge
from navigator.report.ownership import check_report_directory
from navigator.report.storage import REPORT, RESULTS
from navigator.report.summary import Summary, summarize

T = TypeVar("T")

# A report of 10,000 conversions is 40 MiB, and packs to a tenth.
_REPORT_BYTES = 64 * 2**20
_MODELS_BYTES = 100 * 2**30
# More jobs than a matrix can have.
_REPORTS = 300


def collect(job: Job, publisher: Publisher) -> tuple[Report, ...]:
    """Return the reports of a run: those below `workspace_path` where that is given, else from artifacts.

    Raises:
        ConfigurationError: there are none, or one is not a report.
        PublishError: GitHub does not give them.
    """
    with tempfile.TemporaryDirectory() as directory:
        found = tuple(_read(place, Path(directory)) for place in _results(job, publisher, Path(directory)))
    if not found and not job.inputs.matrix:
        raise ConfigurationError(
            f"there are no results to report: this run has no artifact {names.artifact_prefix(job.inputs)}-results",
            "run `convert` first with the same `artifact_name`, or set `workspace_path` to the directory "
            "with its results",
        )
    return found


def _read(place: Path, temporary: Path) -> Report:
    """Read a report; its error names no temporary directory, which would change the comment with every run."""
    try:
        return storage.read(place / RESULTS)
    except ConfigurationError as error:
        raise ConfigurationError(error.message.replace(f"{temporary}/", ""), error.hint) from error


def write_report(merged: Summary, directory: Path, owner: Path) -> None:
    """Write a report and its summary, as `convert` does, for the owner of another directory.

    Raises:
        ConfigurationError: the directory is a link or behind one, or has such files of the user's: a checkout may.
    """
    if directory.resolve() != directory:
        raise ConfigurationError(f"{directory} is a symbolic link or behind one", "use another workspace_path")
    check_report_directory(directory)
    directory.mkdir(parents=True, exist_ok=True)
    write_files(merged, directory)
    if os.geteuid() == 0:
        found = owner.stat()
        for path in (directory, *(directory / name for name in REPORT)):
            os.chown(path, found.st_uid, found.st_gid, follow_symlinks=False)


@contextmanager
def collected_models(job: Job, publisher: Publisher, directory: Path) -> Iterator[tuple[Summary, Path]]:
    """Give the report of a run with the directory of its converted models, `directory` if a step before made them.

    Raises:
        ConfigurationError: there are no results.
        PublishError: GitHub does not give them.
    """
    if job.inputs.run_id is None and (directory / RESULTS).is_file():
        yield summarize(storage.read(directory / RESULTS)), directory
        return
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary).resolve()
        merged = summarize(merge(collect(job, publisher), None, allow_partial=job.inputs.allow_partial))
        for archive in _archives(job, publisher, "models", place, _MODELS_BYTES):
            unpack(archive, place / "converted", limit_bytes=_MODELS_BYTES)
            archive.unlink()
        write_report(merged, place, place)
        yield merged, place


def _results(job: Job, publisher: Publisher, directory: Path) -> Iterator[Path]:
    """Yield a directory for each report."""
    if job.inputs.workspace_path:
        place = job.directory(job.inputs.workspace_path)
        yield from sorted(path.parent for path in place.rglob(RESULTS) if path.is_file())
        return
    for number, archive in enumerate(_archives(job, publisher, "results", directory, _REPORT_BYTES)):
        if number == _REPORTS:
            raise ConfigurationError(f"there are more than {_REPORTS} results", "a job matrix has at most 256 jobs")
        place = directory / f"report{number}"
        unpack(archive, place, names=REPORT, limit_bytes=2 * _REPORT_BYTES)
        archive.unlink()
        yield place


def _archives(job: Job, publisher: Publisher, what: str, directory: Path, limit_bytes: int) -> Iterator[Path]:
    """Download the artifacts of all jobs, one after the other.

    Where a run has both, its shards' and the one that `report` made of them, the shards count while the run goes on:
    they may be newer. Once it has ended the report counts, which knows what is missing.
    """
    run = job.inputs.run_id or job.event.triggering_run
    if run is None:
        listed = {each.name: each for each in publisher.uploads.service.list()}
        # What `report` itself uploaded in an earlier attempt isn't what it reports.
        new = {name: each for name, each in listed.items() if not each.old}
        for artifact in _chosen(job, new, what, shards_first=True) or _chosen(job, listed, what, shards_first=True):
            yield publisher.uploads.service.download(artifact, directory, limit_bytes=limit_bytes)
        return
    repository = job.event.repository
    pages = publisher.rest.pages(f"/repos/{repository}/actions/runs/{run}/artifacts", key="artifacts")
    # Of attempts of the same run the last one counts.
    entries = {each["name"]: each for each in sorted(pages, key=lambda each: int(each["id"]))}
    for entry in _chosen(job, entries, what, shards_first=False):
        if entry["expired"] or entry["size_in_bytes"] > limit_bytes:
            why = "has expired" if entry["expired"] else f"has {entry['size_in_bytes']:,} bytes, over {limit_bytes:,}"
            raise PublishError(f"the artifact {entry['name']} of run {run} {why}", "run that workflow again")
        path = directory / f"{entry['id']}.zip"
        publisher.rest.save(f"/repos/{repository}/actions/artifacts/{entry['id']}/zip", path, limit_bytes=limit_bytes)
        yield path


def _chosen(job: Job, found: Mapping[str, T], what: str, *, shards_first: bool) -> list[T]:
    """Return, of artifacts by name, those of the job with the same inputs, and without any those of all jobs.

    So a job that reports needn't repeat the configuration and the filters of those that converted.
    """
    own = names.artifact_prefix(job.inputs)
    results = re.compile(rf"({names.PLAIN}(?:-.+?)?)-results(?:-\d+-of-\d+)?")
    prefixes = {match[1] for name in found if (match := results.fullmatch(name))}
    if job.inputs.artifact_name or own in prefixes:
        prefixes = {own}
    chosen = []
    for prefix in sorted(prefixes):
        name = f"{prefix}-{what}"
        part = re.compile(rf"{re.escape(name)}-\d+-of-\d+")
        shards = [each for key, each in found.items() if part.fullmatch(key)]
        whole = [found[name]] if name in found else []
        chosen += (shards or whole) if shards_first else (whole or shards)
    return chosen
