"""SavedModels in float64: as close as float32 is, also where TensorFlow's kernels have no float64."""

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_what_a_model_computes_in_float64_is_close(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.tensorflow_exact", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {name for name, errors in found.items() if not errors} == {"float16", "training"}
    for name, errors in found.items():
        assert not errors or (errors["count"] == 0 and 0 < errors["y"] < 1e-4), name
