"""Builds and pushes the images of a release: `slim`, `full`, and `tensorrt`, which action.yml names.

    python tools/images.py build 1.2.3 --registry ghcr.io/org/model-navigator
    python tools/images.py push 1.2.3 --registry ghcr.io/org/model-navigator
    python tools/images.py move 1.2.3 --registry ghcr.io/org/model-navigator    v1, v1-slim, v1-full

The base is taken by the digest that its tag has now, so that all three stand on the same one.
"""

# ruff: noqa: S607 - the docker of the runner

import argparse
import subprocess
import sys

BASE = "python:3.11-slim-bookworm"
# The stage that a tag without a suffix means is the last one of the Dockerfile.
SUFFIXES = {"slim": "-slim", "full": "-full", "tensorrt": ""}


def tags(registry: str, version: str) -> dict[str, str]:
    """Return the image of each stage of the Dockerfile; names in a registry are in lower case."""
    return {stage: f"{registry.lower()}:v{version}{suffix}" for stage, suffix in SUFFIXES.items()}


def build(registry: str, version: str) -> None:
    """Build the images, and run each to see that it is of this version."""
    _docker("pull", "--quiet", BASE)
    pinned = _docker("image", "inspect", "--format", "{{index .RepoDigests 0}}", BASE)
    for stage, tag in tags(registry, version).items():
        subprocess.run(
            ["docker", "build", "--target", stage, "--tag", tag, "--build-arg", f"PYTHON_IMAGE={pinned}", "."],
            check=True,
        )
        said = _docker("run", "--rm", "--entrypoint", "model-navigator", tag, "--version")
        if version not in said.split():
            raise SystemExit(f"{tag} says it is {said!r}, not {version}")


def push(registry: str, version: str) -> None:
    """Push the images."""
    for tag in tags(registry, version).values():
        subprocess.run(["docker", "push", "--quiet", tag], check=True)


def move(registry: str, version: str) -> None:
    """Let the tags of the major version mean these images."""
    moving = tags(registry, version.partition(".")[0])
    for stage, tag in tags(registry, version).items():
        subprocess.run(["docker", "pull", "--quiet", tag], check=True)
        subprocess.run(["docker", "tag", tag, moving[stage]], check=True)
        subprocess.run(["docker", "push", "--quiet", moving[stage]], check=True)


def _docker(*words: str) -> str:
    return subprocess.run(["docker", *words], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> int:
    """Run a command below the working directory, the repository's root."""
    commands = {"build": build, "push": push, "move": move}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=commands)
    parser.add_argument("version")
    parser.add_argument("--registry", required=True)
    arguments = parser.parse_args()
    commands[arguments.command](arguments.registry, arguments.version)
    return 0


if __name__ == "__main__":
    sys.exit(main())
