"""Which ONNX models TensorRT for RTX takes: every one of the `onnx` package's own, built or refused with the reason.

    python benchmarks/onnx_models.py    writes benchmarks/onnx_models.md

A run of the command line like any other: each model is run, its engine is built, and no engine is executed.
"""

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import yaml

FOLDERS = ("light", "simple", "pytorch-converted")
_DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"


def model_files() -> dict[str, Path]:
    """Return the models by name: the folder and the file or directory they lie in."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((_DATA / folder).rglob("*.onnx")):
            name = path.stem if folder == "light" else path.parent.name
            found[f"{folder}-{name}"] = path
    return found


def convert(directory: Path, models: Mapping[str, Path], keys: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Run `model-navigator convert` on `models` in `directory` and return the results.

    Args:
        directory: where navigator.yaml and the workspace go.
        models: by name.
        keys: further options of every model.
    """
    entries = [{"model_name": name, "model_path": str(path)} for name, path in models.items()]
    document = {"defaults": {"launch_mode": "local", "max_batch_size": 2, **keys}, "models": entries}
    (directory / "navigator.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    command = [sys.executable, "-m", "navigator", "convert", "--allow-outside"]
    subprocess.run(command, cwd=directory, check=False, capture_output=True)
    report = yaml.safe_load((directory / "navigator_workspace" / "convert_results.yaml").read_text())
    results: list[dict[str, Any]] = report["results"]
    return results


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the results as a markdown table: models that were built as one line, refused ones with the reason."""
    engines = [each for each in results if each["conversion_config"]["target_format"] == "trt-rtx"]
    built = [each for each in engines if each["status"]["state"] == "unverified"]
    refused = [each for each in engines if each not in built]
    lines = ["| model | why not |", "|---|---|"]
    lines += [f"| {each['model_name']} | {each['status']['message'].replace('|', chr(92) + '|')} |" for each in refused]
    names = ", ".join(each["model_name"] for each in built)
    return "\n".join(
        [
            f"Built: {len(built)} of {len(engines)}. Refused: {len(refused)}.",
            "",
            *lines,
            "",
            f"Built, not executed: {names}.",
        ]
    )


def main() -> None:
    """Write the table."""
    with tempfile.TemporaryDirectory() as scratch:
        results = convert(Path(scratch), model_files(), {"target_formats": ["trt-rtx"], "tensorrt_precisions": "fp32"})
    text = (
        "# ONNX models on TensorRT for RTX\n\n"
        "`python benchmarks/onnx_models.py` writes this file: engines in fp32 of the `onnx` package's own models, "
        f"built on a CPU with onnx {onnx.__version__}.\n\n"
    )
    Path(__file__).with_suffix(".md").write_text(text + table(results) + "\n")


if __name__ == "__main__":
    main()
