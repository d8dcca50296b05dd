"""Compare building and verifying TensorRT engines of ResNet-50 on a GPU with a plain Polygraphy program.

    python benchmarks/tensorrt_engines.py [--repeats N] [--level N] [--out DIRECTORY]    writes tensorrt_engines.md

The plain program is one process: it is given the fp16 file that model-navigator made, builds an engine of each file,
and compares both, and the fp16 file on each of ONNX Runtime's devices, with ONNX Runtime on the same shapes.
model-navigator is given the float32 file; it makes the fp16 file, verifies it on the same devices, and builds and
verifies the engines, each in a process of its own. Both begin without measurements of TensorRT's. Contestants take
turns.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

BENCHMARKS = Path(__file__).resolve().parent
REPOSITORY = BENCHMARKS.parent
SCRATCH = REPOSITORY / "build" / "benchmarks" / "tensorrt_engines"
SHAPES = {"min": [1, 3, 64, 64], "opt": [2, 3, 96, 96], "max": [4, 3, 128, 128]}
INPUT = "image__0"
_INPUTS: dict[str, Any] = {
    "atol": 3e-4,
    "rtol": 3e-4,
    "value_ranges": {INPUT: [-2, 2]},
    **{f"{name}_shapes": {INPUT: shape} for name, shape in SHAPES.items()},
}
# What a run's time is at most, relative to the plain program's.
LIMIT = 1.15

PLAIN = """
import json, sys
import numpy as np
from polygraphy.backend.trt import (CreateConfig, Profile, TrtRunner, engine_bytes_from_network, engine_from_bytes,
                                    network_from_onnx_path)
import onnxruntime
import tensorrt as trt
source, files, shapes, name, level = json.loads(sys.argv[1])
rng = np.random.default_rng(0)
samples = [rng.uniform(-2, 2, shape).astype("float32") for shape in shapes.values()]
session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
expected = [session.run(None, {name: sample})[0] for sample in samples]
for provider in ("CPUExecutionProvider", "CUDAExecutionProvider"):
    if provider in onnxruntime.get_available_providers():
        onnxruntime.preload_dlls()
        session = onnxruntime.InferenceSession(files[1][0], providers=[provider])
        for sample, right in zip(samples, expected):
            error = float(np.abs(session.run(None, {name: sample})[0] - right).max())
            print(files[1][0], provider, sample.shape, error)
            assert error < files[1][1]
for file, atol in files:
    config = CreateConfig(profiles=[Profile().add(name, *shapes.values())], builder_optimization_level=level)
    def exact(builder, network, config=config):
        made = config(builder, network)
        made.clear_flag(trt.BuilderFlag.TF32)
        return made
    engine = engine_bytes_from_network(network_from_onnx_path(file, strongly_typed=True), exact)
    open(file + ".plan", "wb").write(engine)
    with TrtRunner(engine_from_bytes(engine)) as runner:
        for sample, right in zip(samples, expected):
            made = next(iter(runner.infer({name: sample}).values()))
            error = float(np.abs(made - right).max())
            print(file, sample.shape, error)
            assert error < atol
