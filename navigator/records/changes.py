"""What changed between two runs: the results of the base, and those of what somebody proposes."""

from dataclasses import dataclass
from enum import StrEnum

from navigator.records.codec import Amount, Count, Json
from navigator.records.model import Device
from navigator.records.results import CellResult


class Change(StrEnum):
    """What happened to a conversion, the most important to a reviewer first.

    A conversion that isn't applicable to its model counts as one that isn't there.
    """

    BROKEN = "broken"
    """It passed in the base, and doesn't here. Also if only a package is missing that the base had."""
    WORSE = "worse"
    """It passed in both; its error, its size, its memory or its latency has grown beyond what varies by itself."""
    REMOVED = "removed"
    """The configuration asks for it no longer; whether it passed in the base is in `before`."""
    NEW = "new"
    """The base's configuration doesn't ask for it; whether it passes is in `after`."""
    STILL_FAILING = "still_failing"
    """It failed in the base, and does so here."""
    NOT_COMPARED = "not_compared"
    """One of the runs has no verdict: not selected, cancelled, or its machine can't run it, such as without a GPU."""
    FIXED = "fixed"
    """It didn't pass in the base, and does here."""
    BETTER = "better"
    """It passed in both; something has shrunk by more than what varies by itself, and nothing has grown."""
    UNCHANGED = "unchanged"
    """The same outcome; nothing differs by more than what varies by itself."""


class Measure(StrEnum):
    """What is measured of a conversion."""

    ERROR = "error"
    """The largest absolute error of an output. `limit` is the tolerance of its largest values."""
    SIZE = "size"
    """The size of the converted model's files in bytes."""
    PEAK_MEMORY = "peak_memory"
    """The peak memory of the conversion's workers in bytes."""
    LATENCY = "latency"
    """The median latency of a sample in seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A measure that differs by more than what varies by itself.

    `of` is the output of an error, or the sample of a latency. `limit` and `limit_before` are the tolerances that the
    errors had to keep in the two runs, None for other measures. More is worse for every measure.
    """

    measure: Measure
    before: Amount
    after: Amount
    of: str = ""
    device: Device | None = None
    limit: Amount | None = None
    limit_before: Amount | None = None

    @property
    def is_worse(self) -> bool:
        return self.after > self.before


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversionChange:
    """What happened to one conversion.

    `model_name` is its present name, `previous_name` the one in the base if that's another. `before` and `after` are
    None where the run has no such conversion. `differences` may have some in both directions. `reason` is why it isn't
    compared. `accepted` is the reason that the configuration gives for accepting the change. `is_regression` is whether
    it fails a run with `fail_on: regression`: it's broken, worse or removed, or it fails and the base doesn't tell
    whether it did before; and nobody accepts it.
    """

    model_name: str
    conversion: str
    change: Change
    previous_name: str = ""
    before: CellResult | None = None
    after: CellResult | None = None
    differences: tuple[Difference, ...] = ()
    reason: str = ""
    accepted: str = ""
    is_regression: bool = False


class KeyKind(StrEnum):
    """What a changed option means for the verdict."""

    LOOSENED = "loosened"
    """More passes than before: a wider tolerance, a limit that is gone, a check that is off."""
    FEWER_SAMPLES = "fewer_samples"
    """Models are compared on fewer inputs."""
    TIGHTENED = "tightened"
    """Less passes than before, or more is checked."""
    CONTENT = "content"
    """The option is the same, but not what is in the files that it names."""
    CHANGED = "changed"
    """Something else."""

    @property
    def loosens(self) -> bool:
        """Whether more passes, or less is looked at: a regression, unless somebody accepts it."""
        return self in (KeyKind.LOOSENED, KeyKind.FEWER_SAMPLES)


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyChange:
    """An option that differs: `key` in navigator.yaml, `of` the output, input or measure that it's for, "" for all.

    `before` and `after` are plain values: the default where the option isn't set, None where it has no such entry, or
    for a tolerance what applies to the output instead.
    `accepted` and `is_regression` are as for conversions: what loosens is a regression, also fewer samples.
    """

    key: str
    before: Json
    after: Json
    kind: KeyKind = KeyKind.CHANGED
    of: str = ""
    accepted: str = ""
    is_regression: bool = False


class Source(StrEnum):
    """Whether the files of a source model differ."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    UNKNOWN = "unknown"
    """At least one of the results has no digest, as those of older versions."""
    NEW = "new"
    REMOVED = "removed"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelChange:
    """What happened to one model: its name, its files, and its options.

    `size_before` and `size_after` are those of the source model in bytes, None where there is none.
    """

    name: str
    previous_name: str = ""
    source: Source = Source.UNKNOWN
    size_before: Count | None = None
    size_after: Count | None = None
    keys: tuple[KeyChange, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Replacement:
    """Something that the runs used in different versions or kinds: a package, the CPU. "" where there was none."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """What a run is compared with.

    Args:
        found: whether there are results to compare with.
        commit: the full SHA that they are of, "" if unknown.
        label: what the commit is also called, such as a branch.
        relation: how it was chosen, as a reader says it: "merge base", "3 commits before the merge base".
        run_url: the page of the run that made them, "" if unknown.
        path: the file or folder that they were read from, as it was given.
        note: one sentence: why there are none, or what they lack.
    """

    found: bool
    commit: str = ""
    label: str = ""
    relation: str = ""
    run_url: str = ""
    path: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """The comparison of a run with its baseline. Without one, only `baseline` says something.

    Args:
        baseline: what it's compared with.
        conversions: every conversion of both runs once: those of the run in its order, then the removed ones.
        models: every model of both runs once, in the same order.
        options: of the whole run, those that differ.
        tools: packages that are in different versions.
        machine: how the machines differ: CPU, GPUs.
        notes: sentences on what can't be compared, and on entries of `accept` that match nothing any more.
    """

    baseline: Baseline
    conversions: tuple[ConversionChange, ...] = ()
    models: tuple[ModelChange, ...] = ()
    options: tuple[KeyChange, ...] = ()
    tools: tuple[Replacement, ...] = ()
    machine: tuple[Replacement, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, *changes: Change) -> tuple[ConversionChange, ...]:
        """Return the conversions to which one of these things happened."""
        return tuple(each for each in self.conversions if each.change in changes)

    @property
    def keys(self) -> tuple[tuple[str, KeyChange], ...]:
        """All options that differ, with the model that they're of, "" for the whole run."""
        own = ((model.name, key) for model in self.models for key in model.keys)
        return (*(("", key) for key in self.options), *own)

    @property
    def regresses(self) -> bool:
        """Whether the changes fail a run with `fail_on: regression`."""
        return any(each.is_regression for each in self.conversions) or any(key.is_regression for _, key in self.keys)

    @property
    def is_nothing(self) -> bool:
        """Whether every conversion has the same outcome, and models and options are the same."""
        settled = (Change.UNCHANGED, Change.STILL_FAILING)
        same = (Source.UNCHANGED, Source.UNKNOWN)
        return (
            all(each.change in settled and not each.previous_name for each in self.conversions)
            and all(each.source in same and not each.previous_name for each in self.models)
            and not self.keys
        )
