"""Measure what a conversion costs among few others and among many, and write benchmarks/many.md.

    python benchmarks/many.py [--repeats N] [--counts FEW MANY]

Every conversion is the copy of an ONNX file with one product of matrices, so that all the time is model-navigator's.
"""

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
from run import Measured, machine, measure, medians

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
    taken: dict[int, list[Measured]] = {count: [] for count in arguments.counts}
    for _ in range(arguments.repeats):
        for count in arguments.counts:
            taken[count].append(_run(count))
            run = taken[count][-1]
            print(f"{count} conversions: {run.seconds:.1f} s, {run.processor_seconds:.1f} s of processors", flush=True)
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


def _run(count: int) -> Measured:
    models = "".join(
        f"- {{model_name: m{number}, model_path: {number}.onnx, target_formats: [onnx], max_batch_size: 4}}\n"
        for number in range(count)
    )
    file = SCRATCH / f"{count}.yaml"
    file.write_text(f"models:\n{models}")
    workspace = ["--workspace-path", str(SCRATCH / "workspace"), "--override-workspace"]
    return measure([str(NAVIGATOR), "convert", "--config-path", str(file), *workspace], SCRATCH / "log")


def _table(taken: dict[int, list[Measured]]) -> str:
    lines = [
        "# Benchmark of many conversions",
        "",
        "`python benchmarks/many.py` writes this file: medians of interleaved runs, each from process start to exit.",
        "Processor time is that of all processes together, which other work on the machine changes less.",
        "",
        machine(("onnx", "onnxruntime")),
        "",
        "| conversions | seconds | processor seconds | processor seconds each | of the few |",
        "|---:|---:|---:|---:|---:|",
    ]
    found = {count: medians(runs) for count, runs in taken.items()}
    few = next(used / count for count, (_, used) in found.items())
    lines += [
        f"| {count:,} | {seconds:.1f} | {used:.1f} | {used / count:.3f} | {used / count / few:.2f} |"
        for count, (seconds, used) in found.items()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
