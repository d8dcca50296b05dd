"""Comparisons of runs: what holds of all of them, what a base may be, and what may be accepted."""

from dataclasses import replace
from typing import Any

from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from navigator.records import (
    CellResult,
    Change,
    Changes,
    Measure,
    Report,
    State,
)
from tests.support.comparisons import a_run, cell, compared, given, passing

MODELS = ("m", "n", "o")
LABELS = ("onnx_op13", "onnx_op17", "onnx_op17/trt")
GOOD = a_run(passing("m/onnx_op13"), passing("m/onnx_op17"))

# Conversions


def outcomes(name: str) -> list[CellResult | None]:
    """Return what may come of a conversion, with and without a difference that counts, or None: it isn't there."""
    errors = [passing(name, error, size=size, atol=1e-2) for error in (0.0, 1e-6, 9e-3) for size in (10**6, 10**7)]
    others = [cell(name, state) for state in State if state is not State.PASSED]
    return [None, *errors, *others, cell(name, State.FAILED, intermediate=True), passing(name, intermediate=True)]


OUTCOMES = [outcomes(f"{model}/{label}") for model in MODELS for label in LABELS]
OPTIONS: list[dict[str, Any]] = [{}, {"atol": {"": 1e-3}}, {"onnx_opsets": [17]}]


def runs() -> st.SearchStrategy[Report]:
    """Any run of up to three models, two of which may have the same files."""

    def report(results: tuple[CellResult | None, ...], digests: tuple[str, ...], options: dict[str, Any]) -> Report:
        models = tuple(given(name, sha256, **options) for name, sha256 in zip(MODELS, digests, strict=True))
        return a_run(*(each for each in results if each is not None), models=models)

    digests = st.tuples(*(st.sampled_from("abc") for _ in MODELS))
    return st.builds(report, st.tuples(*map(st.sampled_from, OUTCOMES)), digests, st.sampled_from(OPTIONS))


@drawn(runs())
def test_a_run_has_not_changed_from_itself(run: Report) -> None:
    changes = compared(run, run)

    assert {each.change for each in changes.conversions} <= {
        Change.UNCHANGED,
        Change.STILL_FAILING,
        Change.NOT_COMPARED,
    }
    uncompared = {each.conversion for each in changes.of(Change.NOT_COMPARED) if each.after is not None}
    assert uncompared <= {each.conversion for each in run.results if each.status.state is State.CANCELLED}
    assert not changes.regresses
    assert not changes.keys
    assert changes.is_nothing == (not changes.of(Change.NOT_COMPARED))


@drawn(runs(), runs())
def test_every_conversion_is_in_the_changes_once(base: Report, run: Report) -> None:
    changes = compared(base, run)

    told = [(each.model_name, each.conversion) for each in changes.conversions]
    assert len(set(told)) == len(told)
    after = [_key(each.after) for each in changes.conversions if each.after is not None]
    assert after == [_key(each) for each in run.results]
    before = {_key(each.before) for each in changes.conversions if each.before is not None}
    # What neither run can make, and what no run shows without the conversions that need it, may be left out.
    for each in base.results:
        assert _key(each) in before or each.intermediate or each.status.state is State.NOT_APPLICABLE


@drawn(runs(), runs())
def test_what_is_new_in_one_direction_is_removed_in_the_other(base: Report, run: Report) -> None:
    there, back = compared(base, run), compared(run, base)

    def names(changes: Changes, change: Change, old: bool) -> set[tuple[str, str]]:
        """Return who it happened to, by the present names of the one direction, which are the old ones of the other."""
        return {
            ((each.previous_name if old else "") or each.model_name, each.conversion) for each in changes.of(change)
        }

    for new, gone in ((there, back), (back, there)):
        assert names(new, Change.NEW, old=False) == names(gone, Change.REMOVED, old=True)


@drawn(runs(), runs(), st.randoms(use_true_random=False))
def test_the_order_of_results_does_not_matter(base: Report, run: Report, random: Any) -> None:
    def shuffled(report: Report) -> Report:
        results, models = list(report.results), list(report.models)
        random.shuffle(results)
        random.shuffle(models)
        return replace(report, results=tuple(results), models=tuple(models))

    def plain(changes: Changes) -> Any:
        return [
            sorted(map(repr, each))
            for each in (changes.conversions, changes.models, changes.options, changes.tools, changes.notes)
        ]

    assert plain(compared(base, run)) == plain(compared(shuffled(base), shuffled(run)))


@drawn(
    noise=st.floats(1e-7, 1e-3),
    errors=st.tuples(st.floats(0, 3.4), st.floats(0, 3.4)),
    size=st.tuples(st.integers(-600, 600), st.integers(-600, 600)),
    memory=st.tuples(st.floats(0.95, 1.05), st.floats(0.95, 1.05)),
)
@settings(max_examples=300)
def test_what_varies_by_itself_is_no_news(
    noise: float, errors: tuple[float, float], size: tuple[int, int], memory: tuple[float, float]
) -> None:
    """Errors like the rounding of right conversions, sizes that names change, memory that a busy machine changes."""
    base, run = (
        a_run(
            passing(
                "m/onnx",
                error * noise,
                noise=noise,
                atol=max(5 * noise, 1e-5),
                size=14_000_000 + bytes_,
                peak_memory_bytes=int(part * 2**30),
            )
        )
        for error, bytes_, part in zip(errors, size, memory, strict=True)
    )
    assert compared(base, run).is_nothing


@drawn(factor=st.floats(2.01, 1e6), part=st.floats(0.11, 1.0))
def test_an_error_that_grows_within_its_tolerance_is_told(factor: float, part: float) -> None:
    after = part * 1e-2
    before = after / factor
    changes = compared(
        a_run(passing("m/onnx", before, atol=1e-2, rtol=0.0)), a_run(passing("m/onnx", after, atol=1e-2, rtol=0.0))
    )
    grown = after - before > 1e-3
    assert bool(changes.of(Change.WORSE)) == grown
    if grown:
        (found,) = changes.of(Change.WORSE)[0].differences
        assert (found.measure, found.of, found.before, found.after) == (Measure.ERROR, "y", before, after)


def _key(result: CellResult) -> tuple[str, str]:
    return result.model_name, result.conversion
