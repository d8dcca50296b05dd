"""What fp16 and int8 keep of trained networks on inputs like those that they were made for.

    pip install --no-deps --target DIRECTORY rapidocr-onnxruntime==1.4.4 magika==1.0.3 silero-vad==6.2.3 pillow
    python benchmarks/trained_models.py DIRECTORY    writes benchmarks/trained_models.md

Each network has twelve files of inputs: rendered text, files of many types, synthetic speech. int8 is measured with
scales from every other file, and once more with wrong ones, from noise. Nothing else is configured, and no engine is
built.
"""

import argparse
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import yaml

FILES = 12
TEXT = (
    "The quick brown fox reads 1,204 signs along the road and pays $37.50 for a ticket to the sea, while Anna counts "
    "gulls, boats and open umbrellas. Nobody asked about it before Tuesday (or after). Invoice No. 88-213 is due on "
    "12 May; please call +44 20 7946 0018 between 9:30 and 17:00"
)

Arrays = dict[str, Any]


class Network(NamedTuple):
    """A trained network: its file below the directory of packages, its inputs, and noise of the same shapes."""

    name: str
    file: str
    inputs: Callable[[Path, np.random.Generator], Iterator[Arrays]]
    noise: Callable[[np.random.Generator, np.ndarray], np.ndarray]


