"""Whole runs that the user's metric decides: a classifier of digits in int8, with labels."""
# ruff: noqa: TID253 - the frameworks are what is tested

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from navigator.workers import landlock

# The digits of a display of 5 x 7 dots, a row a number.
GLYPHS = (
    "0E 11 13 15 19 11 0E, 04 0C 04 04 04 04 0E, 0E 11 01 02 04 08 1F, 1F 02 04 02 01 11 0E, 02 06 0A 12 1F 02 02, "
    "1F 10 1E 01 01 11 0E, 06 08 10 1E 11 11 0E, 1F 01 02 04 08 08 08, 0E 11 11 0E 11 11 0E, 0E 11 11 0F 01 02 0C"
)
CLASSIFIER = """
<ir_version: 8, opset_import: ["" : 17]>
digits (float[batch, 35] image) => (float[batch, 10] scores) {
    product = MatMul(image, weight)
    scores = Add(product, bias)
}
"""
METRICS = """
import numpy as np

def accuracy(outputs, sample):
    return outputs["scores"].argmax(axis=-1) == sample["digit"]

def margin(outputs, sample):
    scores, rows = outputs["scores"].copy(), np.arange(len(sample["digit"]))
    own = scores[rows, sample["digit"]]
    scores[rows, sample["digit"]] = -np.inf
    return np.clip(own - scores.max(axis=-1), 0, None)

def typo(outputs, sample):
    return outputs["score"]

def jumpy(outputs, sample, source):
    return [True] * (1 + (not np.array_equal(outputs["scores"], source["scores"])))

def closed_in(outputs, sample):
    import socket
    from pathlib import Path
    here = Path(__file__)
    ways = (
        (here.with_name("navigator.yaml")).read_text,
        (here.with_name("new")).touch,
        lambda: here.write_text(""),
        lambda: socket.create_connection(("192.0.2.1", 80)),
    )
    return [outputs["scores"].size > 0 and refused(way) for way in ways]

def refused(way):
    try:
        way()
    except OSError:
        return True
    return False
"""
INT8 = """
model_name: digits
model_path: digits.onnx
target_formats: [trt-rtx]
tensorrt_precisions: [int8]
tensorrt_precisions_mode: single
samples: [{samples}]
calibration_samples: [{calibration}]
metric: metric.py:{metric}
"""


@pytest.fixture
def digits(project: Path) -> Path:
    """Return a directory with a trained classifier, labelled files, and some to calibrate on, of which two are dark."""
    rows = np.array([[int(row, 16) for row in glyph.split()] for glyph in GLYPHS.split(", ")])
    glyphs = ((rows[..., None] >> np.arange(4, -1, -1)) & 1).reshape(10, 35)
    rng = np.random.default_rng(0)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(0, 10, count)
        return np.clip(glyphs[labels] + rng.normal(0, 0.35, (count, 35)), 0, 1).astype("float32"), labels

    images, labels = drawn(2000)
    known = np.c_[images, np.ones(len(images))]
    solution = np.linalg.lstsq(known, np.eye(10)[labels], rcond=None)[0]
    model = parser.parse_model(CLASSIFIER)
    for name, value in (("weight", solution[:-1]), ("bias", solution[-1])):
        model.graph.initializer.append(numpy_helper.from_array(value.astype("float32"), name))
    onnx.save(model, project / "digits.onnx")
    for name, count in (("many", 3000), ("few", 20)):
        images, labels = drawn(count)
        np.savez(project / f"{name}.npz", image=images, digit=labels)
    images, _ = drawn(200)
    for name, brightness in (("bright", 1.0), ("dim", 0.7), ("dark", 0.01)):
        np.savez(project / f"{name}.npz", image=(images * brightness).astype("float32"))
    (project / "metric.py").write_text(METRICS)
    return project


def in_int8(convert: Any, samples: str, calibration: str, metric: str = "accuracy", more: str = "") -> dict[str, Any]:
    text = INT8.format(samples=samples, calibration=calibration, metric=metric)
    _, report = convert(text + more, "--conversions", "onnx_int8_single")
    (result,) = report["results"]
    found: dict[str, Any] = result
    return found


