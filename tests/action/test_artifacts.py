"""Artifacts against the official client and a real storage: what one uploads, the other reads."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import urllib.parse
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from navigator.github.artifacts import blob
from navigator.github.artifacts import client as module
from navigator.github.artifacts import pack as zipped
from navigator.github.artifacts.client import Artifact, Artifacts
from navigator.github.artifacts.pack import files_below
from navigator.github.artifacts.unpack import unpack
from navigator.github.budget import Budget
from navigator.github.rest import PublishError

Official = Callable[..., Any]
_FAKES = Path(__file__).parent / "fakes"


@pytest.fixture
def environment(results_service: str) -> dict[str, str]:
    return {"GITHUB_SERVER_URL": "https://github.com", "ACTIONS_RESULTS_URL": results_service}


@pytest.fixture
def masked() -> list[str]:
    return []


@pytest.fixture
def artifacts(environment: dict[str, str], runtime_token: str, masked: list[str]) -> Artifacts:
    return Artifacts.of(environment, runtime_token, budget=Budget(120), mask=masked.append)


@pytest.fixture
def official(peers: Path, environment: dict[str, str], runtime_token: str, tmp_path: Path) -> Official:
    """Return a function that calls a method of @actions/artifact and returns its answer."""
    told = {"ACTIONS_RUNTIME_TOKEN": runtime_token, "GITHUB_WORKSPACE": str(tmp_path)}

    def call(*call: object) -> Any:
        ran = subprocess.run(
            ["node", peers.parent / "artifact.mjs", json.dumps(call)],
            env={**os.environ, **environment, **told},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return json.loads(ran.stdout.splitlines()[-1])

    return call


@pytest.fixture
def files(tmp_path: Path) -> list[tuple[str, Path]]:
    """Return a model's files: one that does not pack over three blocks, one that does."""
    root = tmp_path / "converted"
    (root / "resnet/onnx").mkdir(parents=True)
    (root / "resnet/onnx/model.onnx").write_bytes(os.urandom(20 * 2**20))
    (root / "resnet/größe.txt").write_text("5" * 10_000)
    return files_below(root)


def upload(artifacts: Artifacts, files: list[tuple[str, Path]], name: str = "models", **options: Any) -> Artifact:
    settings: dict[str, Any] = {"retention_days": None, "compression_level": 1, "overwrite": False}
    return artifacts.upload(name, files, **(settings | options))


def calls(results_service: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (method, request) for method, request in requests.get(f"{results_service}/control/calls", timeout=10).json()
    ]


