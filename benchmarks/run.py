"""Compare model-navigator with the two ways to do its work by hand, and write benchmarks/results.md.

    python benchmarks/run.py [--repeats N] [--contestants NAME ...] [--matrices NAME ...]

Contestants take turns within one run on one machine, so ratios mean more than seconds. Every contestant converts
and verifies the same conversions with the same samples; one that does not get all of them right ends the benchmark.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import psutil
import yaml

BENCHMARKS = Path(__file__).resolve().parent
REPOSITORY = BENCHMARKS.parent
SCRATCH = REPOSITORY / "build" / "benchmarks"
NAVIGATOR = Path(sys.executable).with_name("model-navigator")
CONTESTANTS = ("navigator", "plain", "by_hand")
TITLES = {"navigator": "model-navigator", "plain": "best plain process", "by_hand": "shell script"}
MATRICES = {"examples": "the examples", "three_opsets": "SavedModel MobileNetV2 at opsets 13, 14, 15"}

# How often memory is looked at: each look walks the page tables of all processes, a few milliseconds.
POLL_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One run.

    `total_bytes` is the largest sum over its processes, a page that several share counted once; `anonymous_bytes` the
    same without the pages of files; `largest_bytes` the peak of its largest process; `processor_seconds` what all its
    processes used of the processors together, which other work on the machine changes less than `seconds`.
    """

    seconds: float
    processor_seconds: float
    total_bytes: int
    anonymous_bytes: int
    largest_bytes: int


