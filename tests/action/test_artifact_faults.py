"""Artifacts where service, storage or the way to them break: one artifact in the end, and the right one."""

import os
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from navigator.github.artifacts import blob
from navigator.github.artifacts import client as artifacts_module
from navigator.github.artifacts import service as service_module
from navigator.github.artifacts.client import Artifact, Artifacts
from navigator.github.artifacts.unpack import unpack
from navigator.github.budget import Budget
from navigator.github.rest import PublishError

# Of 20 MiB, that is three blocks.
CONTENT = os.urandom(20 * 2**20)

Control = Callable[[str, Any], None]
Upload = Callable[..., Artifact]
Chaos = Callable[[str], tuple[str, str]]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(artifacts_module, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(blob._Retry, "get_backoff_time", lambda *_: 0.01)


@pytest.fixture
def control(results_service: str) -> Control:
    """Return a function that says what the results service does wrong."""

    def say(where: str, what: Any) -> None:
        requests.post(f"{results_service}/control/{where}", json=what, timeout=10).raise_for_status()

    return say


@pytest.fixture
def storage_faults(control: Control, azurite: str, chaos: Chaos) -> Callable[..., list[Any]]:
    """Return a function that has the way to the storage break by a script, and returns which faults came to pass."""
    url, proxy = chaos(azurite)
    control("settings", {"blob_url": url})

    def script(*faults: dict[str, Any]) -> list[Any]:
        taken: list[Any] = requests.post(proxy, json=faults, timeout=10).json()["taken"]
        return taken

    return script


def service(results_service: str, token: str, protocol: int = 7, seconds: float = 120) -> Artifacts:
    return Artifacts(results_service, token, budget=Budget(seconds), mask=lambda _: None, protocol=protocol)


@pytest.fixture
def upload(results_service: str, runtime_token: str, tmp_path: Path) -> Upload:
    """Return a function that uploads a model and sees that exactly that is there then."""

    def call(protocol: int = 7, seconds: float = 120, *, overwrite: bool = False) -> Artifact:
        model = tmp_path / "model.onnx"
        model.write_bytes(CONTENT)
        artifacts = service(results_service, runtime_token, protocol, seconds)
        made = artifacts.upload(
            "models", [(model.name, model)], retention_days=None, compression_level=1, overwrite=overwrite
        )
        (listed,) = artifacts.list()
        assert (listed.id, listed.digest, listed.size_bytes) == (made.id, made.digest, made.size_bytes)
        assert read(results_service, runtime_token, made, tmp_path) == CONTENT
        return made

    return call


def read(results_service: str, token: str, made: Artifact, place: Path) -> bytes:
    """Return the model of an artifact, with its digest verified."""
    archive = service(results_service, token).download(made, place, limit_bytes=2**26)
    (file,) = unpack(archive, place / "unpacked", limit_bytes=2**26)
    content = file.read_bytes()
    file.unlink()
    return content


def methods(results_service: str) -> list[str]:
    return [method for method, _ in requests.get(f"{results_service}/control/calls", timeout=10).json()]


@pytest.mark.parametrize(
    "fault",
    [
        {"match": "comp=block&", "direction": "up", "after": 2_000_000, "action": "reset"},
        {"match": "comp=block&", "direction": "up", "after": 2_000_000, "action": "close"},
        {"match": "comp=block&", "direction": "down", "after": 0, "action": "reset"},
        {"match": "comp=block&", "direction": "down", "after": 20, "action": "close"},
        {"match": "comp=blocklist", "direction": "up", "after": 0, "action": "reset"},
        {"match": "comp=blocklist", "direction": "down", "after": 0, "action": "reset"},
    ],
    ids=lambda fault: f"{fault['match']} {fault['direction']} {fault['action']}",
)
@pytest.mark.parametrize("protocol", [7, 4])
def test_an_upload_that_breaks_off_is_whole_in_the_end(
    upload: Upload, storage_faults: Callable[..., list[Any]], fault: dict[str, Any], protocol: int
) -> None:
    storage_faults(fault)
    upload(protocol)
    assert len(storage_faults()) == 1


def test_a_stream_that_failed_as_a_whole_is_uploaded_anew(
    upload: Upload, storage_faults: Callable[..., list[Any]]
) -> None:
    # Three blocks, each tried four times.
    storage_faults({"match": "comp=block&", "direction": "down", "action": "reset", "times": 12})
    upload()
    assert len(storage_faults()) == 12


def test_a_server_that_appends_what_comes_is_given_no_block_twice(
    upload: Upload, storage_faults: Callable[..., list[Any]], results_service: str
) -> None:
    storage_faults({"match": "comp=block&", "direction": "down", "action": "reset"})
    upload(protocol=4)
    assert methods(results_service)[:6] == [
        "CreateArtifact",
        "CreateArtifact",
        "ListArtifacts",
        "DeleteArtifact",
        "CreateArtifact",
        "FinalizeArtifact",
    ]


def test_a_storage_that_is_gone_is_said_without_the_signature(
    upload: Upload, storage_faults: Callable[..., list[Any]], results_service: str
) -> None:
    storage_faults({"match": "", "direction": "up", "action": "reset", "times": 1000})
    with pytest.raises(PublishError, match="the upload to the artifact storage broke off after ") as failed:
        upload()
    assert failed.value.ambiguous
    assert "sig" not in str(failed.value)
    assert methods(results_service) == ["CreateArtifact"]


def test_a_signed_url_that_has_run_out_is_replaced(upload: Upload, control: Control, results_service: str) -> None:
    control("settings", {"expired": 1})
    upload()
    assert methods(results_service)[:5] == [
        "CreateArtifact",
        "CreateArtifact",
        "ListArtifacts",
        "DeleteArtifact",
        "CreateArtifact",
    ]


def test_a_download_that_breaks_off_is_made_again(
    upload: Upload, storage_faults: Callable[..., list[Any]], results_service: str, runtime_token: str, tmp_path: Path
) -> None:
    made = upload()
    storage_faults({"match": "GET ", "direction": "down", "after": 5_000_000, "action": "reset"})
    assert read(results_service, runtime_token, made, tmp_path) == CONTENT
    assert len(storage_faults()) == 1


@pytest.mark.parametrize("method", ["CreateArtifact", "FinalizeArtifact", "ListArtifacts", "GetSignedArtifactURL"])
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 429, "headers": {"Retry-After": "1"}},
        {"status": 502, "body": "<html>Bad gateway</html>"},
        {"status": 200, "body": '{"ok": tr'},
        {"status": 500, "carry_out": True},
        {"status": 200, "body": '{"ok": tr', "carry_out": True},
        {"reset": True},
        {"reset": True, "carry_out": True},
    ],
    ids=str,
)
def test_trouble_of_the_service_passes(upload: Upload, control: Control, method: str, fault: dict[str, Any]) -> None:
    control("faults", [{"method": method, "times": 2, **fault}])
    upload()


