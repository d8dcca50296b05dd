"""The best plain Python process for a matrix: what a careful engineer writes for one machine and one afternoon.

    python benchmarks/plain_process.py FILE DIRECTORY

It imports each framework once, runs the source model once for every sample, converts once at the lowest opset,
raises the others with onnx.version_converter and verifies each. It isolates nothing: a crash ends it all, and
memory is what the largest model needs on top of all frameworks.
"""

import os
import sys
import time
from pathlib import Path

# tf2onnx copies the whole graph before each optimiser to be able to take it back; the allocator's limits keep
# freed memory from going back to the system and coming again. The latter count only if set before the start.
TUNING = {
    "TF2ONNX_CATCH_ERRORS": "0",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_MMAP_THRESHOLD_": "8000000000",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
    # PyTorch's threads wait for each other by spinning: beside any other process, ten times slower (PyTorch 2.13).
    "OMP_WAIT_POLICY": "PASSIVE",
}


def main() -> int:
    """Convert and verify the matrix of a file; exit code 0 if all conversions pass."""
    if any(os.environ.get(name) != value for name, value in TUNING.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | TUNING)

    from baseline import compare, convert, copy, draw, load, raise_opset, run
    from matrix import cells
    from matrix import load as load_matrix

    file, directory = Path(sys.argv[1]), Path(sys.argv[2])
    good = total = 0
    for config in load_matrix(file).values():
        assert config.model_format is not None
        source = load(config.model_path, config.model_format, config)
        samples = draw(source, config)
        reference = run(source, samples)
        lowest: Path | None = None
        (directory / config.model_name).mkdir(parents=True)
        for cell in cells(config):
            started = time.monotonic()
            # PyTorch looks at a copy's suffix.
            label = f"onnx_op{cell.opset}" if cell.opset else f"{cell.target}{config.model_path.suffix}"
            artifact = directory / config.model_name / label
            if cell.opset is None:
                copy(config.model_path, artifact)
            elif lowest is None:
                convert(source, config, artifact, cell.opset)
                lowest = artifact
            else:
                raise_opset(lowest, artifact, cell.opset)
            converted = time.monotonic()
            outputs = run(load(artifact, cell.target, config), samples)
            passed, error = compare(reference, outputs, config, names=source.outputs)
            good, total = good + passed, total + 1
            print(
                f"{config.model_name} {label}: {'passed' if passed else 'MISMATCHED'}, error {error:.1e},"
                f" {converted - started:.1f} s + {time.monotonic() - converted:.1f} s",
                flush=True,
            )
    print(f"{good}/{total} conversions passed")
    return 0 if good == total else 1


if __name__ == "__main__":
    sys.exit(main())
