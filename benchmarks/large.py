"""Measure large models against a plain export and comparison in one process, and write benchmarks/large.md.

    python benchmarks/large.py [--repeats N] [--layers N] [--matrices N]

The first model is an encoder of BERT-large's dimensions with random weights, in TorchScript: 1.34 GB with 24 layers.
Beside the conversion to ONNX, its fp16 and int8 forms are measured, and the second run of what hasn't changed, from the
cache. The second one is an ONNX file with external data, 4 GB with 60 matrices, which is raised by an opset.

The plain process runs the samples that model-navigator runs, or, in a row of its own, the smallest, the usual and the
largest only.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from run import Measured, machine, measure, medians

BENCHMARKS = Path(__file__).resolve().parent
SCRATCH = BENCHMARKS.parent / "build" / "benchmarks" / "large"
NAVIGATOR = Path(sys.executable).with_name("model-navigator")
OPSET = 17
TYPED = (f"onnx_op{OPSET}/onnx_fp16", f"onnx_op{OPSET}/onnx_int8_single")
_WIDTH, _HEADS = 1024, 16
_SIDE = 4096
# Of the samples that model-navigator makes: at first the smallest, the usual and the largest.
SHAPES = ((1, 8), (1, 16), (2, 32), (2, 22), (1, 22), (2, 8), (1, 32), (2, 8), (2, 8))
ROWS = (1, 1, 2, 2, 1, 2)
FEW = 3
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
MATRICES = f"""
model_name: matrices
model_path: matrices.onnx
onnx_opsets: [{OPSET + 1}]
target_formats: [onnx]
max_batch_size: 2
"""

Rows = dict[str, tuple[Sequence[str | Path], Sequence[str | Path]]]
"""Commands by what they do, and what runs once before the first of each, if anything."""


def main() -> None:
    """Run the benchmark and write the table; `--make` and `--plain` are its own processes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--matrices", type=int, default=60)
    parser.add_argument("--make", choices=("encoder", "matrices"), help=argparse.SUPPRESS)
    parser.add_argument("--plain", choices=("encoder", "matrices"), help=argparse.SUPPRESS)
    parser.add_argument("--samples", type=int, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        _make(arguments.layers) if arguments.make == "encoder" else _make_matrices(arguments.matrices)
    elif arguments.plain:
        (_plain if arguments.plain == "encoder" else _plain_matrices)(arguments.samples)
    else:
        # Waiting threads of torch's spin otherwise, which would count as processor time; a worker's don't either.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        sections = [_heading(arguments.repeats)]
        for name, rows, size in (
            ("A TorchScript model", _encoder, ("--layers", arguments.layers)),
            ("An ONNX model with external data", _matrices, ("--matrices", arguments.matrices)),
        ):
            shutil.rmtree(SCRATCH, ignore_errors=True)
            SCRATCH.mkdir(parents=True)
            taken = _taken(rows(*map(str, size)), arguments.repeats)
            largest = max(file.stat().st_size for file in SCRATCH.glob("*.*"))
            sections.append(_table(f"{name} of {largest / 1e9:.2f} GB", taken))
        shutil.rmtree(SCRATCH)
        text = "\n\n".join(sections) + "\n"
        (BENCHMARKS / "large.md").write_text(text)
        print(f"\n{text}")


def _encoder(*size: str) -> Rows:
    subprocess.run([sys.executable, __file__, "--make", "encoder", *size], check=True)
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
    return {
        **_plain_rows("encoder", len(SHAPES)),
        "model-navigator": (_navigator("onnx"), ()),
        "again, unchanged, from the cache": (_navigator("cached"), _navigator("cached")),
        "with fp16 and int8": (_navigator("typed", "--conversions", *TYPED), ()),
    }


def _matrices(*size: str) -> Rows:
    subprocess.run([sys.executable, __file__, "--make", "matrices", *size], check=True)
    (SCRATCH / "matrices.yaml").write_text(MATRICES)
    (SCRATCH / "again.yaml").write_text(f"{MATRICES}cache_path: cache\n")
    return {
        **_plain_rows("matrices", len(ROWS)),
        "model-navigator": (_navigator("matrices"), ()),
        "again, unchanged, from the cache": (_navigator("again"), _navigator("again")),
    }


def _plain_rows(model: str, count: int) -> Rows:
    plain = (sys.executable, __file__, "--plain", model, "--samples")
    return {
        f"plain conversion and comparison of the same {count} samples": ((*plain, str(count)), ()),
        f"the same of {FEW} samples": ((*plain, str(FEW)), ()),
    }


def _taken(rows: Rows, repeats: int) -> dict[str, list[Measured]]:
    taken: dict[str, list[Measured]] = {name: [] for name in rows}
    for repeat in range(repeats):
        for name, (command, before) in rows.items():
            if before and not repeat:
                measure([str(each) for each in before], SCRATCH / "log")
            taken[name].append(measure([str(each) for each in command], SCRATCH / "log"))
            run = taken[name][-1]
            print(f"{name}: {run.seconds:.1f} s, {run.processor_seconds:.1f} s of processors", flush=True)
    return taken


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


def _make_matrices(count: int) -> None:
    """Write products of large matrices, whose numbers stay as large as the first ones."""
    import numpy as np
    import onnx

    draw = np.random.default_rng(0)
    graph = onnx.GraphProto(name="matrices")
    sides = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", _SIDE]) for name in "xy"]
    graph.input.append(sides[0])
    graph.output.append(sides[1])
    with (SCRATCH / "matrices.onnx.data").open("wb") as file:
        for number in range(count):
            offset = file.tell()
            (draw.standard_normal((_SIDE, _SIDE), np.float32) * np.float32((2 / _SIDE) ** 0.5)).tofile(file)
            weights = graph.initializer.add(name=f"w{number}", data_type=onnx.TensorProto.FLOAT, dims=(_SIDE, _SIDE))
            weights.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", "matrices.onnx.data"), ("offset", offset), ("length", 4 * _SIDE**2)):
                weights.external_data.add(key=key, value=str(value))
            given = f"r{number - 1}" if number else "x"
            made = f"r{number}" if number < count - 1 else "y"
            graph.node.append(onnx.helper.make_node("MatMul", [given, f"w{number}"], [f"m{number}"]))
            graph.node.append(onnx.helper.make_node("Relu", [f"m{number}"], [made]))
    opsets = [onnx.helper.make_opsetid("", OPSET)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), SCRATCH / "matrices.onnx")


