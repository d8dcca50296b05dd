"""Tags a release after its images were pushed, then moves the tag of the major version.

    python tools/tag.py 1.2.3 --check    before the images: print whether the tag exists already
    python tools/tag.py 1.2.3 --registry ghcr.io/org/model-navigator --digests '{"slim": "sha256:...", ...}'

The tag v1.2.3 points to a new commit that is on no branch. Its actions name images by digest, so a commit of a
release fixes the code that it runs; on the branch they name the Dockerfile. The commit changes no workflow, because
GITHUB_TOKEN may not push those. To resume a release that broke off, run it again: an existing tag of this very commit
is kept, and a tag of another commit is an error.
"""

# ruff: noqa: S607 - the git of the runner

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping

import actions
from images import SUFFIXES, references

_AUTHOR = [
    "-c",
    "user.name=github-actions[bot]",
    "-c",
    "user.email=41898282+github-actions[bot]@users.noreply.github.com",
]


def tag(version: str, registry: str, digests: Mapping[str, str]) -> None:
    """Make and push v<version> unless it exists, then move v<major>.

    Args:
        version: three numbers.
        registry: name of the images, without a tag.
        digests: digest of each image by its stage; not used if the tag exists.

    Raises:
        SystemExit: the tag exists for another commit, or a digest is missing.
    """
    name, major = f"v{version}", f"v{version.partition('.')[0]}"
    if not exists(name):
        _check(digests)
        images = references(registry, digests)
        actions.write(images["tensorrt"], images["slim"])
        _git("add", *(str(path) for path in actions.files("", "")))
        _git(*_AUTHOR, "commit", "--quiet", "--message", f"Release {name}")
        _git(*_AUTHOR, "tag", "--annotate", "--message", f"Release {name}", name)
        _git("push", "--quiet", "origin", f"refs/tags/{name}")
    # It gets no GitHub release: releases can be immutable, and this tag moves.
    _git("push", "--quiet", "--force", "origin", f"{name}^{{commit}}:refs/tags/{major}")


def exists(name: str) -> bool:
    """Return whether the tag exists.

    Raises:
        SystemExit: it was made from another commit than the one checked out.
    """
    if not _git("ls-remote", "--tags", "origin", f"refs/tags/{name}"):
        return False
    head = _git("rev-parse", "HEAD")
    _git("fetch", "--quiet", "--no-tags", "--depth=2", "origin", f"refs/tags/{name}:refs/tags/{name}")
    if _git("rev-parse", f"{name}^{{commit}}^") != head:
        raise SystemExit(f"{name} exists and was made from another commit than {head}: release a new version")
    return True


def _check(digests: Mapping[str, str]) -> None:
    wrong = [stage for stage in SUFFIXES if not re.fullmatch(r"sha256:[0-9a-f]{64}", digests.get(stage, ""))]
    if wrong:
        raise SystemExit(f"--digests has no digest (sha256:<64 hexadecimal digits>) of: {', '.join(wrong)}")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> int:
    """Tag the commit that is checked out in the working directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--check", action="store_true", help="print whether the tag exists, and change nothing")
    how.add_argument("--registry", help="name of the images, without a tag")
    parser.add_argument("--digests", default="", help="JSON that `tools/images.py push` printed")
    arguments = parser.parse_args()
    if arguments.check:
        sys.stdout.write(f"{str(exists(f'v{arguments.version}')).lower()}\n")
    else:
        tag(arguments.version, arguments.registry, json.loads(arguments.digests or "{}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
