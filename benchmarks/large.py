"""Measure large models against a plain export and comparison in one process, and write benchmarks/large.md.

    python benchmarks/large.py [--repeats N] [--layers N]

The model is an encoder of BERT-large's dimensions with random weights, in TorchScript: 1.34 GB with 24 layers. Beside
the conversion to ONNX, its fp16 and int8 forms are measured, and the second run of what hasn't changed, from the cache.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from run import Measured, measure

BENCHMARKS = Path(__file__).resolve().parent
SCRATCH = BENCHMARKS.parent / "build" / "benchmarks" / "large"
NAVIGATOR = Path(sys.executable).with_name("model-navigator")
OPSET = 17
TYPED = (f"onnx_op{OPSET}/onnx_fp16", f"onnx_op{OPSET}/onnx_int8_single")
_WIDTH, _HEADS = 1024, 16
SHAPES = ((1, 8), (1, 16), (2, 32))
CONFIGURATION = f"""
model_name: encoder
model_path: encoder.pt
onnx_opsets: [{OPSET}]
inputs: [{{name: ids, shape: [-1, -1], dtype: int64}}]
outputs: [{{name: y, shape: [-1, 2], dtype: float32}}]
max_batch_size: 2
min_shapes: {{ids: [1, 8]}}
opt_shapes: {{ids: [1, 16]}}
max_shapes: {{ids: [2, 32]}}
value_ranges: {{ids: [0, 30521]}}
"""


def main() -> None:
    """Run the benchmark and write the table; `--make` and `--plain` are its own processes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        _make(arguments.layers)
    elif arguments.plain:
        _plain()
    else:
        _compare(arguments.repeats, arguments.layers)


def _compare(repeats: int, layers: int) -> None:
    shutil.rmtree(SCRATCH, ignore_errors=True)
    SCRATCH.mkdir(parents=True)
    subprocess.run([sys.executable, __file__, "--make", "--layers", str(layers)], check=True)
    for name, more in (
        ("onnx", "target_formats: [onnx]"),
        ("cached", "target_formats: [onnx]\ncache_path: cache"),
        (
            "typed",
            (
                "target_formats: [onnx, trt-rtx]\ntensorrt_precisions: [fp16, int8]\ntensorrt_precisions_mode: single\n"
                "fail_on_unverified: false"
            ),  # int8 is calibrated and compared on the same random inputs
        ),
    ):
        (SCRATCH / f"{name}.yaml").write_text(f"{CONFIGURATION}{more}\n")
    # Waiting threads of torch's spin otherwise, which would count as processor time; a worker's don't either.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    plain: Sequence[str | Path] = (sys.executable, __file__, "--plain")
    rows = {
        "plain export and comparison": (plain, ()),
        "model-navigator": (_navigator("onnx"), ()),
        "again, unchanged, from the cache": (_navigator("cached"), _navigator("cached")),
        "with fp16 and int8": (_navigator("typed", "--conversions", *TYPED), ()),
    }
    taken: dict[str, list[Measured]] = {name: [] for name in rows}
    for repeat in range(repeats):
        for name, (command, before) in rows.items():
            if before and not repeat:
                measure([str(each) for each in before], SCRATCH / "log")
            taken[name].append(measure([str(each) for each in command], SCRATCH / "log"))
            run = taken[name][-1]
            print(f"{name}: {run.seconds:.1f} s, {run.processor_seconds:.1f} s of processors", flush=True)
    text = _table(taken, (SCRATCH / "encoder.pt").stat().st_size)
    (BENCHMARKS / "large.md").write_text(text)
    print(f"\n{text}")


def _navigator(name: str, *more: str) -> tuple[str | Path, ...]:
    workspace = ("--workspace-path", SCRATCH / f"workspace-{name}", "--override-workspace")
    return (NAVIGATOR, "convert", "--config-path", SCRATCH / f"{name}.yaml", *workspace, *more)