def test_deleting_is_made_again_too(upload: Upload, control: Control) -> None:
    first = upload()
    control("faults", [{"method": "DeleteArtifact", "times": 1, "reset": True, "carry_out": True}])
    assert upload(overwrite=True).id != first.id


def test_another_ones_artifact_is_not_taken_for_ones_own_after_a_lost_answer(upload: Upload, control: Control) -> None:
    upload()
    control("faults", [{"method": "CreateArtifact", "times": 1, "reset": True}])
    with pytest.raises(PublishError, match="this run already has an artifact 'models'"):
        upload()


def test_a_service_that_stays_down_is_asked_five_times(upload: Upload, control: Control, results_service: str) -> None:
    control("faults", [{"method": "CreateArtifact", "times": 9, "status": 503}])
    with pytest.raises(PublishError, match="the artifact service refused CreateArtifact: 503 Service Unavailable"):
        upload()
    assert methods(results_service) == ["CreateArtifact"] * 5


def test_a_used_up_quota_is_said_and_not_asked_again(upload: Upload, control: Control, results_service: str) -> None:
    body = '{"code": "resource_exhausted", "msg": "insufficient usage to create artifact"}'
    control("faults", [{"method": "CreateArtifact", "times": 1, "status": 429, "body": body}])
    with pytest.raises(PublishError) as refused:
        upload()
    assert str(refused.value) == (
        "the artifact storage quota is used up: GitHub refuses new artifacts\n"
        "  delete artifacts or shorten `retention_days`; the usage is recalculated every 6 to 12 hours"
    )
    assert methods(results_service) == ["CreateArtifact"]


def test_a_used_up_budget_ends_an_upload(
    upload: Upload, storage_faults: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts_module, "_RETRY_SECONDS", 60)
    monkeypatch.setattr(blob._Retry, "get_backoff_time", lambda *_: 60)
    storage_faults({"match": "comp=block&", "direction": "up", "action": "reset"})
    with pytest.raises(PublishError, match="the time for publishing ran out before another attempt to upload"):
        upload(seconds=30)


def test_a_service_that_does_not_listen_is_said(runtime_token: str) -> None:
    with pytest.raises(PublishError, match="the artifact service didn't answer ListArtifacts: ConnectionError"):
        service("http://127.0.0.1:9", runtime_token).list()


def test_a_token_of_another_run_is_refused_with_what_to_do(results_service: str, control: Control) -> None:
    other = "e30.eyJzY3AiOiJBY3Rpb25zLlJlc3VsdHM6YTpiIn0.x"
    body = '{"code": "permission_denied", "msg": "not yours"}'
    control("faults", [{"method": "ListArtifacts", "times": 1, "status": 403, "body": body}])
    with pytest.raises(PublishError) as refused:
        service(results_service, other).list()
    assert str(refused.value) == (
        "the artifact service refused ListArtifacts: 403 not yours\n"
        "  the runtime token is only valid while its job runs: check the runner's clock"
    )
    assert urllib.parse.urlsplit(results_service).netloc not in str(refused.value)
