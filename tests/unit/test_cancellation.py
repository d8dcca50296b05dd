"""What cancels a job, in a process of its own, whose handlers it sets."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys
from navigator.action.cancellation import Cancellation
calls = []
cancelled = Cancellation(lambda: calls.append(1))
assert not cancelled
for _ in range(2):
    os.kill(os.getpid(), int(sys.argv[1]))
assert cancelled and calls == [1]
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_that_ends_a_run_cancels_a_job_once(number: signal.Signals) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, str(int(number))], check=True, timeout=60)
