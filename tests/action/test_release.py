"""Assets of a release, on GitHub's API as its description says and with what goes wrong on the way."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import requests

from navigator.github import release
from navigator.github.budget import Budget
from navigator.github.release import publish
from navigator.github.release_assets import Asset
from navigator.github.rest import PublishError, Rest

_REPOSITORY = "octocat/models"


class _Releases:
    """A GitHub with the tag v1, and what there is to attach to its release."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url, self.directory = url, directory
        self.model = directory / "model.onnx"
        self.model.write_bytes(b"weights")
        self.summary = directory / "summary.md"
        self.summary.write_text("# Report\n")
        self.control("tags", ["v1"])

    def control(self, what: str, body: Any) -> Any:
        answer = requests.post(f"{self.url}/control/{what}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def release(self, **values: Any) -> int:
        [made] = self.control("releases", [{"tag_name": "v1", **values}])
        return int(made["id"])

    def asset(self, owner: int, name: str, text: str, state: str = "uploaded") -> int:
        made = self.control("assets", {"release": owner, "name": name, "text": text, "state": state})
        return int(made["id"])

    def publish(self, *, tag: str = "v1", draft: bool = False, overwrite: bool = False, token: str = "ghs_job") -> str:
        assets = [Asset(name="resnet50-onnx_op17.onnx", files=[("model.onnx", self.model)])]
        rest = Rest(self.url, token, Budget(60))
        return publish(rest, _REPOSITORY, tag, assets, extras=[self.summary], draft=draft, overwrite=overwrite)

    @property
    def state(self) -> Any:
        return requests.get(f"{self.url}/control/state", timeout=30).json()

    @property
    def uploads(self) -> list[str]:
        """The names of what was sent, in order."""
        return [path.partition("?name=")[2] for _, path, _ in self.state["calls"] if path.startswith("/uploads/")]

    def check(self) -> None:
        """The one release of the tag has exactly the files that there are, whole."""
        [made] = [each for each in self.state["releases"] if each["tag_name"] == "v1"]
        files = {"resnet50-onnx_op17.onnx": self.model.read_bytes(), "summary.md": self.summary.read_bytes()}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        sums = "".join(f"{digests[name]}  {name}\n" for name in ("summary.md", "resnet50-onnx_op17.onnx")).encode()
        digests["SHA256SUMS"] = hashlib.sha256(sums).hexdigest()
        there = {each["name"]: each for each in made["assets"]}
        assert {name: each["digest"] for name, each in there.items()} == {
            name: f"sha256:{digest}" for name, digest in digests.items()
        }
        assert {each["state"] for each in there.values()} == {"uploaded"}


_ALL = ["summary.md", "resnet50-onnx_op17.onnx", "SHA256SUMS"]


@pytest.fixture
def releases(github: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Releases:
    monkeypatch.setattr(release, "_WAIT_SECONDS", 0.01)
    return _Releases(github, tmp_path)


def test_a_tag_without_a_release_gets_one_that_is_published_last(releases: _Releases) -> None:
    url = releases.publish()

    [made] = releases.state["releases"]
    assert (url, made["draft"], made["name"]) == (made["html_url"], False, "v1")
    assert releases.uploads == _ALL
    releases.check()
    calls = [(method, path.partition("?")[0]) for method, path, _ in releases.state["calls"]]
    assert calls[-2:] == [
        ("GET", f"/repos/{_REPOSITORY}/releases/{made['id']}/assets"),
        ("PATCH", f"/repos/{_REPOSITORY}/releases/{made['id']}"),
    ]


def test_it_stays_a_draft_where_that_is_wanted(releases: _Releases) -> None:
    releases.publish(draft=True)

    assert [each["draft"] for each in releases.state["releases"]] == [True]
    releases.check()


def test_an_existing_draft_is_found_and_published(releases: _Releases) -> None:
    owner = releases.release(draft=True, name="First", body="Notes of ours")

    releases.publish()

    [made] = releases.state["releases"]
    assert (made["id"], made["draft"], made["name"], made["body"]) == (owner, False, "First", "Notes of ours")
    releases.check()


def test_a_published_release_is_added_to_and_stays_published(releases: _Releases) -> None:
    owner = releases.release()
    releases.asset(owner, "notes.pdf", "of somebody else")

    releases.publish(draft=True)

    [made] = releases.state["releases"]
    assert (made["id"], made["draft"]) == (owner, False)
    assert {each["name"] for each in made["assets"]} == {*_ALL, "notes.pdf"}


def test_a_published_release_is_preferred_to_a_draft_of_the_same_tag(releases: _Releases) -> None:
    releases.release(draft=True)
    owner = releases.release()

    releases.publish()

    filled = [each["id"] for each in releases.state["releases"] if each["assets"]]
    assert filled == [owner]


def test_the_release_is_found_on_a_later_page(releases: _Releases) -> None:
    releases.control("releases", [{"tag_name": f"v0.{number}"} for number in range(130)])
    owner = releases.release(draft=True)

    releases.publish()

    assert [each["id"] for each in releases.state["releases"] if each["assets"]] == [owner]


def test_what_is_there_already_is_found_on_a_later_page(releases: _Releases) -> None:
    owner = releases.release()
    for number in range(120):
        releases.asset(owner, f"part{number}", str(number))
    kept = releases.asset(owner, "resnet50-onnx_op17.onnx", "weights")

    releases.publish()

    assert releases.uploads == ["summary.md", "SHA256SUMS"]
    assert kept in [each["id"] for each in releases.state["assets"]]


def test_running_again_uploads_nothing(releases: _Releases) -> None:
    releases.publish()

    releases.publish()

    assert releases.uploads == _ALL
    releases.check()


def test_another_file_of_the_same_name_is_replaced_in_a_draft(releases: _Releases) -> None:
    releases.asset(releases.release(draft=True), "resnet50-onnx_op17.onnx", "sthgiew")

    releases.publish()

    releases.check()


def test_in_a_published_release_it_is_not_unless_that_is_said(releases: _Releases) -> None:
    releases.asset(releases.release(), "resnet50-onnx_op17.onnx", "sthgiew")

    with pytest.raises(PublishError) as caught:
        releases.publish()

    assert str(caught.value) == (
        "the release v1 is published with a different resnet50-onnx_op17.onnx; nothing was uploaded\n"
        "  set `overwrite: true` to replace it, or use a new tag"
    )
    assert releases.uploads == []

    releases.publish(overwrite=True)

    releases.check()


def test_what_an_upload_that_was_cut_off_left_is_replaced(releases: _Releases) -> None:
    releases.asset(releases.release(), "resnet50-onnx_op17.onnx", "", "starter")

    releases.publish()

    releases.check()


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 502, "body": ""},
        {"status": 502, "body": "", "starter": True},
        {"status": 502, "body": "", "carry_out": True},
        {"reset": True},
        {"reset": True, "starter": True},
        {"reset": True, "carry_out": True},
        {"truncate": 40},
    ],
)
def test_an_upload_whose_answer_is_lost_is_looked_after(releases: _Releases, fault: dict[str, Any]) -> None:
    releases.control("faults", [{"method": "POST", "path": "name=resnet50", "times": 1, **fault}])

    releases.publish()

    sent = releases.uploads.count("resnet50-onnx_op17.onnx")
    assert sent == (1 if "carry_out" in fault or "truncate" in fault else 2)
    releases.check()
    assert not releases.state["releases"][0]["draft"]