def test_int8_that_decides_as_the_source_does_passes_whatever_its_scores_are(digits: Path, convert: Any) -> None:
    result = in_int8(convert, "many.npz", "dim.npz")

    (comparison,), (metric,) = result["comparisons"], result["metrics"]
    assert comparison["mismatched"] > 0
    assert (comparison["passed"], comparison["overruled"]) == (True, True)
    assert (metric["outcome"], metric["items"], metric["target"]) == ("kept", 3000, 0.99)
    assert metric["outputs"] == ["scores"]
    assert 0.9 < metric["source"] < 1
    assert metric["fraction"] > metric["at_least"] >= 0.99
    assert result["status"]["state"] == "passed"
    assert result["status"]["message"].startswith(f"accuracy {np.floor(1e4 * metric['converted']) / 100:g} % (source ")
    assert "the metric overrules the default tolerances" in result["status"]["message"]
    assert (result["warnings"], result["suggested_tolerances"]) == ([], None)
    assert "accuracy" in (digits / "navigator_workspace" / "summary.md").read_text()


@pytest.mark.nightly
def test_tolerances_of_the_user_hold_beside_a_metric(digits: Path, convert: Any) -> None:
    result = in_int8(convert, "many.npz", "dim.npz", more="int8_atol: 0.1\n")

    assert result["metrics"][0]["outcome"] == "kept"
    assert result["status"]["state"] == "mismatched"


@pytest.mark.parametrize(
    ("samples", "calibration", "metric", "state", "message"),
    [
        pytest.param("many.npz", "dark.npz", "accuracy", "mismatched", "less than 99 %", id="broken"),
        pytest.param("few.npz", "dark.npz", "accuracy", "mismatched", "of 20 items", id="broken-few"),
        pytest.param("few.npz", "bright.npz", "accuracy", "unverified", "too few items to say 99 %", id="few"),
        pytest.param("many.npz", "bright.npz", "margin", "passed", "(95 % sure: at least 99", id="numbers"),
        pytest.param("many.npz", "bright.npz", "jumpy", "failed", "differs in sample 'many': 1 for", id="jumpy"),
        pytest.param("many.npz", "dark.npz", "margin", "mismatched", "less than 99 %", id="numbers-broken"),
    ],
)
@pytest.mark.nightly
def test_int8(
    digits: Path, convert: Any, samples: str, calibration: str, metric: str, state: str, message: str
) -> None:
    result = in_int8(convert, samples, calibration, metric)

    assert result["status"]["state"] == state
    assert message in result["status"]["message"]


@pytest.mark.fault(
    "Your metric raises an exception",
    "That model's conversions are blocked or fail, with the line of your file. The others go on.",
)
def test_each_metric_of_a_run_is_told_apart(digits: Path, convert: Any) -> None:
    options = "model_path: digits.onnx, samples: [few.npz], target_formats: [onnx]"
    names = ("accuracy", "typo", "jumpy", *(["closed_in"] if landlock.version() >= 3 else []))
    lines = [f"  - {{model_name: {name}, metric: metric.py:{name}, {options}}}\n" for name in names]
    before = (digits / "metric.py").read_text()

    _, report = convert("models:\n" + "".join(lines))

    found = {each["model_name"]: each for each in report["results"]}
    states = {name: each["status"]["state"] for name, each in found.items()}
    # In fp32, matching outputs are the proof, with few items too.
    assert states.pop("accuracy") == "passed"
    assert found["accuracy"]["metrics"][0]["outcome"] == "unproven"
    assert states.pop("typo") == "blocked"
    assert found["typo"]["status"]["message"] == (
        "blocked by the metric, which fails for the source model: the metric typo fails for sample 'few': metric.py, "
        "line 14: KeyError: 'score'"
    )
    assert found["typo"]["remedy"] == "fix the metric; outputs has scores; sample has image, digit"
    assert states.pop("jumpy") == "passed"
    if states:
        assert states == {"closed_in": "passed"}
        (metric,) = found["closed_in"]["metrics"]
        assert (metric["source"], metric["items"]) == (1.0, 4)
    assert (digits / "metric.py").read_text() == before
    assert not (digits / "new").exists()


def test_another_metric_is_another_verdict(digits: Path, convert: Any) -> None:
    text = "model_name: m\nmodel_path: digits.onnx\nsamples: [few.npz]\ntarget_formats: [onnx]\ncache_path: cache\n"
    cached = []
    for body in (METRICS, METRICS, f"{METRICS}\n# other"):
        (digits / "metric.py").write_text(body)
        _, report = convert(f"{text}metric: metric.py:accuracy\n")
        (result,) = report["results"]
        cached.append(result["cached"])
        assert len(result["metrics"]) == 1
    assert cached == [False, True, False]
