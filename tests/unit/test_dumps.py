"""The dumps are read with Polygraphy itself, as the user's sample code reads them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from navigator.verify import polygraphy_json as dumps

RUNNERS = ("tf-savedmodel-runner", "onnx-runner")
Sets = list[tuple[str, dict[str, np.ndarray]]]


def a_run(count: int = 3, size: int = 4) -> tuple[Sets, dict[str, Sets]]:
    samples: Sets = []
    runs: dict[str, Sets] = {runner: [] for runner in RUNNERS}
    for number in range(count):
        samples.append((f"sample_{number}", {"image__0": np.full((number + 1, size), number, np.float32)}))
        for offset, runner in enumerate(RUNNERS):
            runs[runner].append((f"sample_{number}", {"output__0": np.full(size, number + offset, np.float64)}))
    return samples, runs


def load(paths: tuple[Path, ...]) -> tuple[Any, Any]:
    from polygraphy.comparator import RunResults
    from polygraphy.json import load_json

    return load_json(str(paths[0])), RunResults.load(str(paths[1]))


def test_the_sample_code_of_the_design_document_runs(tmp_path: Path) -> None:
    samples, runs = a_run()
    prefix = tmp_path / "resnet50_ts_script-ts2onnx_op13-polygraphyonnx2trt_tf32.plan"
    dump = dumps.write(prefix, samples, runs, limit_bytes=2**20)

    code = f"""
from polygraphy.json import load_json
from polygraphy.comparator import RunResults

inputs_data = load_json("{prefix}.comparator_inputs.json")
results = RunResults.load("{prefix}.comparator_outputs.json")
for input_data, onnx_output, trt_output in zip(
    inputs_data,
    results["tf-savedmodel-runner"],
    results["onnx-runner"]
):
    print(input_data["image__0"].shape, "image")
    print(onnx_output["output__0"].tolist(), "reference")
    print(trt_output["output__0"].tolist(), "artifact")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.endswith(("image", "reference", "artifact"))]
    assert lines == [
        "(1, 4) image",
        "[0.0, 0.0, 0.0, 0.0] reference",
        "[1.0, 1.0, 1.0, 1.0] artifact",
        "(2, 4) image",
        "[1.0, 1.0, 1.0, 1.0] reference",
        "[2.0, 2.0, 2.0, 2.0] artifact",
        "(3, 4) image",
        "[2.0, 2.0, 2.0, 2.0] reference",
        "[3.0, 3.0, 3.0, 3.0] artifact",
    ]
    assert [path.name for path in dump.paths] == [
        f"{prefix.name}.comparator_inputs.json",
        f"{prefix.name}.comparator_outputs.json",
    ]
    assert dump.left_out == ()


def test_every_dtype_layout_and_name_survives(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {
        dtype: (rng.random((3, 5)) * 100).astype(dtype)
        for dtype in ("float16", "float32", "float64", "int8", "uint8", "int64", "uint64", "bool", "complex64")
    }
    arrays |= {
        "scalar": np.array(3.5, np.float32),
        "empty": np.zeros((0, 2), np.int32),
        "not finite": np.array([np.nan, np.inf, -np.inf]),
        "fortran": np.asfortranarray(rng.random((3, 4))),
        "strided": rng.random((6, 4))[::2, ::-1],
        'a "quoted"/name:0 é': np.arange(3),
    }
    np.save(tmp_path / "mapped.npy", rng.random(1000))
    arrays["mapped"] = np.load(tmp_path / "mapped.npy", mmap_mode="r")

    dump = dumps.write(tmp_path / "made" / "here", [("a", arrays)], {"run": [("a", arrays)]}, limit_bytes=2**20)

    inputs, results = load(dump.paths)
    for read in (inputs[0], results["run"][0]):
        assert list(read.keys()) == list(arrays)
        for name, array in arrays.items():
            assert read[name].dtype == array.dtype, name
            np.testing.assert_array_equal(read[name], array, err_msg=name)


def test_whole_samples_are_left_out_beyond_the_limit(tmp_path: Path) -> None:
    samples, runs = a_run(count=4, size=1000)  # 4, 8, 12 and 16 kB of inputs, and 16 kB of outputs each
    dump = dumps.write(tmp_path / "x", samples, runs, limit_bytes=45_000)

    assert dump.left_out == ("sample_2", "sample_3")
    inputs, results = load(dump.paths)
    assert [len(item["image__0"]) for item in inputs] == [1, 2]
    assert [len(list(iterations)) for _, iterations in results.items()] == [2, 2]
    assert dump.paths[0].stat().st_size + dump.paths[1].stat().st_size < 1.4 * 45_000 + 5_000


def test_the_smallest_sample_is_kept_first(tmp_path: Path) -> None:
    samples, runs = a_run(count=3, size=1000)
    samples.reverse()
    dump = dumps.write(tmp_path / "x", samples, runs, limit_bytes=30_000)

    assert dump.left_out == ("sample_2", "sample_1")
    assert load(dump.paths)[0][0]["image__0"].shape == (1, 1000)


def test_nothing_is_written_where_nothing_fits_and_old_files_go(tmp_path: Path) -> None:
    samples, runs = a_run()
    dumps.write(tmp_path / "x", samples, runs)
    dump = dumps.write(tmp_path / "x", samples, runs, limit_bytes=10)

    assert dump == dumps.Dump(paths=(), left_out=("sample_0", "sample_1", "sample_2"))
    assert list(tmp_path.iterdir()) == []


def test_a_sample_without_outputs_is_left_out_so_that_zip_pairs(tmp_path: Path) -> None:
    samples, runs = a_run()
    del runs["onnx-runner"][1]
    dump = dumps.write(tmp_path / "x", samples, runs)

    inputs, results = load(dump.paths)
    assert dump.left_out == ("sample_1",)
    assert [len(item["image__0"]) for item in inputs] == [1, 3]
    assert [item["output__0"][0] for item in results["onnx-runner"]] == [1, 3]


def test_a_failed_write_leaves_the_old_file_and_no_half_one(tmp_path: Path) -> None:
    samples, runs = a_run()
    dump = dumps.write(tmp_path / "x", samples, runs)
    before = [path.read_bytes() for path in dump.paths]
    samples[1][1]["image__0"] = np.array([object()])

    with pytest.raises(ValueError, match="allow_pickle"):
        dumps.write(tmp_path / "x", samples, runs)

    assert [path.read_bytes() for path in dump.paths] == before
    assert sorted(tmp_path.iterdir()) == sorted(dump.paths)


def test_writing_imports_no_framework(tmp_path: Path) -> None:
    code = f"""
import sys
import numpy as np
from pathlib import Path
from navigator.verify import polygraphy_json as dumps
sets = [("a", {{"x": np.arange(3)}})]
dumps.write(Path({str(tmp_path / "x")!r}), sets, {{"run": sets}})
print([name for name in ("torch", "tensorflow", "onnx", "onnxruntime", "polygraphy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
