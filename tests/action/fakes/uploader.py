"""Uploads a file as an artifact and says how much memory that took.

    python uploader.py <file> [<protocol>]

The environment is a job's, with ACTIONS_*.
"""

import json
import os
import sys
import time
from pathlib import Path

from navigator.github.artifacts.client import Artifacts
from navigator.github.budget import Budget


def main() -> None:
    file = Path(sys.argv[1])
    token = os.environ["ACTIONS_RUNTIME_TOKEN"]
    protocol = int(sys.argv[2]) if len(sys.argv) > 2 else 7
    artifacts = Artifacts.of(os.environ, token, budget=Budget(240), mask=lambda _: None, protocol=protocol)
    before, start = peak_bytes(), time.monotonic()
    made = artifacts.upload("large", [(file.name, file)], retention_days=None, compression_level=1, overwrite=False)
    used = {
        "id": made.id,
        "digest": made.digest,
        "grown_bytes": peak_bytes() - before,
        "before_bytes": before,
        "seconds": time.monotonic() - start,
    }
    sys.stdout.write(json.dumps(used))


def peak_bytes() -> int:
    """Return the most memory this program ever had. (The ru_maxrss of getrusage has its parent's in it.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
