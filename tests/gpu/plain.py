"""Build engines with Polygraphy alone and compare them with ONNX Runtime: `python -m tests.gpu.plain DIRECTORY MODELS`.

Where a run says that an engine is wrong, this tells whether TensorRT is, or what this project adds to it.
"""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SHAPES: dict[str, dict[str, list[list[int]]]] = {
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": {"x": [[1, 3, 32, 32], [2, 3, 48, 192], [4, 3, 640, 640]]},
    "magika.onnx": {"bytes": [[1, 2048], [2, 2048], [4, 2048]]},
    "minilm.onnx": {"input_ids": [[1, 1], [2, 64], [4, 512]], "attention_mask": [[1, 1], [2, 64], [4, 512]]},
}


def inputs(name: str, shapes: dict[str, list[int]]) -> dict[str, dict[str, np.ndarray]]:
    """Return inputs by what they are called."""
    rng = np.random.default_rng(0)
    if "magika" in name:
        shape = shapes["bytes"]
        found = {
            "random": {"bytes": rng.integers(0, 257, shape).astype("int32")},
            "zeros": {"bytes": np.zeros(shape, "int32")},
            "ends": {"bytes": np.where(rng.random(shape) < 0.5, 0, 256).astype("int32")},
        }
    elif "minilm" in name:
        shape = shapes["input_ids"]
        ids = rng.integers(0, 30522, shape)
        ones = np.ones(shape, "int64")
        found = {
            "random": {"input_ids": ids, "attention_mask": ones},
            "zeros": {"input_ids": np.zeros(shape, "int64"), "attention_mask": np.zeros(shape, "int64")},
            "masked": {"input_ids": ids, "attention_mask": np.zeros(shape, "int64")},
        }
    else:
        found = {
            "random": {"x": rng.uniform(-1, 1, shapes["x"]).astype("float32")},
            "zeros": {"x": np.zeros(shapes["x"], "float32")},
        }
    return found


def compared(path: Path) -> list[dict[str, Any]]:
    """Return the errors of an engine, built in float32 without TF32."""
    import onnxruntime
    from polygraphy.backend.trt import (
        CreateConfig,
        Profile,
        TrtRunner,
        engine_bytes_from_network,
        engine_from_bytes,
        network_from_onnx_path,
    )

    trt = importlib.import_module("tensorrt")
    profile = Profile()
    for name, (low, usual, high) in SHAPES[path.name].items():
        profile.add(name, low, usual, high)
    create = CreateConfig(profiles=[profile])

    def exact(builder: Any, network: Any) -> Any:
        made = create(builder, network)
        made.clear_flag(trt.BuilderFlag.TF32)
        return made

    started = time.monotonic()
    content = engine_bytes_from_network(network_from_onnx_path(str(path), strongly_typed=True), exact)
    found: list[dict[str, Any]] = [{"model": path.name, "build": round(time.monotonic() - started, 1)}]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with TrtRunner(engine_from_bytes(content)) as runner:
        for place in range(3):
            shapes = {name: sizes[place] for name, sizes in SHAPES[path.name].items()}
            for what, feed in inputs(path.name, shapes).items():
                expected = session.run(None, feed)[0]
                made = next(iter(runner.infer(feed).values())).copy()
                error = np.abs(made - expected)
                found.append(
                    {
                        "model": path.name,
                        "shapes": shapes,
                        "input": what,
                        "not_finite": int((~np.isfinite(made)).sum()),
                        "error": float(np.nanmax(error)) if np.isfinite(error).any() else None,
                        "largest": float(np.abs(expected).max()),
                    }
                )
    return found


def main() -> None:
    """Compare each model that is there, and write what came out."""
    directory, models = Path(sys.argv[1]), Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, Any]] = []
    for name in sorted(SHAPES, reverse=True):
        if (models / name).exists():
            try:
                found += compared(models / name)
            except Exception as error:  # noqa: BLE001 - the others still count
                found.append({"model": name, "failed": f"{type(error).__name__}: {error}"})
            (directory / "plain.json").write_text(json.dumps(found, indent=1))
            for each in found:
                print(each, flush=True)


if __name__ == "__main__":
    main()
