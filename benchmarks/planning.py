"""Measure what validating and planning thousands of models takes, and write benchmarks/planning.md.

    python benchmarks/planning.py [--repeats N] [--count MODELS]

The models are links to two of the examples. Each is opened and read all the same.
"""

import argparse
import os
import shutil
from pathlib import Path

from run import BENCHMARKS, NAVIGATOR, REPOSITORY, Measured, machine, measure, medians

SCRATCH = REPOSITORY / "build" / "benchmarks" / "planning"
MODELS = {"ONNX": "conv.onnx", "TorchScript": "bert_small.pt"}
COMMANDS = ("validate", "plan")


def main() -> None:
    """Run the benchmark and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--count", type=int, default=8000)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    shutil.rmtree(SCRATCH, ignore_errors=True)
    files = {title: _write(REPOSITORY / "examples/models" / name, arguments.count) for title, name in MODELS.items()}
    taken: dict[tuple[str, str], list[Measured]] = {(title, command): [] for title in files for command in COMMANDS}
    for _ in range(arguments.repeats):
        for (title, command), runs in taken.items():
            runs.append(measure([str(NAVIGATOR), command, str(files[title])], SCRATCH / "log"))
            print(f"{title}, {command}: {runs[-1].seconds:.1f} s", flush=True)
    text = _table(taken, arguments.count, load)
    (BENCHMARKS / "planning.md").write_text(text)
    print(f"\n{text}")


def _write(model: Path, count: int) -> Path:
    """Write a configuration of `count` models, and return it."""
    if not model.exists():
        raise SystemExit(f"{model} is missing\n  make the models first: python examples/make_models.py")
    directory = SCRATCH / model.stem
    directory.mkdir(parents=True)
    first = directory / f"0{model.suffix}"
    shutil.copy(model, first)
    for number in range(1, count):
        os.link(first, directory / f"{number}{model.suffix}")
    entries = (
        f"- {{model_name: m{number}, model_path: {number}{model.suffix}, target_formats: [onnx]}}\n"
        for number in range(count)
    )
    file = directory / "navigator.yaml"
    file.write_text(f"models:\n{''.join(entries)}")
    return file


def _table(taken: dict[tuple[str, str], list[Measured]], count: int, load: float) -> str:
    lines = [
        f"# Benchmark of {count:,} models",
        "",
        "`python benchmarks/planning.py` writes this file: medians of interleaved runs, from process start to exit.",
        f"Other work on the machine changes processor time less than seconds; its load was {load:.0f} when this began.",
        "The ONNX file has 8 KB. The TorchScript file has 163 entries, and `plan` reads 41 of them for the opset.",
        "",
        machine(("pyyaml", "msgspec")),
        "",
        "| models | command | seconds | processor seconds | milliseconds of a processor each |",
        "|---|---|---:|---:|---:|",
    ]
    for (title, command), runs in taken.items():
        seconds, used = medians(runs)
        lines.append(f"| {title} | `{command}` | {seconds:.1f} | {used:.1f} | {1000 * used / count:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
