"""A real registry: the digests that a release names are those of what was pushed, wherever tags move afterwards."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml
from images import SUFFIXES, labels, references, tags

ROOT = Path(__file__).parents[2]
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def docker(*words: str, at: Path | None = None) -> str:
    ran = subprocess.run(["docker", *words], cwd=at, check=True, capture_output=True, text=True)
    return ran.stdout.strip()


def images(command: str, version: str, registry: str, at: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(ROOT / "tools/images.py"), command, version, "--registry", registry]
    return subprocess.run(words, cwd=at, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return host and port of an empty registry, Docker's own."""
    for program, wanted in (("docker", ["docker", "version"]), ("docker-registry", ["docker-registry", "--version"])):
        if shutil.which(program) is None or subprocess.run(wanted, capture_output=True, check=False).returncode:
            reason = f"{program} doesn't run here: apt-get install {program}"
            if os.environ.get("NAVIGATOR_REQUIRE_DOCKER") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
    place = tmp_path_factory.mktemp("registry")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    storage = {"filesystem": {"rootdirectory": str(place / "storage")}}
    config = {"version": "0.1", "storage": storage, "http": {"addr": address}, "log": {"accesslog": {"disabled": True}}}
    (place / "config.yml").write_text(yaml.safe_dump(config))
    with (place / "log").open("w") as log:
        process = subprocess.Popen(["docker-registry", "serve", place / "config.yml"], stdout=log, stderr=log)
    try:
        for _ in range(100):
            try:
                requests.get(f"http://{address}/v2/", timeout=5).raise_for_status()
                break
            except requests.ConnectionError:
                assert process.poll() is None, (place / "log").read_text()
                time.sleep(0.1)
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def registry(host: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the name of a repository that only this test uses; upper case, as an owner's name may be."""
    name = f"{host}/Org/{re.sub(r'[^a-z]', '', request.node.name)}"
    yield name
    made = docker("image", "ls", "--quiet", "--filter", f"reference={name.lower()}").split()
    if made:
        docker("image", "rm", "--force", *set(made))


def build(registry: str, version: str, content: str, at: Path) -> dict[str, str]:
    """Build a tiny image for each stage and return their ids."""
    (at / "Dockerfile").write_text("FROM scratch\nARG CONTENT\nLABEL content=$CONTENT\nCOPY Dockerfile /\n")
    ids = {}
    for stage, tag in tags(registry, version).items():
        docker("build", "--tag", tag, "--build-arg", f"CONTENT={content}-{stage}", ".", at=at)
        ids[stage] = docker("image", "inspect", "--format", "{{.Id}}", tag)
    return ids


def remote(tag: str) -> str:
    """Return the digest that the registry gives for a tag."""
    name, _, version = tag.rpartition(":")
    host, _, repository = name.partition("/")
    address = f"http://{host}/v2/{repository}/manifests/{version}"
    answer = requests.head(address, headers={"Accept": MANIFEST}, timeout=10)
    answer.raise_for_status()
    return answer.headers["Docker-Content-Digest"]


def test_pushed_images_are_named_by_the_digests_of_the_registry(registry: str, tmp_path: Path) -> None:
    build(registry, "1.2.3", "first", tmp_path)

    pushed = images("push", "1.2.3", registry, tmp_path)

    assert pushed.returncode == 0, pushed.stderr
    digests = json.loads(pushed.stdout)
    assert digests == {stage: remote(tag) for stage, tag in tags(registry, "1.2.3").items()}
    assert len(set(digests.values())) == len(SUFFIXES)


def test_an_action_that_names_a_digest_runs_what_was_pushed_though_the_tag_moved(registry: str, tmp_path: Path) -> None:
    ids = build(registry, "1.2.3", "first", tmp_path)
    digests = json.loads(images("push", "1.2.3", registry, tmp_path).stdout)
    named = references(registry, digests)
    (tmp_path / "action.yml").write_text((ROOT / "action.yml").read_text())
    words = ["--image", named["tensorrt"], "--slim", named["slim"]]
    subprocess.run([sys.executable, ROOT / "tools/actions.py", *words], cwd=tmp_path, check=True)

    others = build(registry, "1.2.3", "second", tmp_path)
    assert images("push", "1.2.3", registry, tmp_path).returncode == 0
    docker("image", "rm", "--force", *ids.values(), *others.values())

    for stage, variant in (("tensorrt", ""), ("tensorrt", "convert"), ("slim", "slim")):
        action = yaml.safe_load((tmp_path / variant / "action.yml").read_text())
        image = action["runs"]["image"].removeprefix("docker://")
        docker("pull", "--quiet", image)
        assert docker("image", "inspect", "--format", "{{.Id}}", image) == ids[stage]
    # The tag has moved indeed.
    docker("pull", "--quiet", tags(registry, "1.2.3")["slim"])
    assert docker("image", "inspect", "--format", "{{.Id}}", tags(registry, "1.2.3")["slim"]) == others["slim"]


def test_the_tags_of_the_major_version_move(registry: str, tmp_path: Path) -> None:
    build(registry, "1.2.3", "first", tmp_path)
    digests = json.loads(images("push", "1.2.3", registry, tmp_path).stdout)

    moved = images("move", "1.2.3", registry, tmp_path)

    assert moved.returncode == 0, moved.stderr
    assert {stage: remote(tag) for stage, tag in tags(registry, "1").items()} == digests


def test_an_image_that_was_not_pushed_has_no_digest(registry: str, tmp_path: Path) -> None:
    build(registry, "1.2.3", "first", tmp_path)

    asked = "import sys; sys.path.insert(0, sys.argv[1]); import images; images.digest(sys.argv[2])"
    tag = tags(registry, "1.2.3")["slim"]
    ran = subprocess.run(
        [sys.executable, "-c", asked, ROOT / "tools", tag], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 1
    assert f"{tag}: expected one digest of {tag.rpartition(':')[0]}, found []: push the image first" in ran.stderr


def test_an_image_says_which_commit_and_version_it_is(registry: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    tag = tags(registry, "1.2.3")["slim"]

    docker("build", "--tag", tag, *labels("1.2.3"), ".", at=tmp_path)

    said = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", tag))
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert said["org.opencontainers.image.version"] == "1.2.3"
    assert said["org.opencontainers.image.revision"] == head.strip()
