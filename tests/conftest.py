"""What tests of several folders share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_BUILD = Path(__file__).parent / "worker" / "framework_image" / "build.py"


@pytest.fixture(scope="session")
def framework() -> str:
    """Return the container image that stands in for a framework's: PyTorch, ONNX Runtime, and tasks of the tests."""
    ran = subprocess.run([sys.executable, _BUILD], capture_output=True, text=True, check=False)
    if ran.returncode == 77 and os.environ.get("NAVIGATOR_REQUIRE_DOCKER") != "1":
        pytest.skip(ran.stderr.strip())
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()