def test_uploads_are_not_tried_for_ever(releases: _Releases) -> None:
    releases.control("faults", [{"path": "name=resnet50", "times": 99, "status": 502, "body": "", "starter": True}])

    with pytest.raises(PublishError) as caught:
        releases.publish()

    assert caught.value.message.startswith(
        "couldn't attach resnet50-onnx_op17.onnx to the draft release v1: GitHub failed at POST"
    )
    assert caught.value.hint == "run the job again; files that are already attached are kept"
    assert releases.uploads.count("resnet50-onnx_op17.onnx") == 5
    [made] = releases.state["releases"]
    assert made["draft"]
    assert [each["name"] for each in made["assets"]] == ["summary.md"]


def test_there_is_an_end_to_the_time_for_it(releases: _Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "_WAIT_SECONDS", 3600)
    releases.control("faults", [{"path": "name=resnet50", "times": 99, "status": 502, "body": ""}])

    with pytest.raises(PublishError, match="couldn't attach"):
        releases.publish()

    assert releases.uploads.count("resnet50-onnx_op17.onnx") == 1


def test_a_file_that_arrives_damaged_is_not_published(releases: _Releases) -> None:
    releases.control("faults", [{"path": "name=resnet50", "damage": "!"}])

    with pytest.raises(PublishError, match=r"resnet50-onnx_op17\.onnx was corrupted .* 8 bytes, sha256:"):
        releases.publish()

    [made] = releases.state["releases"]
    assert made["draft"]
    assert [each["name"] for each in made["assets"]] == ["summary.md", "SHA256SUMS"]


