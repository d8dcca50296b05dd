"""Compares ways to search for a disagreement by how many planted errors each finds per second.

`python benchmarks/search_strategies.py` prints the table of docs/explanation/verification.md. The errors are those of
tests/run/test_planted.py, of which the ordinary samples show nearly all, and those of tests/run/rare_errors.py, of
which they show few. A search knows the samples' ranges and shapes, and not which of them show the error. Seconds are
the processor's, so that other programs don't count.

`--alarms SECONDS` searches in honest rewrites of the same models instead, so long in each: nothing may be found.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from navigator.errors import StepError
from navigator.records import ModelConfig, Precision, Signature, Tolerances, from_data
from navigator.runners import onnx as runner
from navigator.runners.protocol import LoadedModel
from navigator.samples.generate import Sample
from navigator.samples.probes import is_free_float
from navigator.samples.search import STYLES, Drawn, Style, scales
from navigator.samples.shapes import resolve
from navigator.samples.symbols import Layout
from navigator.verify.noise import measured
from navigator.verify.search import excess
from navigator.verify.tolerances import tolerances
from navigator.workers.noise import probes
from navigator.workers.search import Search
from navigator.workers.source_runs import known_axes, run
from tests.run.rare_errors import rare
from tests.run.test_planted import MODELS, SOURCE_OPSET, Model, variants, write

MEMORY_BYTES = 8 * 2**30

# The last one in which the reductions of the rare errors have their axes as attributes.
OPSET = 17

FRESH, CORNER, CLIMB, BEYOND = STYLES
STRATEGIES: dict[str, tuple[Style, ...]] = {
    "uniform draws, as ordinary samples are": (Drawn.plain,),
    "fresh": (FRESH,),
    "corner": (CORNER,),
    "climb": (CLIMB,),
    "fresh, corner": (FRESH, CORNER),
    "fresh, climb": (FRESH, CLIMB),
    "fresh, corner, climb": (FRESH, CORNER, CLIMB),
    "fresh, corner, climb, scaled": STYLES,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A model and another body for it, which means the same if it's `honest`."""

    name: str
    change: str
    model: Model
    body: str
    other: str
    rare: bool = False
    honest: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A source model that has run on its samples."""

    source: LoadedModel
    samples: Sequence[Sample]
    outputs: Sequence[Sample]
    layout: Layout
    allowed: Tolerances
    free: Sequence[str]

    def shows(self, converted: LoadedModel) -> bool:
        """Return whether the samples show an error."""
        try:
            return any(
                excess(outputs, converted.infer(inputs), self.allowed.atol, self.allowed.rtol) > 1
                for (_, inputs), (_, outputs) in zip(self.samples, self.outputs, strict=True)
            )
        except StepError:
            return True

    def search(self, converted: LoadedModel, styles: Sequence[Style], seconds: float) -> tuple[Search, float]:
        """Search, and return the seconds that it took."""
        search = Search(
            source=self.source,
            converted=converted,
            proposals=Drawn(samples=self.samples, layout=self.layout, seed=0, styles=styles, free=self.free),
            scales=scales(self.samples),
            atol=self.allowed.atol,
            rtol=self.allowed.rtol,
        )
        started = time.process_time()
        search.run(seconds, time.process_time)
        return search, time.process_time() - started


def cases() -> Iterator[Case]:
    """Yield all that's planted, and the honest rewrites."""
    for name, model in MODELS.items():
        body = f"{model.body} y = Identity(y0)"
        for change, other in variants(model).items():
            yield Case(name=name, change=change, model=model, body=body, other=other, honest=change in model.honest)
    for (name, change), (model, body, other) in rare().items():
        yield Case(name=name, change=change, model=model, body=body, other=other, rare=True)


def pairs(wanted: Sequence[Case]) -> Iterator[tuple[Case, Subject, LoadedModel]]:
    """Yield the cases with both models in memory."""
    subjects: dict[int, Subject] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for case in wanted:
            key = id(case.model)
            if key not in subjects:
                source = Path(temporary) / f"source_{len(subjects)}.onnx"  # stays: it's loaded again to round otherwise
                write(source, SOURCE_OPSET, case.name, case.model, case.body)
                subjects[key] = subject(source, case.model)
            other = Path(temporary) / "other.onnx"
            write(other, OPSET, case.name, case.model, case.other)
            yield case, subjects[key], runner.load(other, declared=subjects[key].source.signature)


def subject(path: Path, model: Model) -> Subject:
    """Run a source model on its samples."""
    options = yaml.safe_load(f"{{{model.options}}}")
    config = from_data(ModelConfig, {"model_name": "model", "model_path": str(path), **options})
    source = runner.load(path, declared=Signature(inputs=(), outputs=()))
    runs = run(source, source.signature.inputs, config, MEMORY_BYTES)
    rtol = tolerances(config, Precision.FP32, runs.outputs).rtol
    probed = probes(source, runs.samples, runs.outputs)
    noise = measured(runs.outputs, probed.rounded, rtol, probed.batches)
    return Subject(
        source=source,
        samples=runs.samples,
        outputs=runs.outputs,
        layout=resolve(source.signature.inputs, config, known_axes(source)),
        allowed=tolerances(config, Precision.FP32, runs.outputs, noise),
        free=[name for name, each in runs.bounds.items() if is_free_float(each)],
    )


def compare(seconds: float, only: str) -> None:
    """Print which strategy finds how many errors, and how fast."""
    found: dict[str, list[tuple[bool, bool]]] = {name: [] for name in STRATEGIES}
    spent = dict.fromkeys(STRATEGIES, 0.0)
    wanted = [case for case in cases() if not case.honest and only in f"{case.name}: {case.change}"]
    for case, known, converted in pairs(wanted):
        hidden = not known.shows(converted)
        for name, styles in STRATEGIES.items():
            search, took = known.search(converted, styles, seconds)
            found[name].append((search.found is not None, hidden))
            spent[name] += took
        missed = [name for name in STRATEGIES if not found[name][-1][0]]
        if hidden or missed:
            missing = f", missed by {'; '.join(missed)}" if missed else ""
            print(
                f"{case.name}: {case.change}: {'hidden' if hidden else 'shown'}{missing}", file=sys.stderr, flush=True
            )
    hidden_ones = sum(hidden for _, hidden in next(iter(found.values())))
    print(
        f"| Strategy | Of {len(wanted)} errors | Of {hidden_ones} that no sample shows | Seconds | Found per second |"
    )
    print("| --- | --- | --- | --- | --- |")
    for name, each in found.items():
        total, of_hidden = sum(one for one, _ in each), sum(one and hidden for one, hidden in each)
        print(f"| {name} | {total} | {of_hidden} | {spent[name]:.1f} | {total / spent[name]:.1f} |")


def alarms(seconds: float, only: str) -> None:
    """Print what a search finds where there's nothing to find."""
    wanted = [case for case in cases() if case.honest and only in f"{case.name}: {case.change}"]
    for case, known, converted in pairs(wanted):
        search, _ = known.search(converted, STYLES, seconds)
        print(
            f"{case.name}: {case.change}: {'ALARM' if search.found else 'nothing'}, "
            f"{search.inputs:,} inputs, largest error {search.largest:.2f} of the tolerance",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="for one error and strategy (default: 1)")
    parser.add_argument("--alarms", type=float, default=0.0, metavar="SECONDS", help="search in honest rewrites")
    parser.add_argument("--only", default="", help="part of the name of what to search in")
    given = parser.parse_args()
    alarms(given.alarms, given.only) if given.alarms else compare(given.seconds, given.only)
