"""Wrong weights that no output shows: whole runs."""

from pathlib import Path
from typing import Any

import pytest

from navigator.cache import remembered
from navigator.cache.digests import artifact_digest
from navigator.models.reading import Watch
from tests.run.conftest import Sabotage

SABOTAGE = """
import numpy as np
import onnx.version_converter

convert_version = onnx.version_converter.convert_version

def sabotaged(model, opset):
    converted = convert_version(model, opset)
    for tensor in converted.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor).copy()
        values[2, 1] += np.float32(1e-3)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return converted

onnx.version_converter.convert_version = sabotaged
"""

CONFIGURATION = """
defaults: {model_path: tiny.onnx, target_formats: onnx, onnx_opsets: 17, atol: 1, rtol: 1, max_batch_size: 4}
models:
  - {model_name: compared}
  - {model_name: trusted, compare_weights: false}
"""


@pytest.fixture
def results(convert: Any, project: Path, sabotage: Sabotage) -> Any:
    import onnx

    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]> tiny (float[batch, 4] x) => (float[batch, 3] y)'
        " <float[4, 3] table = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2}> { y = MatMul(x, table) }"
    )
    onnx.save(model, project / "tiny.onnx")
    sabotage(SABOTAGE)
    code, found = convert(CONFIGURATION)
    assert code == 1
    return {each["model_name"]: each for each in found["results"]}


@pytest.mark.fault(
    "A weight in an ONNX file is wrong, and all outputs are within tolerance",
    "The conversion is a mismatch that names the weight, with any tolerances.",
)
def test_a_wrong_weight_is_a_mismatch_with_any_tolerances(results: Any) -> None:
    found = results["compared"]

    assert found["status"]["state"] == "mismatched"
    assert found["status"]["message"].startswith(
        "weight table[2, 1] is 0.801 instead of 0.8 (in table, 1 of 12 elements differ); all outputs within tolerance"
    )
    assert found["suggested_tolerances"] is None
    assert all(each["passed"] for each in found["comparisons"])
    assert {key: found["weights"][key] for key in ("tensors", "recognised", "elements", "recognised_elements")} == {
        "tensors": 1,
        "recognised": 1,
        "elements": 12,
        "recognised_elements": 12,
    }


def test_weights_are_not_compared_on_request(results: Any) -> None:
    assert results["trusted"]["status"]["state"] == "passed"
    assert results["trusted"]["weights"] is None


DAMAGE = """
import shutil

import numpy as np

copyfile = shutil.copyfile

def damaged(source, target, **options):
    copyfile(source, target, **options)
    if str(source).endswith("damaged.data"):
        values = np.fromfile(target, np.float32)
        values[-1] += np.float32(1e-3)
        values.tofile(target)

shutil.copyfile = damaged
"""

COPIES = """
defaults: {target_formats: onnx, onnx_opsets: 17, atol: 1, rtol: 1, max_batch_size: 4}
models:
  - {model_name: right, model_path: right.onnx}
  - {model_name: damaged, model_path: damaged.onnx}
"""


def test_external_data_is_compared_once_and_a_damaged_copy_is_found(
    convert: Any, project: Path, sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights in a copy of the source model's file aren't looked at one by one."""
    import onnx

    for name in ("right", "damaged"):
        onnx.save(
            onnx.load("tiny.onnx"),
            f"{name}.onnx",
            save_as_external_data=True,
            location=f"{name}.data",
            size_threshold=0,
        )
    sabotage(DAMAGE)
    # Small files do, on whatever file system the tests run.
    monkeypatch.setattr(remembered, "_LARGE_BYTES", 1)
    with (project / "right.data").open("rb") as file:
        monkeypatch.setattr(remembered, "_KEEP_TIMES", {remembered._file_system(file.fileno())})
    found_copies: dict[Path, str] = {}
    copied = remembered.Remembered.copied

    def noted(self: remembered.Remembered, path: Path, watch: Watch) -> str:
        found_copies[path] = copied(self, path, watch)
        return found_copies[path]

    monkeypatch.setattr(remembered.Remembered, "copied", noted)
    code, found = convert(COPIES)
    assert code == 1
    right, damaged = ({each["model_name"]: each for each in found["results"]}[name] for name in ("right", "damaged"))
    assert right["status"]["state"] == "passed"
    assert right["weights"]["recognised"] == right["weights"]["tensors"] > 0
    assert damaged["status"]["message"].startswith("weight ")
    for each, is_copy in ((right, True), (damaged, False)):
        made = Path(each["output_model"]["path"]).parent
        assert bool(found_copies[made / f"{each['model_name']}.data"]) is is_copy
        assert each["output_model"]["sha256"] == artifact_digest(made)
