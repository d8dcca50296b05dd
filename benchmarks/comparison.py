"""What a comparison with a baseline costs on a large run in which nothing changed, and what the digest of a model does.

    python benchmarks/comparison.py RESULTS [--conversions N] [--repeats N]

Takes real results, such as those of the examples, under as many names as it takes to have N conversions. Prints the
median processor time of reading the baseline, comparing, and rendering.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from navigator.cache.digests import digest
from navigator.changes.base import read
from navigator.changes.compare import compare
from navigator.records import Report
from navigator.render.console import summary_text
from navigator.report import storage
from navigator.report.summary import summarize

_DIGESTED_BYTES = 2**28


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--conversions", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    report = _enlarged(storage.read(arguments.results), arguments.conversions)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / storage.RESULTS
        storage.write(report, path)
        base = read(path)
        changes = compare(report, base)
        assert changes.is_nothing
        print(f"{len(report.results)} conversions of {len(report.models)} models, {path.stat().st_size:,} bytes")
        for name, work in (
            ("read the baseline", lambda: read(path)),
            ("compare", lambda: compare(report, base)),
            ("render", lambda: summary_text(summarize(report, changes))),
        ):
            print(f"{name}: {_seconds(work, arguments.repeats):.3f} s")
        model = Path(directory) / "model"
        model.write_bytes(bytes(range(256)) * (_DIGESTED_BYTES // 256))
        print(
            f"digest of {_DIGESTED_BYTES / 2**20:.0f} MiB: {_seconds(lambda: digest(model), arguments.repeats):.3f} s"
        )


def _enlarged(report: Report, conversions: int) -> Report:
    """Return a report with as many conversions, those of `report` again and again under other names."""
    rounds = range(-(-conversions // len(report.results)))
    results = (replace(each, model_name=f"{each.model_name}_{n}") for n in rounds for each in report.results)
    models = (replace(each, model_name=f"{each.model_name}_{n}") for n in rounds for each in report.models)
    return replace(report, results=tuple(itertools.islice(results, conversions)), models=tuple(models))


def _seconds(work: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