def main() -> None:
    """Run the benchmark and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS))
    parser.add_argument("--matrices", nargs="+", choices=list(MATRICES), default=list(MATRICES))
    arguments = parser.parse_args()
    shutil.rmtree(SCRATCH, ignore_errors=True)
    files = _write_matrices()
    sections = [_heading(arguments.repeats)]
    for matrix in arguments.matrices:
        runs = _take_turns(files[matrix], arguments.contestants, arguments.repeats)
        sections.append(_table(MATRICES[matrix], _count_cells(files[matrix]), runs))
    if "navigator" in arguments.contestants:
        sections.append(_small_numbers(files["cached"], arguments.repeats))
    text = "\n\n".join(sections) + "\n"
    (BENCHMARKS / "results.md").write_text(text)
    print(f"\n{text}")


def _write_matrices() -> dict[str, Path]:
    """Write the files that the contestants read: the examples without a cache, and variants of them."""
    document = yaml.safe_load((REPOSITORY / "examples" / "navigator.yaml").read_text())
    for model in document["models"]:
        path = REPOSITORY / "examples" / model["model_path"]
        if not path.exists():
            raise SystemExit(f"{path} is missing\n  make the models first: python examples/make_models.py")
        model["model_path"] = os.path.relpath(path, SCRATCH)
    defaults = {key: value for key, value in document["defaults"].items() if key != "cache_path"}
    mobilenet = next(model for model in document["models"] if model["model_name"] == "mobilenetv2")
    three = mobilenet | {"target_formats": ["onnx"], "onnx_opsets": [13, 14, 15]}
    variants = {
        "examples": document | {"defaults": defaults},
        "three_opsets": {"defaults": defaults, "models": [three]},
        "cached": document | {"defaults": defaults | {"cache_path": "cache"}},
        "wrong": {"defaults": defaults, "models": [mobilenet | {"max_shape": {"image": [4, 128, 128, 3]}}]},
    }
    SCRATCH.mkdir(parents=True)
    for name, variant in variants.items():
        (SCRATCH / f"{name}.yaml").write_text(yaml.safe_dump(variant, sort_keys=False))
    return {name: SCRATCH / f"{name}.yaml" for name in variants}


def _count_cells(file: Path) -> int:
    listed = subprocess.run(
        [sys.executable, BENCHMARKS / "matrix.py", file], check=True, capture_output=True, text=True
    ).stdout
    return len(listed.splitlines())


def _take_turns(file: Path, contestants: Sequence[str], repeats: int) -> dict[str, list[Measured]]:
    runs: dict[str, list[Measured]] = {contestant: [] for contestant in contestants}
    for repeat in range(repeats):
        for contestant in contestants:
            directory = SCRATCH / f"{file.stem}_{contestant}_{repeat}"
            measured = measure(_command(contestant, file, directory), SCRATCH / f"{directory.name}.log")
            shutil.rmtree(directory, ignore_errors=True)
            runs[contestant].append(measured)
            print(
                f"{file.stem}, {contestant}, repeat {repeat + 1} of {repeats}: {measured.seconds:.1f} s,"
                f" {measured.total_bytes / 2**30:.2f} GiB",
                flush=True,
            )
    return runs


def _command(contestant: str, file: Path, directory: Path) -> list[str]:
    if contestant == "navigator":
        workspace = ["--workspace-path", str(directory), "--override-workspace"]
        return [str(NAVIGATOR), "convert", "--config-path", str(file), *workspace]
    if contestant == "plain":
        return [sys.executable, str(BENCHMARKS / "plain_process.py"), str(file), str(directory)]
    return [str(BENCHMARKS / "by_hand.sh"), str(file), str(directory), sys.executable]


def measure(command: Sequence[str], log: Path, *, expected: int = 0) -> Measured:
    """Run a command to its end and return what it took; any other exit code than `expected` ends the benchmark."""
    with log.open("wb") as stream:
        started = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, cwd=REPOSITORY
        )
        seen = [(0, 0)]
        ended = threading.Event()
        poller = threading.Thread(target=_poll, args=(process.pid, ended, seen))
        poller.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        ended.set()
        poller.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != expected:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise SystemExit(f"{' '.join(map(str, command))}\nended with {process.returncode}, not {expected}:\n{tail}")
    return Measured(
        seconds=seconds,
        processor_seconds=usage.ru_utime + usage.ru_stime,
        total_bytes=max(total for total, _ in seen),
        anonymous_bytes=max(anonymous for _, anonymous in seen),
        largest_bytes=usage.ru_maxrss * 1024,
    )


def medians(runs: Sequence[Measured]) -> tuple[float, float]:
    """Return the median seconds and processor seconds of several runs."""
    return statistics.median(run.seconds for run in runs), statistics.median(run.processor_seconds for run in runs)


def _poll(pid: int, ended: threading.Event, seen: list[tuple[int, int]]) -> None:
    while not ended.wait(POLL_SECONDS):
        seen.append(_memory(pid))


def _memory(pid: int) -> tuple[int, int]:
    """Return the memory of a process and all below it, and how much of it isn't the pages of files.

    A page that several share counts once.
    """
    total = anonymous = 0
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0, 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:  # it has ended, or isn't ours
            continue
        kibibytes = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
        total += kibibytes["Pss"] * 1024
        anonymous += (kibibytes["Pss_Anon"] + kibibytes["Pss_Shmem"]) * 1024
    return total, anonymous


def _heading(repeats: int) -> str:
    return (
        "# Benchmark\n\n"
        "`make bench` writes this file. Times are medians of "
        f"{repeats} interleaved repeats, each from process start to exit; memory is the peak.\n\n"
        f"{machine(('tensorflow', 'torch', 'tf2onnx', 'onnx', 'onnxruntime'))}\n\n"
        "*Best plain process*: `plain_process.py`, one process without isolation that imports each framework once, "
        "runs each source model once, converts once and raises the opset. *Shell script*: `by_hand.sh`, a fresh "
        "process for every conversion and every comparison."
    )


def machine(names: Sequence[str]) -> str:
    """Say what a benchmark ran on, with the versions of these packages."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"Machine: {_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, no GPU used. "
        f"Python {platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in names)}."
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _table(title: str, count: int, runs: Mapping[str, Sequence[Measured]]) -> str:
    lines = [
        f"## {title[0].upper()}{title[1:]}: {count} conversions",
        "",
        "| | seconds | of plain | of shell script | memory of all processes | largest process |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    medians = {name: statistics.median(run.seconds for run in measured) for name, measured in runs.items()}
    for name, measured in runs.items():
        ratios = [f"{medians[name] / medians[other]:.2f}" if other in medians else "" for other in ("plain", "by_hand")]
        total = max(run.total_bytes for run in measured) / 2**30
        largest = max(run.largest_bytes for run in measured) / 2**30
        times = ", ".join(f"{run.seconds:.1f}" for run in measured)
        lines.append(
            f"| {TITLES[name]} | **{medians[name]:.1f}** ({times}) | {ratios[0]} | {ratios[1]}"
            f" | {total:.2f} GiB | {largest:.2f} GiB |"
        )
    return "\n".join(lines)


def _small_numbers(cached: Path, repeats: int) -> str:
    """Measure what a user waits for when there is nothing to convert."""
    again = _command("navigator", cached, SCRATCH / "again")
    measure(again, SCRATCH / "filling.log")
    wrong = [str(NAVIGATOR), "validate", str(SCRATCH / "wrong.yaml")]
    rows: list[tuple[str, list[str], int]] = [
        ("the examples again, unchanged, from the cache", again, 0),
        ("a configuration error: `model-navigator validate`", wrong, 2),
        ("`model-navigator --help`", [str(NAVIGATOR), "--help"], 0),
    ]
    lines = ["## model-navigator, nothing to convert", "", "| | seconds | memory |", "|---|---:|---:|"]
    for title, command, expected in rows:
        runs = [measure(command, SCRATCH / "small.log", expected=expected) for _ in range(max(5, repeats))]
        seconds = statistics.median(run.seconds for run in runs)
        lines.append(f"| {title} | {seconds:.2f} | {max(run.largest_bytes for run in runs) / 2**20:.0f} MiB |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
