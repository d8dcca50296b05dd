"""Results of runs on GPUs, which are kept in tests/gpu/results.yaml, and the tables that the documentation has of them.

    python tools/gpu_results.py VISIT ...    add what `python -m tests.gpu.visit` brought back, packed or unpacked

A run on the same day with the same versions takes the place of what it repeats.
"""

import argparse
import json
import tarfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from tables import escaped, table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "tests" / "gpu" / "results.yaml"

_LIBRARIES = (
    "tensorrt",
    "torch-tensorrt",
    "torch",
    "tensorflow",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnx",
    "polygraphy",
)
_HEAD = """\
# What was run on a GPU, by `python -m tests.gpu.visit`. tools/gpu_results.py writes it; the documentation shows it.
"""
_PRECISIONS = ("fp32", "fp16", "int8")
# The states whose messages are shown.
_EXPLAINED = ("failed", "mismatched", "not_applicable")
# A message that is longer isn't for a table.
_LONGEST = 160

Data = dict[str, Any]


def runs(archive: Path) -> Iterator[Data]:
    """Yield the runs of a visit: where, with which versions, and what became of each conversion and test."""
    files = _unpacked(archive) if archive.is_dir() else _packed(archive)
    date = json.loads(files["visit.json"])["date"]
    found: dict[str, Data] = {}
    for name, text in files.items():
        if name.count("/") == 2 and name.endswith("workspace/convert_results.yaml"):
            _add(found, yaml.safe_load(text), date)
    tests = {name.split("/")[0]: text for name, text in files.items() if name.endswith("/junit.xml")}
    for each in found.values():
        each["tests"] = {name: _tests(text) for name, text in sorted(tests.items())}
    yield from found.values()