def main() -> None:
    """Convert, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path, help="where pip put the packages")
    directory = parser.parse_args().directory.resolve()
    sys.path.append(str(directory))
    rows = []
    for network in NETWORKS:
        with tempfile.TemporaryDirectory() as scratch:
            measured = _measured(network, directory, Path(scratch))
        print("\n".join(measured), flush=True)
        rows += measured
    text = (
        "# What fp16 and int8 keep of trained networks\n\n"
        "`python benchmarks/trained_models.py` writes this file: the networks of rapidocr-onnxruntime 1.4.4, magika "
        "1.0.3 and silero-vad 6.2.3, each on twelve files of inputs. `int8` is `int8_hierarchy`; its wrong scales were "
        f"measured on noise. Verified on a CPU with onnx {version('onnx')} and ONNX Runtime {version('onnxruntime')}, "
        "whose rounding is that of the graph. The files whose types are told are those of this Python and its "
        "packages: elsewhere, others.\n\n"
        "| Network, output | Precision | Out of tolerance | SQNR | Variance explained | Top-1 flips | Conversion |\n"
        "|---|---|---:|---:|---:|---:|---|\n"
    )
    Path(__file__).with_suffix(".md").write_text(text + "\n".join(rows) + "\n")


def _measured(network: Network, directory: Path, scratch: Path) -> list[str]:
    rng = np.random.default_rng(0)
    path = directory / network.file
    names = []
    for number, arrays in enumerate(islice(network.inputs(path, rng), FILES)):
        names.append(f"{number}.npz")
        np.savez(scratch / names[-1], **arrays)
        noise: Arrays = {name: network.noise(rng, each) for name, each in arrays.items()}
        np.savez(scratch / f"noise{number}.npz", **noise)
    shared = {
        "model_path": str(path),
        "target_formats": ["trt-rtx"],
        "samples": names,
        "state_steps": 0,
        "timeout_seconds": 1800,
    }
    models = {
        "right": {"tensorrt_precisions": ["fp16", "int8"]},
        "wrong": {"tensorrt_precisions": ["int8"], "calibration_samples": [f"noise{each}" for each in names]},
    }
    document = {"defaults": shared, "models": [{"model_name": name, **keys} for name, keys in models.items()]}
    (scratch / "navigator.yaml").write_text(yaml.safe_dump(document))
    command = [sys.executable, "-m", "navigator", "convert", "--allow-outside"]
    command += ["--conversions", "onnx_fp16", "onnx_int8_hierarchy"]
    ran = subprocess.run(command, cwd=scratch, check=False, capture_output=True, text=True)
    report = scratch / "navigator_workspace" / "convert_results.yaml"
    if not report.exists():
        sys.exit(ran.stderr)
    return list(_rows(network.name, yaml.safe_load(report.read_text())["results"]))


def _rows(name: str, results: list[dict[str, Any]]) -> Iterator[str]:
    for result in results:
        precision = result["conversion_config"]["tensorrt_config"]["precision"]
        precision += ", wrong scales" if result["model_name"] == "wrong" else ""
        if not result["comparisons"]:
            yield f"| {name} | {precision} | | | | | {result['status']['state']}: {result['status']['message']} |"
        for each in result["comparisons"]:
            kept = each["agreement"]
            flips = kept["decisions"]
            cells = [
                f"{name}, `{each['output']}`",
                precision,
                f"{each['mismatched']:,} of {each['total']:,}",
                f"{kept['sqnr_db']:.0f} dB" if kept["sqnr_db"] is not None else "exact",
                f"{kept['explained']:.3f}",
                f"{flips['flips']} of {flips['count']}" if flips else "",
                result["status"]["state"],
            ]
            yield f"| {' | '.join(cells)} |"


def _text(rng: np.random.Generator, width: int, height: int, lines: int) -> np.ndarray:
    """Draw words, dark on light or the other way round; return [3, height, width] from -1 to 1."""
    from PIL import Image, ImageDraw, ImageFont

    paper, ink = (int(rng.integers(200, 256)), int(rng.integers(0, 80)))[:: rng.choice([1, -1])]
    image = Image.new("L", (width, height), paper)
    pen = ImageDraw.Draw(image)
    size = height / lines
    for line in range(lines):
        words = " ".join(rng.choice(TEXT.split(), 12))
        font = ImageFont.load_default(size * rng.uniform(0.5, 0.75))
        pen.text((rng.uniform(0, size), size * line), words, ink, font)
    grey = np.asarray(image, "float32") / 127.5 - 1
    noisy = np.clip(grey + rng.normal(0, 0.02, grey.shape), -1, 1)
    return np.stack([noisy] * 3).astype("float32")


def _pages(_: Path, rng: np.random.Generator) -> Iterator[Arrays]:
    while True:
        yield {"x": _text(rng, 320, 224, int(rng.integers(4, 10)))[np.newaxis]}


def _lines(_: Path, rng: np.random.Generator) -> Iterator[Arrays]:
    while True:
        yield {"x": np.stack([_text(rng, 320, 48, 1) for _ in range(2)])}


def _turned_lines(_: Path, rng: np.random.Generator) -> Iterator[Arrays]:
    while True:
        rows = [_text(rng, 192, 48, 1) for _ in range(8)]
        yield {"x": np.stack([row[:, ::-1, ::-1] if number % 2 else row for number, row in enumerate(rows)])}


def _files(path: Path, rng: np.random.Generator) -> Iterator[Arrays]:
    """Read the first and the last KiB, as magika does, of files of as many types as the packages and Python have."""
    kinds: dict[str, list[Path]] = {}
    for root in (path.parents[3], Path(sysconfig.get_path("stdlib"))):
        for file in sorted(root.rglob("*.*")):
            if file.is_file() and file.stat().st_size > 64 and len(kinds.setdefault(file.suffix, [])) < 8:
                kinds[file.suffix].append(file)
    some = [each[turn] for turn in range(8) for _, each in sorted(kinds.items()) if turn < len(each)]
    order = rng.permutation(min(8 * FILES, len(some)))
    for start in range(0, len(order), 8):
        yield {"bytes": np.stack([_ends(some[index]) for index in order[start : start + 8]])}


def _ends(file: Path) -> np.ndarray:
    content = file.read_bytes()
    nothing = 256
    ends = np.full((2, 1024), nothing, "int32")
    first, last = content[:4096].lstrip()[:1024], content[-4096:].rstrip()[-1024:]
    ends[0, : len(first)] = list(first)
    ends[1, 1024 - len(last) :] = list(last)
    return ends.reshape(-1)


def _speech(path: Path, rng: np.random.Generator) -> Iterator[Arrays]:
    """Sing vowels of four voices with pauses; the state is the network's own after the steps before."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rate, step, context = 16000, 512, 64
    while True:
        time = np.arange(step * 40) / rate
        voices = []
        for pitch in rng.uniform(90, 250, 4):
            wobble = 2 * np.pi * pitch * (time + 0.003 * np.sin(2 * np.pi * 4 * time))
            formant = rng.uniform(400, 900)
            harmonics = [np.sin(k * wobble) / (1 + ((k * pitch - formant) / 200) ** 2) for k in range(1, 30)]
            loudness = np.clip(np.sin(2 * np.pi * rng.uniform(1, 3) * time + rng.uniform(0, 6)), 0, 1)
            voices.append(0.3 * loudness * np.sum(harmonics, 0) + rng.normal(0, 0.003, time.shape))
        sound = np.stack(voices).astype("float32").clip(-1, 1)
        state = np.zeros((2, len(voices), 128), "float32")
        for at in range(context, step * int(rng.integers(10, 38)), step):
            arrays = {"input": sound[:, at - context : at + step], "state": state, "sr": np.array(rate)}
            state = session.run(None, arrays)[1]
        yield arrays


def _uniform(rng: np.random.Generator, like: np.ndarray) -> np.ndarray:
    return rng.uniform(-1, 1, like.shape).astype("float32") if like.dtype == np.float32 else like


def _bytes(rng: np.random.Generator, like: np.ndarray) -> np.ndarray:
    return rng.integers(0, 256, like.shape).astype(like.dtype)


NETWORKS = (
    Network("file types", "magika/models/standard_v3_3/model.onnx", _files, _bytes),
    Network("speech", "silero_vad/data/silero_vad_16k_op15.onnx", _speech, _uniform),
    Network(
        "text direction", "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx", _turned_lines, _uniform
    ),
    Network("text detection", "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", _pages, _uniform),
    Network("text recognition", "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", _lines, _uniform),
)

if __name__ == "__main__":
    main()
