"""Compare the engines of ResNet-50 for TensorRT for RTX with `polygraphy convert`, by hand, once a precision.

    python benchmarks/engines.py [--repeats N]    writes benchmarks/engines.md

By hand there is one process for each engine, which is given the typed ONNX file: that file is made beforehand and not
timed, nor is anything verified. model-navigator is given the float32 ONNX file; it makes the typed files, verifies
each on ONNX Runtime, and builds. Contestants take turns, so ratios mean more than seconds. Builds need no GPU.
"""

import argparse
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
SCRATCH = REPOSITORY / "build" / "benchmarks" / "engines"
SHAPES = {"min": [1, 3, 64, 64], "opt": [2, 3, 96, 96], "max": [4, 3, 128, 128]}
PRECISIONS = ("int8", "fp16", "fp32")
INPUT = "image__0"


def main() -> None:
    """Run the benchmark and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir(parents=True)
    source = _source()
    typed = _typed(source)
    runs: dict[str, list[float]] = {"navigator": [], "engines alone": [], "by hand": [], "again": []}
    for repeat in range(repeats):
        cache = SCRATCH / f"cache-{repeat}"
        for name in ("navigator", "again"):
            seconds, results = _navigator(source, SCRATCH / "workspace", cache)
            runs[name].append(seconds)
            if name == "navigator":
                runs["engines alone"].append(sum(each["seconds"]["convert"] for each in results if _is_engine(each)))
        runs["by hand"].append(sum(_by_hand(path) for path in typed.values()))
        print({name: [f"{each:.1f}" for each in seconds] for name, seconds in runs.items()}, flush=True)
    text = _table(runs, repeats)
    (BENCHMARKS / "engines.md").write_text(text)
    print(f"\n{text}")


def _source() -> Path:
    """Return the example's ResNet-50 as ONNX, exported by model-navigator."""
    config = REPOSITORY / "examples" / "navigator.yaml"
    workspace = SCRATCH / "export"
    command = [sys.executable, "-m", "navigator", "convert", "--config-path", str(config)]
    command += ["--workspace-path", str(workspace), "--models", "resnet50", "--conversions", "onnx_op17"]
    _timed(command)
    return workspace / "converted" / "resnet50" / "onnx_op17" / "model.onnx"


def _typed(source: Path) -> dict[str, Path]:
    """Return the ONNX file of each precision, as one run of model-navigator made them."""
    workspace = SCRATCH / "typed"
    _navigator(source, workspace, None)
    made = workspace / "converted" / "resnet50"
    files = {"int8": made / "onnx_int8_hierarchy" / "model.onnx", "fp16": made / "onnx_fp16" / "model.onnx"}
    return {**files, "fp32": source}


def _navigator(source: Path, workspace: Path, cache: Path | None) -> tuple[float, list[dict[str, Any]]]:
    model: dict[str, Any] = {
        "model_name": "resnet50",
        "model_path": os.path.relpath(source, SCRATCH),
        "target_formats": ["trt-rtx"],
        "fail_on_unverified": False,
        "tensorrt_precisions": list(PRECISIONS),
        "launch_mode": "local",
        "atol": 3e-4,
        "rtol": 3e-4,
        "value_ranges": {INPUT: [-2, 2]},
        **{f"{name}_shapes": {INPUT: shape} for name, shape in SHAPES.items()},
        **({"cache_path": str(cache)} if cache else {}),
    }
    (SCRATCH / "navigator.yaml").write_text(yaml.safe_dump(model, sort_keys=False))
    command = [sys.executable, "-m", "navigator", "convert", "--config-path", SCRATCH / "navigator.yaml"]
    command += ["--workspace-path", workspace, "--override-workspace", "--allow-outside"]
    seconds = _timed([str(each) for each in command])
    results: list[dict[str, Any]] = yaml.safe_load((workspace / "convert_results.yaml").read_text())["results"]
    built = [each for each in results if _is_engine(each) and each["status"]["state"] == "unverified"]
    if len(built) != len(PRECISIONS):
        raise SystemExit(f"{len(built)} of {len(PRECISIONS)} engines were built: see {workspace}")
    return seconds, results


def _by_hand(typed: Path) -> float:
    shapes = [
        word
        for name, shape in SHAPES.items()
        for word in (f"--trt-{name}-shapes", f"{INPUT}:[{','.join(map(str, shape))}]")
    ]
    polygraphy = str(Path(sys.executable).with_name("polygraphy"))
    command = [polygraphy, "convert", str(typed), "-o", str(SCRATCH / "by_hand.plan"), "--convert-to", "trt"]
    return _timed([*command, "--strongly-typed", *shapes], POLYGRAPHY_USE_TENSORRT_RTX="1")


def _is_engine(result: dict[str, Any]) -> bool:
    return bool(result["conversion_config"]["target_format"] == "trt-rtx")


def _timed(command: list[str], **variables: str) -> float:
    """Run a command to its end and return the seconds it took; a failure ends the benchmark."""
    with (SCRATCH / "last.log").open("wb") as log:
        started = time.monotonic()
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | variables, check=False
        )
        seconds = time.monotonic() - started
    if ended.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\nended with {ended.returncode}: see {SCRATCH / 'last.log'}")
    return seconds


def _table(runs: dict[str, list[float]], repeats: int) -> str:
    titles = {
        "navigator": "model-navigator: fp16 and int8 files, verified on the CPU, and three engines",
        "engines alone": "of which: the three engine builds, one after another",
        "by hand": "`polygraphy convert` three times, with the files made before, without verification",
        "again": "model-navigator again, unchanged, from the cache",
    }
    medians = {name: statistics.median(seconds) for name, seconds in runs.items()}
    names = ("onnx", "onnxruntime", "polygraphy", "tensorrt-rtx-cu13")
    versions = ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)])
    lines = [
        "# Engines of ResNet-50 for TensorRT for RTX",
        "",
        f"`python benchmarks/engines.py` writes this file: medians of {repeats} interleaved repeats, in seconds.",
        "",
        f"int8, fp16 and fp32 at dynamic shapes, built on {os.cpu_count()} cores without a GPU. {versions}.",
        "",
        "| | seconds | of by hand |",
        "|---|---:|---:|",
    ]
    for name, seconds in runs.items():
        all_of_them = ", ".join(f"{each:.1f}" for each in seconds)
        ratio = medians[name] / medians["by hand"]
        lines.append(f"| {titles[name]} | **{medians[name]:.1f}** ({all_of_them}) | {ratio:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