def test_a_file_of_2_gib_leaves_github_alone(releases: _Releases) -> None:
    with releases.model.open("wb") as file:
        file.truncate(2**31)

    with pytest.raises(PublishError, match=r"smaller than 2 GiB .* so nothing was uploaded"):
        releases.publish()

    assert releases.state["calls"] == []


def test_a_tag_that_is_not_there_is_not_made(releases: _Releases) -> None:
    with pytest.raises(PublishError, match="octocat/models has no tag v2, so there is no release"):
        releases.publish(tag="v2")

    assert releases.state["releases"] == []


def test_a_tag_may_have_slashes(releases: _Releases) -> None:
    releases.control("tags", ["models/v1"])

    releases.publish(tag="models/v1")

    assert [each["tag_name"] for each in releases.state["releases"]] == ["models/v1"]


def test_a_draft_whose_making_was_not_answered_is_used(releases: _Releases) -> None:
    fault = {"method": "POST", "path": "/releases$", "status": 502, "body": "", "carry_out": True}
    releases.control("faults", [fault])

    releases.publish()

    releases.check()


def test_an_immutable_release_says_so_before_anything_is_uploaded(releases: _Releases) -> None:
    releases.release(immutable=True)

    with pytest.raises(PublishError, match=r"the release v1 is immutable and lacks summary\.md"):
        releases.publish(overwrite=True)

    assert releases.uploads == []


def test_a_release_that_takes_nothing_is_quoted(releases: _Releases) -> None:
    releases.release()
    refusal = '{"message": "Cannot upload assets to an immutable release."}'
    releases.control("faults", [{"path": "/uploads/", "status": 422, "body": refusal}])

    with pytest.raises(PublishError) as caught:
        releases.publish()

    assert "to the published release v1: " in caught.value.message
    assert "Cannot upload assets to an immutable release." in caught.value.message
    assert len(releases.uploads) == 1


def test_more_files_than_a_release_holds_are_refused(releases: _Releases) -> None:
    owner = releases.release()
    for number in range(998):
        releases.asset(owner, f"part{number}", "x")

    with pytest.raises(PublishError, match="the release v1 would have 1,001 files; GitHub allows 1,000"):
        releases.publish()

    assert releases.uploads == []


def test_a_token_that_may_not_write_is_told_the_permission(releases: _Releases) -> None:
    releases.release()

    with pytest.raises(PublishError, match=r"to the published release v1: .*not accessible") as caught:
        releases.publish(token="ghs_fork")

    assert "`contents: write`" in caught.value.hint


def test_a_server_without_digests_is_asked_for_the_size(releases: _Releases) -> None:
    releases.control("faults", [{"path": "name=resnet50", "undigested": True}])

    releases.publish()

    assert not releases.state["releases"][0]["draft"]

    # With other weights the size is the same, so nothing there is trusted to be the file.
    releases.publish(overwrite=True)

    assert releases.uploads == [*_ALL, "resnet50-onnx_op17.onnx"]
