"""A GPU whose memory another process has taken. Beside other tests on the same GPU, these would fail them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from navigator.workers.local.pool import TaskStatus
from tests.gpu.engines import CHANNELS, IMAGES, Engines, convolutions, exact, images, off, ranged

TAKE = """
import sys, torch
taken = []
for size in (2**30, 2**26, 2**22):
    try:
        while True:
            taken.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
    except torch.OutOfMemoryError:
        pass
print(sum(each.numel() for each in taken), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def taken() -> Iterator[subprocess.Popen[str]]:
    """Take all memory of the GPU, until the process is closed."""
    command = [sys.executable, "-c", TAKE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        print(f"{int(other.stdout.readline()) / 2**30:.1f} GiB taken")
        yield other
        other.kill()


def test_a_full_gpu_is_a_sentence_and_no_engine(
    engines: Engines, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source = convolutions(tmp_path / "m.onnx")
    large = ranged(x=((1, CHANNELS, 16, 16), (4096, CHANNELS, 16, 16), (8192, CHANNELS, 16, 16)))
    result, plan = engines.build(source, IMAGES)
    assert result.status is TaskStatus.FINISHED, result.message
    other = request.getfixturevalue("taken")

    built, made = engines.build(source, large)
    ran, _ = engines.infer(plan, [("one", images(8))])

    print(built.status, built.message, ran.status, ran.message, sep="\n")
    for each in (built, ran):
        assert each.status is TaskStatus.FAILED
        assert "needs more memory than is free on the GPU" in each.message
        assert "nvidia-smi" in each.remedy
    assert not made.exists()
    other.kill()
    other.wait()
    ran, outputs = engines.infer(plan, [("one", images(8))])
    assert ran.status is TaskStatus.FINISHED, ran.message
    assert off(outputs, exact(source, [images(8)])) < 1e-5
