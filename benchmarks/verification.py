"""What a verification of the examples costs more since it compares weights and searches, as ratios within one run.

    python benchmarks/verification.py [--repeats N]

Runs with both, with either and with neither take turns, one unit of work at a time and without a cache. Prints the
medians of the seconds of all verifications and of the processor seconds of whole runs, and their ratios to those with
neither. A quarter more verification is the most that both may cost.
"""

import argparse
import shutil
import statistics
from pathlib import Path
from typing import Any

import yaml
from run import NAVIGATOR, REPOSITORY, SCRATCH, measure

from navigator.records import Work
from navigator.report import storage

NEITHER = "neither"
VARIANTS: dict[str, dict[str, Any]] = {
    NEITHER: {"compare_weights": False, "search_seconds": 0},
    "weights": {"search_seconds": 0},
    "search": {"compare_weights": False},
    "both": {},
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    SCRATCH.mkdir(parents=True, exist_ok=True)
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in VARIANTS}
    for repeat in range(repeats):
        # The first one of a turn finds the files in memory that the last one of the turn before has read.
        for name in list(VARIANTS)[:: 1 if repeat % 2 else -1]:
            runs[name].append(once(name))
            print(f"{repeat + 1} of {repeats}, {name}: {runs[name][-1][0]:.2f} s", flush=True)
    print("\n| | seconds of verification | ratio | processor seconds of the run | ratio |\n|---|---:|---:|---:|---:|")
    for name, each in runs.items():
        ratios = [
            statistics.median(one[what] / other[what] for one, other in zip(each, runs[NEITHER], strict=True))
            for what in range(2)
        ]
        seconds, processor = (statistics.median(one[what] for one in each) for what in range(2))
        print(f"| {name} | {seconds:.2f} | {ratios[0]:.2f} | {processor:.1f} | {ratios[1]:.2f} |")


def once(name: str) -> tuple[float, float]:
    """Run a variant once; return the seconds of its verifications, and the processor seconds of all."""
    document = yaml.safe_load((REPOSITORY / "examples" / "navigator.yaml").read_text())
    document["defaults"] = {key: value for key, value in document["defaults"].items() if key != "cache_path"}
    document["defaults"] |= VARIANTS[name]
    for model in document["models"]:
        model["model_path"] = str(REPOSITORY / "examples" / model["model_path"])
    file, workspace = SCRATCH / f"verification_{name}.yaml", SCRATCH / f"verification_{name}"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    options = ["--workspace-path", str(workspace), "--override-workspace", "--jobs", "1"]
    measured = measure([str(NAVIGATOR), "convert", "--config-path", str(file), *options], Path(f"{workspace}.log"))
    timeline = storage.read(workspace / storage.RESULTS).timeline
    shutil.rmtree(workspace)
    return sum(each.seconds for each in timeline if each.work is Work.VERIFY), measured.processor_seconds


if __name__ == "__main__":
    main()
