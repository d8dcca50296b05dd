"""Who speaks about a commit: the jobs that set one status, write one comment or make one check run.

Each of them leaves a record of who it is and what its own verdict was. Whoever comes later reads the records, and shows
the worst verdict of all that still count. Pure.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import groupby

from navigator.render.text import shorten


class Verdict(IntEnum):
    """GitHub's states of a commit status, the worst one last."""

    success = 0
    pending = 1
    failure = 2
    error = 3


_RECORD = re.compile(
    r"(?P<workflow>[0-9a-f]{8})/(?P<run>\d{1,19})/(?P<attempt>\d{1,9})/(?P<job>[A-Za-z0-9_-]*)/(?P<part>[0-9a-f]{8})"
    rf"/(?P<leg>[0-9a-f]{{0,8}})/(?P<verdict>{'|'.join(Verdict.__members__)})"
)

_JOB_CHARS = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Voice:
    """A job that speaks, by facts that are the same each time that its workflow runs.

    Attributes:
        workflow: digest of the workflow's name.
        run: id of the workflow run that it speaks for, and `attempt` of it.
        job: id in the workflow's file. All jobs of a matrix have the same.
        part: digest of what it does: job, step, configuration and filters.
        leg: digest of an id of the job, which tells the jobs of a matrix apart; "" if unknown.
    """

    workflow: str
    run: int
    attempt: int
    job: str
    part: str
    leg: str

    def same(self, other: "Voice") -> bool:
        """Tell whether this is another one's voice, in whatever run and attempt."""
        return (self.workflow, self.part, self.leg) == (other.workflow, other.part, other.leg)


@dataclass(frozen=True, slots=True)
class Record:
    """A voice and its own verdict, and what it showed: the text of a status, or its part of a comment."""

    voice: Voice
    verdict: Verdict
    text: str = ""

    @property
    def succeeded(self) -> bool:
        return self.verdict is Verdict.success

    def __str__(self) -> str:
        """Return it as `read_records` finds it, without the text. It has no character that ends a URL or a comment."""
        said = self.voice
        facts = (said.workflow, said.run, said.attempt, said.job, said.part, said.leg, self.verdict.name)
        return "/".join(map(str, facts))


def read_record(written: str, text: str = "") -> Record | None:
    """Return the record that `str` made, None where it's none."""
    found = _RECORD.fullmatch(written)
    if found is None:
        return None
    facts = found.groupdict()
    verdict = Verdict[facts.pop("verdict")]
    run, attempt = int(facts.pop("run")), int(facts.pop("attempt"))
    return Record(Voice(run=run, attempt=attempt, **facts), verdict, text)


def others(own: Voice, records: Iterable[Record]) -> tuple[Record, ...]:
    """Return the latest record of each other voice that still counts.

    These are the voices of this run, and of the newest run of each other workflow: an earlier run of one's own workflow
    is superseded. So is an earlier attempt of the same part, unless the legs of a matrix are known to keep their ids
    from attempt to attempt: then one that wasn't run again still counts.

    Args:
        own: who asks.
        records: those about one commit, the oldest first.
    """
    known = tuple(records)
    runs: dict[str, int] = {}
    for each in known:
        runs[each.voice.workflow] = max(each.voice.run, runs.get(each.voice.workflow, 0))
    runs[own.workflow] = own.run
    current = [each for each in known if each.voice.run == runs[each.voice.workflow]]
    # Ours counts as the latest word of its part.
    current.append(Record(own, Verdict.success))
    return tuple(each for part in _by_part(current) for each in _counting(part) if not each.voice.same(own))


def worst(own: Record, rivals: Sequence[Record]) -> Record:
    """Return the record with the worst verdict; of equal ones `own`."""
    return max((own, *rivals), key=lambda each: each.verdict)


def explain(rival: Record) -> str:
    """Return what a status says that shows the verdict of another voice."""
    became = "hasn't ended" if rival.verdict is Verdict.pending else "failed"
    who = named(rival.voice)
    return (
        f"{who[0].upper()}{who[1:]} sets this status too and {became}: give each its own status_context. {rival.text}"
    )


def named(voice: Voice) -> str:
    """Return how to call the job of a voice."""
    return f"the job {shorten(voice.job, _JOB_CHARS)}" if voice.job else "another job"


def _by_part(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield the records of each part of each workflow, in their order."""

    def part(record: Record) -> tuple[str, str]:
        return record.voice.workflow, record.voice.part

    for _, found in groupby(sorted(records, key=part), key=part):
        yield list(found)


def _counting(records: Sequence[Record]) -> Iterator[Record]:
    """Yield the latest record of each leg of one part, without legs of attempts that are superseded."""
    attempts: dict[str, set[int]] = {}
    latest: dict[str, Record] = {}
    for each in records:
        attempts.setdefault(each.voice.leg, set()).add(each.voice.attempt)
        latest[each.voice.leg] = each
    newest = max(each.voice.attempt for each in records)
    lasting = any(len(found) > 1 for found in attempts.values())
    yield from (each for each in latest.values() if lasting or each.voice.attempt == newest)