def _make(layers: int) -> None:
    import torch
    from torch import nn

    torch.manual_seed(0)

    # Not torch's own layers, whose trace torch's exporter refuses ("unflatten" of an unknown rank) without
    # model-navigator's patch.
    class Layer(nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value, self.out = (nn.Linear(_WIDTH, _WIDTH) for _ in range(4))
            self.wide, self.narrow = nn.Linear(_WIDTH, 4 * _WIDTH), nn.Linear(4 * _WIDTH, _WIDTH)
            self.norms = nn.ModuleList([nn.LayerNorm(_WIDTH), nn.LayerNorm(_WIDTH)])

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            batch, length, _ = hidden.shape
            query, key, value = (
                each(hidden).view(batch, length, _HEADS, _WIDTH // _HEADS).transpose(1, 2)
                for each in (self.query, self.key, self.value)
            )
            scores = query @ key.transpose(2, 3) / (_WIDTH // _HEADS) ** 0.5
            mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, length, _WIDTH)
            hidden = self.norms[0](hidden + self.out(mixed))
            return self.norms[1](hidden + self.narrow(nn.functional.gelu(self.wide(hidden))))

    class Encoder(nn.Module):  # type: ignore[misc]  # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.words, self.positions = nn.Embedding(30522, _WIDTH), nn.Embedding(512, _WIDTH)
            self.layers = nn.ModuleList(Layer() for _ in range(layers))
            self.head = nn.Linear(_WIDTH, 2)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            hidden = self.words(ids) + self.positions(torch.arange(ids.shape[1]))
            for layer in self.layers:
                hidden = layer(hidden)
            return self.head(hidden[:, 0])

    with torch.no_grad():
        traced = torch.jit.trace(Encoder().eval(), torch.zeros(SHAPES[1], dtype=torch.int64), check_trace=False)
    traced.save(str(SCRATCH / "encoder.pt"))


def _plain() -> None:
    import numpy as np
    import onnxruntime
    import torch

    module = torch.jit.load(str(SCRATCH / "encoder.pt"))
    inputs = [torch.randint(0, 30522, shape) for shape in SHAPES]
    with torch.no_grad():
        expected = [module(each).numpy() for each in inputs]
    made = SCRATCH / "plain.onnx"
    axes = {"ids": {0: "batch", 1: "length"}, "y": {0: "batch"}}
    torch.onnx.export(
        module,
        (inputs[1],),
        str(made),
        dynamo=False,
        opset_version=OPSET,
        input_names=["ids"],
        output_names=["y"],
        dynamic_axes=axes,
    )
    session = onnxruntime.InferenceSession(str(made), providers=["CPUExecutionProvider"])
    for each, reference in zip(inputs, expected, strict=True):
        np.testing.assert_allclose(session.run(None, {"ids": each.numpy()})[0], reference, atol=1e-4)


def _table(taken: dict[str, list[Measured]], size: int) -> str:
    lines = [
        "# Benchmark of a large model",
        "",
        f"`python benchmarks/large.py` writes this file: a TorchScript model of {size / 1e9:.2f} GB, medians of",
        "interleaved runs, each from process start to exit; processor time and memory are those of all its processes",
        "together, memory at its peak.",
        "",
        "| | seconds | of plain | processor seconds | of plain | memory |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    medians = {
        name: [
            statistics.median(run.seconds for run in runs),
            statistics.median(run.processor_seconds for run in runs),
        ]
        for name, runs in taken.items()
    }
    plain = next(iter(medians.values()))
    for name, values in medians.items():
        ratios = [f"{each:.1f} | {each / whole:.2f}" for each, whole in zip(values, plain, strict=True)]
        lines.append(f"| {name} | {' | '.join(ratios)} | {_peak(taken[name]):.2f} GiB |")
    return "\n".join(lines) + "\n"


def _peak(runs: Sequence[Measured]) -> float:
    return max(run.total_bytes for run in runs) / 2**30


if __name__ == "__main__":
    main()
