"""Protocol 4 with the server that it is for: act's own."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

_UPLOADER = Path(__file__).parent / "fakes/uploader.py"
_WORKFLOW = """
on: push
jobs:
  upload:
    runs-on: ubuntu-latest
    steps:
      - run: |
          "$PYTHON" "$UPLOADER" "$FILE" 4 > "$ANSWER"
"""


def test_act_keeps_what_is_uploaded_by_protocol_4(tmp_path: Path) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(os.urandom(20 * 2**20))
    repository = tmp_path / "repository"
    (repository / ".github/workflows").mkdir(parents=True)
    (repository / ".github/workflows/upload.yml").write_text(_WORKFLOW)
    subprocess.run(["git", "init", "--quiet", repository], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    answer = tmp_path / "answer.json"
    told = {"PYTHON": sys.executable, "UPLOADER": _UPLOADER, "FILE": model, "ANSWER": answer}

    ran = subprocess.run(
        [
            *(Path(sys.executable).with_name("act"), "push", "-P", "ubuntu-latest=-self-hosted"),
            *("--artifact-server-path", tmp_path / "kept", "--artifact-server-addr", "127.0.0.1"),
            *("--artifact-server-port", str(port), "--container-daemon-socket", "-", "--no-cache-server"),
            *(part for name, value in told.items() for part in ("--env", f"{name}={value}")),
        ],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    (kept,) = (path for path in (tmp_path / "kept").rglob("*") if path.is_file())
    assert json.loads(answer.read_text())["digest"] == f"sha256:{hashlib.sha256(kept.read_bytes()).hexdigest()}"
    with zipfile.ZipFile(kept) as archive:
        assert archive.read("model.bin") == model.read_bytes()