def _plain_matrices(count: int) -> None:
    import numpy as np
    import onnx
    import onnx.version_converter
    import onnxruntime

    source, made = SCRATCH / "matrices.onnx", SCRATCH / "plain" / "matrices.onnx"
    made.parent.mkdir(exist_ok=True)
    model = onnx.load(source, load_external_data=False)
    onnx.save(onnx.version_converter.convert_version(model, OPSET + 1), made)
    shutil.copyfile(f"{source}.data", f"{made}.data")
    inputs = [np.random.default_rng(rows).random((rows, _SIDE), np.float32) for rows in ROWS[:count]]
    found = []
    for path in (source, made):
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        found.append([session.run(None, {"x": each})[0] for each in inputs])
        del session
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def _plain(count: int) -> None:
    import numpy as np
    import onnxruntime
    import torch

    module = torch.jit.load(str(SCRATCH / "encoder.pt"))
    inputs = [torch.randint(0, 30522, shape) for shape in SHAPES[:count]]
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
    for each, wanted in zip(inputs, expected, strict=True):
        np.testing.assert_allclose(session.run(None, {"ids": each.numpy()})[0], wanted, atol=1e-4)


def _heading(repeats: int) -> str:
    return (
        "# Benchmark of large models\n\n"
        f"`python benchmarks/large.py` writes this file: medians of {repeats} interleaved runs, each from start to "
        "exit. Processor time and memory are those of all its processes together. Memory is its peak, seen five times "
        "a second, or its largest process's, which the kernel keeps, if that's more: ONNX Runtime has weights twice "
        "for a moment while it copies them from a file. Anonymous memory leaves out the pages of files, such as "
        "weights that are used where they lie: the kernel takes these back when others need memory. The plain "
        "process measures no rounding of the source model's, takes no digest and compares no weights.\n\n"
        f"{machine(('torch', 'onnx', 'onnxruntime'))} Its load was {os.getloadavg()[0]:.0f} when the benchmark began: "
        "where that isn't 0, others used it too, and seconds say little."
    )


def _table(title: str, taken: dict[str, list[Measured]]) -> str:
    lines = [f"## {title}", ""]
    lines += [
        "| | seconds | of plain | processor seconds | of plain | memory | anonymous |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    found = {name: medians(runs) for name, runs in taken.items()}
    plain = next(iter(found.values()))
    for name, values in found.items():
        ratios = [f"{each:.1f} | {each / whole:.2f}" for each, whole in zip(values, plain, strict=True)]
        peak = max(max(run.total_bytes, run.largest_bytes) for run in taken[name])
        anonymous = max(run.anonymous_bytes for run in taken[name])
        cells = [*ratios, *(f"{each / 2**30:.2f} GiB" for each in (peak, anonymous))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