@pytest.mark.parametrize("zip64_bytes", [2**30, 0], ids=["zip", "zip64"])
@pytest.mark.parametrize("level", [0, 1])
def test_the_official_client_lists_and_unpacks_what_was_uploaded(
    artifacts: Artifacts,
    official: Official,
    files: list[tuple[str, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    zip64_bytes: int,
    level: int,
) -> None:
    monkeypatch.setattr(zipped, "_ZIP64_BYTES", zip64_bytes)
    made = upload(artifacts, files, compression_level=level)

    listed = official("listArtifacts")["value"]["artifacts"]
    place = tmp_path / "downloaded"
    got = official("downloadArtifact", made.id, {"path": str(place), "expectedHash": made.digest})

    assert [(each["id"], each["name"], each["size"], each["digest"]) for each in listed] == [
        (made.id, "models", made.size_bytes, made.digest)
    ]
    assert got["value"]["digestMismatch"] is False, got
    assert [(name, path.read_bytes()) for name, path in files_below(place)] == [
        (name, path.read_bytes()) for name, path in files
    ]


def test_the_official_client_downloads_a_raw_file_under_its_name(
    artifacts: Artifacts, official: Official, files: list[tuple[str, Path]], tmp_path: Path
) -> None:
    model = dict(files)["resnet/onnx/model.onnx"]
    made = upload(artifacts, [("model.onnx", model)], "resnet-onnx.onnx", archive=False)

    place = tmp_path / "downloaded"
    got = official("downloadArtifact", made.id, {"path": str(place), "expectedHash": made.digest})

    assert got["value"]["digestMismatch"] is False, got
    assert made.size_bytes == model.stat().st_size
    assert made.digest == f"sha256:{hashlib.sha256(model.read_bytes()).hexdigest()}"
    assert (place / "resnet-onnx.onnx").read_bytes() == model.read_bytes()


def test_a_raw_file_may_be_empty(artifacts: Artifacts, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    made = upload(artifacts, [("empty", tmp_path / "empty")], archive=False)
    assert made.size_bytes == 0
    assert artifacts.download(made, tmp_path, limit_bytes=0).read_bytes() == b""


def test_what_the_official_client_uploaded_is_listed_and_unpacked(
    artifacts: Artifacts, official: Official, files: list[tuple[str, Path]], tmp_path: Path
) -> None:
    sent = official("uploadArtifact", "theirs", [str(path) for _, path in files], str(tmp_path / "converted"), {})
    raw = official("uploadArtifact", "", [str(files[1][1])], str(tmp_path), {"skipArchive": True})
    assert "error" not in sent | raw, (sent, raw)

    listed = {each.name: each for each in artifacts.list()}
    (made,) = artifacts.list("theirs")
    archive = artifacts.download(made, tmp_path, limit_bytes=2**26)
    unpacked = unpack(archive, tmp_path / "to", limit_bytes=2**26)

    assert listed["theirs"] == made
    assert made.id == sent["value"]["id"]
    assert made.digest == f"sha256:{sent['value']['digest']}"
    assert sorted(path.read_bytes() for path in unpacked) == sorted(path.read_bytes() for _, path in files)
    model = artifacts.download(listed["model.onnx"], tmp_path, limit_bytes=2**26)
    assert model.read_bytes() == files[1][1].read_bytes()


def test_the_requests_are_those_of_the_protocol(
    artifacts: Artifacts, results_service: str, files: list[tuple[str, Path]]
) -> None:
    made = upload(artifacts, files, retention_days=7)

    (create, created), (finalize, finalized) = calls(results_service)
    assert created.pop("expires_at").endswith("Z")
    ids = {"workflow_run_backend_id": "run-of-the-test", "workflow_job_run_backend_id": "job-of-the-test"}
    assert (create, created) == (
        "CreateArtifact",
        {**ids, "name": "models", "version": 7, "mime_type": "application/zip"},
    )
    assert (finalize, finalized) == (
        "FinalizeArtifact",
        {**ids, "name": "models", "size": str(made.size_bytes), "hash": made.digest},
    )


def test_protocol_4_names_no_type_and_sends_blocks_in_order(
    environment: dict[str, str], runtime_token: str, results_service: str, files: list[tuple[str, Path]], tmp_path: Path
) -> None:
    environment["GITHUB_SERVER_URL"] = "http://gitea.example"
    artifacts = Artifacts.of(environment, runtime_token, budget=Budget(60), mask=lambda _: None, protocol=4)

    made = upload(artifacts, files)

    request = calls(results_service)[0][1]
    assert request["version"] == 4
    assert "mime_type" not in request
    with zipfile.ZipFile(artifacts.download(made, tmp_path, limit_bytes=2**26)) as archive:
        assert archive.testzip() is None


def test_signatures_are_masked_as_they_are_and_as_they_are_written(
    artifacts: Artifacts, files: list[tuple[str, Path]], masked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    real = blob.upload

    def spy(url: str, *arguments: Any, **options: Any) -> Any:
        query = urllib.parse.urlsplit(url).query
        seen.extend(part.removeprefix("sig=") for part in query.split("&") if part.startswith("sig="))
        assert set(seen) | {urllib.parse.unquote(seen[0])} <= set(masked)
        return real(url, *arguments, **options)

    monkeypatch.setattr(blob, "upload", spy)
    upload(artifacts, files)
    assert seen


def test_a_name_that_is_taken_is_said(artifacts: Artifacts, files: list[tuple[str, Path]]) -> None:
    first = upload(artifacts, files)
    with pytest.raises(PublishError) as refused:
        upload(artifacts, files[:1])
    assert str(refused.value) == (
        "this run already has an artifact 'models'\n"
        "  set `overwrite: true`, or give each job of a matrix its own `artifact_name`"
    )
    assert [each.id for each in artifacts.list()] == [first.id]


def _token(runtime_token: str, before: str, after: str) -> str:
    """Return the token of another job or attempt."""
    head, payload, tail = runtime_token.split(".")
    other = base64.urlsafe_b64decode(payload + "===").replace(before.encode(), after.encode())
    return ".".join((head, base64.urlsafe_b64encode(other).decode().rstrip("="), tail))


def test_another_jobs_artifact_is_not_replaced(
    artifacts: Artifacts, environment: dict[str, str], runtime_token: str, files: list[tuple[str, Path]]
) -> None:
    first = upload(artifacts, files)
    token = _token(runtime_token, "job-of-the-test", "another-job")
    later = Artifacts.of(environment, token, budget=Budget(60), mask=lambda _: None)

    with pytest.raises(PublishError) as refused:
        upload(later, files[:1], overwrite=True)

    assert str(refused.value) == (
        "another job of this run already made the artifact 'models', which isn't replaced\n"
        "  give each job its own `artifact_name`, such as one with a value of its matrix"
    )
    assert [each.id for each in artifacts.list()] == [first.id]


def test_what_another_job_uploads_at_this_time_is_not_replaced(
    artifacts: Artifacts, environment: dict[str, str], runtime_token: str, files: list[tuple[str, Path]]
) -> None:
    artifacts._service.call("CreateArtifact", {**artifacts._service.ids, "name": "models", "version": 4})
    token = _token(runtime_token, "job-of-the-test", "another-job")
    later = Artifacts.of(environment, token, budget=Budget(60), mask=lambda _: None)

    with pytest.raises(PublishError, match="another job of this run makes the artifact 'models' at this time"):
        upload(later, files[:1], overwrite=True)


@pytest.mark.parametrize("job", ["job-of-the-test", "the-same-job-under-a-new-id"])
def test_an_earlier_attempts_artifact_is_replaced(
    artifacts: Artifacts, environment: dict[str, str], runtime_token: str, files: list[tuple[str, Path]], job: str
) -> None:
    first = upload(artifacts, files)
    token = _token(_token(runtime_token, "run-of-the-test", "run-of-the-test-2"), "job-of-the-test", job)
    later = Artifacts.of(environment, token, budget=Budget(60), mask=lambda _: None)

    second = upload(later, files[:1], overwrite=True)

    assert [(each.name, each.id) for each in later.list()] == [("models", second.id)]
    assert second.id != first.id
    assert later.warnings == []


def test_a_job_that_replaces_its_own_artifact_says_so(artifacts: Artifacts, files: list[tuple[str, Path]]) -> None:
    upload(artifacts, files)
    upload(artifacts, files[:1], overwrite=True)
    assert artifacts.warnings == ["the artifact 'models' that this job made earlier was replaced"]


def test_a_download_over_the_limit_ends_early(
    artifacts: Artifacts, files: list[tuple[str, Path]], tmp_path: Path
) -> None:
    made = upload(artifacts, files)
    with pytest.raises(PublishError, match="an artifact is larger than the limit of 3,000,000 bytes"):
        artifacts.download(made, tmp_path, limit_bytes=3_000_000)
    assert (tmp_path / str(made.id)).stat().st_size <= 3_000_000


def test_a_download_that_is_not_what_was_uploaded_is_said(
    artifacts: Artifacts, files: list[tuple[str, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.01)
    made = upload(artifacts, files)
    wrong = Artifact(name=made.name, id=made.id, size_bytes=made.size_bytes, digest="sha256:0")
    with pytest.raises(PublishError, match=r"'models' was corrupted during the download: sha256:\w+ isn't sha256:0"):
        artifacts.download(wrong, tmp_path, limit_bytes=2**26)


def test_an_artifact_that_is_gone_is_said(artifacts: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="the artifact 'models' is no longer in this run"):
        artifacts.download(Artifact(name="models", id=7, size_bytes=1), tmp_path, limit_bytes=9)


def test_links_never_bring_their_targets_content_along(
    artifacts: Artifacts, tmp_path: Path, files: list[tuple[str, Path]]
) -> None:
    root = tmp_path / "converted"
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/token").write_text("s3cret")
    (root / "token").symlink_to(tmp_path / "secret/token")
    (root / "directory").symlink_to(tmp_path / "secret")
    (root / "passwd").symlink_to("/etc/passwd")

    made = upload(artifacts, files_below(root))

    with zipfile.ZipFile(artifacts.download(made, tmp_path, limit_bytes=2**26)) as archive:
        assert sorted(archive.namelist()) == sorted(name for name, _ in files)


def test_retention_is_what_the_repository_allows_at_most(
    environment: dict[str, str], runtime_token: str, files: list[tuple[str, Path]]
) -> None:
    environment["GITHUB_RETENTION_DAYS"] = "30"
    artifacts = Artifacts.of(environment, runtime_token, budget=Budget(60), mask=lambda _: None)
    upload(artifacts, files[:1], retention_days=60)
    assert artifacts.warnings == ["artifacts are kept for 30 days instead of 60: the repository allows no more"]


def test_300_mb_are_uploaded_in_a_small_memory(
    environment: dict[str, str], runtime_token: str, artifacts: Artifacts, tmp_path: Path
) -> None:
    model = tmp_path / "model.bin"
    with model.open("wb") as file:
        for _ in range(300):
            file.write(os.urandom(1_000_000))
    ran = subprocess.run(
        [sys.executable, _FAKES / "uploader.py", model],
        env={**os.environ, **environment, "ACTIONS_RUNTIME_TOKEN": runtime_token},
        capture_output=True,
        text=True,
        check=True,
        timeout=250,
    )
    used = json.loads(ran.stdout)

    (made,) = artifacts.list("large")
    assert made.size_bytes > 300_000_000
    assert (made.id, made.digest) == (used["id"], used["digest"])
    assert used["grown_bytes"] < 120 * 2**20, used
    with zipfile.ZipFile(artifacts.download(made, tmp_path, limit_bytes=2**29)) as archive:
        assert archive.testzip() is None
