"""What tests of several folders share."""

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.support.browser import NoBrowserError, chromium
from tests.support.peers import lack

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The same examples in every run, so that a pull request fails of what it changed; `make nightly` draws new ones.
settings.register_profile(
    "gate",
    derandomize=True,
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("nightly", settings.get_profile("gate"), derandomize=False, max_examples=2000)
settings.load_profile("gate")

# Set by pytest-xdist and by some shells: no test is about the width of the terminal that it runs on.
os.environ.pop("COLUMNS", None)

pytest_plugins = ["tests.support.processes"]

_IMAGES = Path(__file__).parent / "support" / "images.py"

Image = Callable[[str], str]


@pytest.fixture(scope="session")
def image() -> Image:
    """Return a function that builds an image (slim, full, framework) and returns its tag; `make images` did most."""

    @functools.cache
    def build(name: str) -> str:
        ran = subprocess.run([sys.executable, _IMAGES, name], capture_output=True, text=True, check=False)
        if ran.returncode == 77 and os.environ.get("NAVIGATOR_REQUIRE_DOCKER") != "1":
            pytest.skip(ran.stderr.strip())
        assert ran.returncode == 0, ran.stderr[-4000:]
        return ran.stdout.strip()

    return build


@pytest.fixture(scope="session")
def framework(image: Image) -> str:
    """Return the container image that stands in for a framework's: PyTorch, ONNX Runtime, and tasks of the tests."""
    return image("framework")


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an ONNX file at opset 13: x [batch, 4] -> y [batch, 3], z [batch, 4], with a dynamic batch."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weight"], ["product"]),
            helper.make_node("Tanh", ["product"], ["y"]),
            helper.make_node("Sigmoid", ["x"], ["z"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 4]),
        ],
        [numpy_helper.from_array(weight, "weight")],
    )
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """Return a headless Chromium."""
    try:
        with chromium() as started:
            yield started
    except NoBrowserError as error:
        lack(str(error))