def _packed(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as packed:
        content = {each.name: packed.extractfile(each) for each in packed.getmembers() if each.isfile()}
        return {name: file.read() for name, file in content.items() if file is not None}


def _unpacked(directory: Path) -> dict[str, bytes]:
    found = [*directory.glob("*/workspace/convert_results.yaml"), *directory.glob("*/junit.xml")]
    return {str(path.relative_to(directory)): path.read_bytes() for path in [directory / "visit.json", *found]}


def _add(found: dict[str, Data], report: Mapping[str, Any], date: str) -> None:
    host = report["environment"]
    gpu = host["gpus"][0]
    versions = {name: host["versions"][name] for name in _LIBRARIES if name in host["versions"]}
    run = found.setdefault(
        str([gpu["name"], versions]),
        {
            "date": date,
            "gpu": gpu["name"],
            "driver": gpu["driver_version"],
            "python": host["python"],
            "versions": versions,
            "conversions": [],
        },
    )
    for each in report["results"]:
        configuration = each["conversion_config"]
        unfinished = each["status"]["state"] == "cancelled"
        if configuration["tensorrt_config"] is None or each["intermediate"] or unfinished:
            continue
        run["conversions"].append(
            {
                "model": each["model_name"],
                "source": each["source_model_config"]["model_format"],
                "conversion": each["conversion"],
                "target": configuration["target_format"],
                "precision": configuration["tensorrt_config"]["precision"],
                "level": configuration["tensorrt_config"].get("optimization_level"),
                "state": each["status"]["state"],
                "message": "" if each["status"]["state"] == "passed" else each["status"]["message"],
                "error": _worst(each["comparisons"]),
                "seconds": {key: round(value, 1) for key, value in each["seconds"].items()},
            }
        )


def _worst(comparisons: list[Data]) -> float | None:
    """Return the largest error on the GPU, relative to the largest value of its output."""
    found = []
    for each in comparisons:
        scale = max(abs(each["reference_min"] or 0), abs(each["reference_max"] or 0))
        if each["device"] == "cuda" and scale and each["max_abs_error"] is not None:
            found.append(each["max_abs_error"] / scale)
    return float(f"{max(found):.2g}") if found else None


def _tests(text: bytes) -> Data:
    """Return how many tests passed, and the others with their reasons."""
    counted: Counter[str] = Counter()
    others: dict[str, str] = {}
    for case in ElementTree.fromstring(text).iter("testcase"):  # noqa: S314 - we wrote it
        if not case.get("name"):  # the one during which pytest was interrupted
            continue
        problem = next((each for each in case if each.tag in ("failure", "error", "skipped")), None)
        counted["passed" if problem is None else problem.tag] += 1
        if problem is not None:
            others[str(case.get("name"))] = (
                f"{problem.tag}: {(problem.get('message') or '').splitlines()[0][:_LONGEST]}"
            )
    return {"counts": dict(counted), "others": others}


def add(archives: list[Path]) -> None:
    """Add what visits brought back to the results that are kept."""
    kept: list[Data] = (yaml.safe_load(RESULTS.read_text()) or []) if RESULTS.exists() else []
    for run in (each for archive in archives for each in runs(archive)):
        same = next((each for each in kept if _identity(each) == _identity(run)), None)
        if same is None:
            kept.append(run)
            continue
        again = {(each["model"], each["conversion"]) for each in run["conversions"]}
        rest = [each for each in same["conversions"] if (each["model"], each["conversion"]) not in again]
        same["conversions"] = [*rest, *run["conversions"]]
        same["tests"] = {**same["tests"], **run["tests"]}
    for run in kept:
        run["conversions"].sort(key=lambda each: (each["model"], each["target"], each["conversion"]))
    RESULTS.write_text(_HEAD + yaml.safe_dump(kept, sort_keys=False, width=120))


def _identity(run: Data) -> list[Any]:
    return [run["date"], run["gpu"], run["driver"], run["versions"]]


def gpu_results() -> str:
    """Return what was run on GPUs as tables: a row for each model and edge, a column for each precision."""
    kept: list[Data] = yaml.safe_load(RESULTS.read_text()) or []
    if not kept:
        return "No results of a run on a GPU are kept yet."
    return "\n\n".join(part for run in kept for part in _shown(run))


def _shown(run: Data) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    yield f"**{run['gpu']}**, driver {run['driver']}, on {run['date']}: Python {run['python']}, {versions}."
    if run.get("note"):
        yield escaped(run["note"])
    rows: dict[tuple[str, str], dict[str, list[Data]]] = {}
    for each in run["conversions"]:
        way = " → ".join([each["source"], *_between(each), each["target"]])
        rows.setdefault((each["model"], way), {}).setdefault(each["precision"], []).append(each)
    cells = (
        (escaped(model), escaped(way), *(_cell(found.get(precision, [])) for precision in _PRECISIONS))
        for (model, way), found in rows.items()
    )
    if rows:
        yield table(("Model", "Conversion", *_PRECISIONS), cells)
    for name, tests in run.get("tests", {}).items():
        counts = ", ".join(f"{count} {what}" for what, count in tests["counts"].items())
        others = "; ".join(f"{escaped(test)} ({escaped(why)})" for test, why in tests["others"].items())
        yield f"Tests ({name}): {counts}." + (f" Not passed: {others}." if others else "")


def _between(conversion: Data) -> list[str]:
    return ["onnx"] if "onnx_op" in conversion["conversion"] else []


def _cell(conversions: list[Data]) -> str:
    found: dict[str, None] = {}
    for each in conversions:
        error = f", {each['error']:.2g}" if each["error"] is not None else ""
        error = error or (f", max abs {each['max_abs']:.2g}" if each.get("max_abs") is not None else "")
        message = f": {escaped(each['message'][:_LONGEST])}" if each["state"] in _EXPLAINED else ""
        found[f"{each['state'].replace('_', ' ')}{error}{message}"] = None
    return "<br>".join(found) or "not run"


def main() -> None:
    """Add the visits that are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("archives", type=Path, nargs="+")
    add(parser.parse_args().archives)


if __name__ == "__main__":
    main()
