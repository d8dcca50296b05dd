"""The examples with the default tolerances: one weight off by a thousandth is found, and what is right passes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def judged(model: str, directory: Path, count: int) -> dict[str, list[str]]:
    command = [sys.executable, "-m", "tests.support.single_weights", model, str(directory / "made"), str(count)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def check(found: dict[str, list[str]]) -> None:
    assert not found["right"]
    assert not found["missed"]


def test_one_wrong_weight_of_the_smallest_example_is_found(tmp_path: Path) -> None:
    check(judged("conv", tmp_path, 10))


@pytest.mark.nightly
@pytest.mark.parametrize("model", ["resnet50", "mobilenetv2", "bert_small", "mlp_mixer"])
def test_one_wrong_weight_of_an_example_is_found(tmp_path: Path, model: str) -> None:
    check(judged(model, tmp_path, 25))
