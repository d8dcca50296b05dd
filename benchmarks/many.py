"""Measure what a conversion costs among few others and among many, and write benchmarks/many.md.

    python benchmarks/many.py [--repeats N] [--counts FEW MANY]

Every conversion is the copy of an ONNX file with one product of matrices, so that all the time is model-navigator's.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx

BENCHMARKS = Path(__file__).resolve().parent
SCRATCH = BENCHMARKS.parent / "build" / "benchmarks" / "many"
NAVIGATOR = Path(sys.executable).with_name("model-navigator")


def main() -> None:
    """Run the benchmark and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--counts", type=int, nargs=2, default=(100, 1000))
    arguments = parser.parse_args()
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir(parents=True)
    _write_models(max(arguments.counts))
    taken: dict[int, list[float]] = {count: [] for count in arguments.counts}
    for _ in range(arguments.repeats):
        for count in arguments.counts:
            taken[count].append(_run(count))
            print(f"{count} conversions: {taken[count][-1]:.1f} s", flush=True)
    text = _table(taken)
    (BENCHMARKS / "many.md").write_text(text)
    print(f"\n{text}")


def _write_models(count: int) -> None:
    for number in range(count):
        weights = np.random.default_rng(number).normal(size=(4, 4)).astype(np.float32)
        sides = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 4]) for name in "xy"]
        product = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
        graph = onnx.helper.make_graph(
            [product], "product", sides[:1], sides[1:], [onnx.numpy_helper.from_array(weights, "w")]
        )
        opsets = [onnx.helper.make_opsetid("", 17)]
        onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), SCRATCH / f"{number}.onnx")


def _run(count: int) -> float:
    models = "".join(
        f"- {{model_name: m{number}, model_path: {number}.onnx, target_formats: [onnx], max_batch_size: 4}}\n"
        for number in range(count)
    )
    file = SCRATCH / f"{count}.yaml"
    file.write_text(f"models:\n{models}")
    command: list[str | Path] = [NAVIGATOR, "convert", "--config-path", file, "--workspace-path", SCRATCH / "workspace"]
    started = time.monotonic()
    with (SCRATCH / "log").open("wb") as log:
        subprocess.run([*command, "--override-workspace"], check=True, stdout=log, stderr=log)
    return time.monotonic() - started


def _table(taken: dict[int, list[float]]) -> str:
    lines = [
        "# Benchmark of many conversions",
        "",
        "`python benchmarks/many.py` writes this file: medians of interleaved runs, each from process start to exit.",
        "",
        "| conversions | seconds | seconds each | of the few |",
        "|---:|---:|---:|---:|",
    ]
    each = {count: statistics.median(seconds) / count for count, seconds in taken.items()}
    few = next(iter(each.values()))
    lines += [
        f"| {count:,} | {statistics.median(seconds):.1f} | {each[count]:.3f} | {each[count] / few:.2f} |"
        for count, seconds in taken.items()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
