"""Builds and pushes the images of a release: `slim`, `full` and `tensorrt`.

    python tools/images.py build 1.2.3 --registry ghcr.io/org/model-navigator    build and try them
    python tools/images.py push 1.2.3 --registry ghcr.io/org/model-navigator     push them, print their digests as JSON
    python tools/images.py sbom 1.2.3 --registry ghcr.io/org/model-navigator     write sbom-slim.json and so on
    python tools/images.py move 1.2.3 --registry ghcr.io/org/model-navigator     move the tags v1, v1-slim and v1-full

Released actions name their image by digest; the tags are for people. All three images are built on the digest that
the tag of the base image has at that moment.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

BASE = "python:3.11-slim-bookworm"
# `tensorrt` is the last stage of the Dockerfile and the image that action.yml runs, so its tag has no suffix.
SUFFIXES = {"slim": "-slim", "full": "-full", "tensorrt": ""}


def tags(registry: str, version: str) -> dict[str, str]:
    """Return the tag of each image; names in a registry are in lower case."""
    return {stage: f"{registry.lower()}:v{version}{suffix}" for stage, suffix in SUFFIXES.items()}


def labels(version: str) -> list[str]:
    """Return the options of `docker build` for the labels that aren't in the Dockerfile: version and commit."""
    commit = _output("git", "rev-parse", "HEAD")
    values = {"version": version, "revision": commit}
    return [word for key, value in values.items() for word in ("--label", f"org.opencontainers.image.{key}={value}")]


def build(registry: str, version: str) -> None:
    """Build the images, and check that the program in each has this version.

    Raises:
        SystemExit: one has another version.
    """
    _output("docker", "pull", "--quiet", BASE)
    pinned = _output("docker", "image", "inspect", "--format", "{{index .RepoDigests 0}}", BASE)
    for stage, tag in tags(registry, version).items():
        options = ["--target", stage, "--tag", tag, "--build-arg", f"PYTHON_IMAGE={pinned}", *labels(version)]
        _run("docker", "build", *options, ".")
        said = _output("docker", "run", "--rm", "--entrypoint", "model-navigator", tag, "--version")
        if version not in said.split():
            raise SystemExit(f"{tag} has version {said!r}, expected {version}")


def push(registry: str, version: str) -> None:
    """Push the images and print a JSON object of stage and digest."""
    pushed = tags(registry, version)
    for tag in pushed.values():
        _run("docker", "push", "--quiet", tag)
    sys.stdout.write(json.dumps({stage: digest(tag) for stage, tag in pushed.items()}) + "\n")


def digest(tag: str) -> str:
    """Return the digest, `sha256:` and 64 digits, that the registry gave an image when it was pushed.

    Raises:
        SystemExit: it hasn't been pushed.
    """
    repository = tag.rpartition(":")[0]
    known = json.loads(_output("docker", "image", "inspect", "--format", "{{json .RepoDigests}}", tag))
    found = [each.partition("@")[2] for each in known if each.startswith(f"{repository}@")]
    if len(found) != 1:
        raise SystemExit(f"{tag}: expected one digest of {repository}, found {known}: push the image first")
    return str(found[0])


def sbom(registry: str, version: str) -> None:
    """Write a software bill of materials of each image, in CycloneDX, as `sbom-<stage>.json`.

    syft runs inside each image: from outside it would first copy images of many gigabytes to the disk.

    Raises:
        SystemExit: there is no syft.
    """
    syft = shutil.which(os.environ.get("SYFT", "syft"))
    if syft is None:
        raise SystemExit("syft is not installed; set SYFT to its path")
    for stage, tag in tags(registry, version).items():
        words = ["docker", "run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "/syft"]
        words += ["--mount", f"type=bind,source={Path(syft).resolve()},target=/syft,readonly"]
        words += ["--env", "SYFT_CHECK_FOR_APP_UPDATE=false", "--env", "SYFT_FILE_METADATA_SELECTION=none", tag]
        # Not SPDX, which lists every file: an attestation holds 16 MB.
        words += ["scan", "dir:/", "--override-default-catalogers", "image", "--exclude", "./syft"]
        words += ["--output", "cyclonedx-json"]
        words += ["--source-name", tag.rpartition(":")[0], "--source-version", digest(tag)]
        Path(f"sbom-{stage}.json").write_text(_output(*words), encoding="utf-8")


def move(registry: str, version: str) -> None:
    """Make the tags of the major version point to these images."""
    moving = tags(registry, version.partition(".")[0])
    for stage, tag in tags(registry, version).items():
        _run("docker", "pull", "--quiet", tag)
        _run("docker", "tag", tag, moving[stage])
        _run("docker", "push", "--quiet", moving[stage])


def references(registry: str, digests: Mapping[str, str]) -> dict[str, str]:
    """Return the name of each image by its digest, as a released action names it."""
    return {stage: f"{registry.lower()}@{digests[stage]}" for stage in SUFFIXES}


def _run(*words: str) -> None:
    subprocess.run(words, check=True, stdout=sys.stderr)


def _output(*words: str) -> str:
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> int:
    """Run a command in the working directory, the repository's root."""
    commands = {"build": build, "push": push, "sbom": sbom, "move": move}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=commands)
    parser.add_argument("version")
    parser.add_argument("--registry", required=True, help="name of the images, without a tag")
    arguments = parser.parse_args()
    commands[arguments.command](arguments.registry, arguments.version)
    return 0


if __name__ == "__main__":
    sys.exit(main())