"""


def main() -> None:
    """Run the benchmark and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--level", type=int, help="TensorRT's optimization level instead of its default")
    parser.add_argument("--out", type=Path, default=BENCHMARKS)
    arguments = parser.parse_args()
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir(parents=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    source = _source()
    runs: dict[str, list[float]] = {"plain": [], "navigator": []}
    for repeat in range(arguments.repeats):
        seconds, made = _navigator(source, SCRATCH / f"run-{repeat}", arguments.level)
        runs["navigator"].append(seconds)
        print(f"navigator: {seconds:.1f} s\n{(SCRATCH / 'last.log').read_text()[-3000:]}", flush=True)
        files = [[str(source), 3e-4], [str(made / "onnx_fp16" / "model.onnx"), 0.1]]
        given = json.dumps([str(source), files, SHAPES, INPUT, arguments.level])
        runs["plain"].append(_timed([sys.executable, "-c", PLAIN, given]))
        print(f"plain: {runs['plain'][-1]:.1f} s\n{(SCRATCH / 'last.log').read_text()[-1500:]}", flush=True)
        text = _table(runs, arguments.level)
        (arguments.out / "tensorrt_engines.md").write_text(text)
    print(f"\n{text}")


def _source() -> Path:
    """Return the example's ResNet-50 as ONNX, exported by model-navigator."""
    model = {
        "model_name": "resnet50",
        "model_path": os.path.relpath(REPOSITORY / "examples" / "models" / "resnet50.pt", SCRATCH),
        "target_formats": ["onnx"],
        "onnx_opsets": [17],
        "launch_mode": "local",
        **_INPUTS,
    }
    _run(model, SCRATCH / "export")
    return SCRATCH / "export" / "converted" / "resnet50" / "onnx_op17" / "model.onnx"


def _navigator(source: Path, workspace: Path, level: int | None) -> tuple[float, Path]:
    """Return the seconds of a run, and the directory of what it made."""
    model: dict[str, Any] = {
        "model_name": "resnet50",
        "model_path": os.path.relpath(source, SCRATCH),
        "target_formats": ["trt"],
        "tensorrt_precisions": ["fp32", "fp16"],
        "launch_mode": "local",
        **({} if level is None else {"tensorrt_optimization_level": level}),
        **_INPUTS,
    }
    seconds = _run(model, workspace)
    results = yaml.safe_load((workspace / "convert_results.yaml").read_text())["results"]
    if any(each["status"]["state"] != "passed" for each in results):
        raise SystemExit(f"not everything passed: see {workspace}")
    for each in results:
        print(f"  {each['conversion']}: {each['seconds']}", flush=True)
    return seconds, workspace / "converted" / "resnet50"


def _run(model: dict[str, Any], workspace: Path) -> float:
    """Convert a model and return the seconds it took."""
    (SCRATCH / "navigator.yaml").write_text(yaml.safe_dump(model, sort_keys=False))
    command = [sys.executable, "-m", "navigator", "convert", "--config-path", str(SCRATCH / "navigator.yaml")]
    return _timed([*command, "--workspace-path", str(workspace), "--allow-outside"])


def _timed(command: list[str]) -> float:
    """Run a command to its end and return the seconds it took; a failure ends the benchmark."""
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{os.environ.get('PYTHONPATH', '')}"}
    with (SCRATCH / "last.log").open("wb") as log:
        started = time.monotonic()
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=SCRATCH, check=False
        )
        seconds = time.monotonic() - started
    if ended.returncode != 0:
        said = (SCRATCH / "last.log").read_text(errors="replace")[-3000:]
        raise SystemExit(f"{' '.join(command)[:300]}\nended with {ended.returncode}:\n{said}")
    return seconds


def _table(runs: dict[str, list[float]], level: int | None) -> str:
    medians = {name: statistics.median(seconds) for name, seconds in runs.items()}
    names = ("onnx", "onnxruntime", "polygraphy", "tensorrt", "torch")
    versions = ", ".join([f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in names)])
    ratio = medians["navigator"] / medians["plain"]
    at = "TensorRT's own optimization level" if level is None else f"optimization level {level}"
    lines = [
        "# Engines of ResNet-50 for TensorRT",
        "",
        f"`python benchmarks/tensorrt_engines.py` writes this file: medians of {len(runs['plain'])}, in seconds.",
        "",
        f"An fp32 and an fp16 engine at dynamic shapes, built at {at} and compared at three shapes.",
        "",
        f"{_gpu()}. {versions}.",
        "",
        "| | seconds | of the plain program's |",
        "|---|---:|---:|",
        _row("a plain Polygraphy program, with the fp16 file made before", runs["plain"], 1.0),
        _row("model-navigator, which makes and verifies the fp16 file, too", runs["navigator"], ratio),
        "",
        f"The goal is at most {LIMIT:.2f}.",
    ]
    return "\n".join(lines) + "\n"


def _row(title: str, seconds: list[float], ratio: float) -> str:
    listed = ", ".join(f"{each:.1f}" for each in seconds)
    return f"| {title} | **{statistics.median(seconds):.1f}** ({listed}) | {ratio:.2f} |"


def _gpu() -> str:
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return listed.splitlines()[0].strip().replace(",", ", driver")


def _version(name: str) -> str:
    try:
        return version(name)
    except Exception:  # noqa: BLE001 - a distribution by another name
        return "?"


if __name__ == "__main__":
    main()
