"""The scripts of the release workflow: versions that agree, and tags in the right order, in a real git repository."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
REGISTRY = "ghcr.io/Org/model-navigator"
START = "<!-- new releases go below -->"
ISSUE = "[#7](https://github.com/org/model-navigator/issues/7)"
DIGESTS = {stage: f"sha256:{number * 64}" for stage, number in (("slim", "1"), ("full", "2"), ("tensorrt", "3"))}
RELEASE = ("--registry", REGISTRY, "--digests", json.dumps(DIGESTS))


def script(name: str, *words: str, at: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, f"tools/{name}.py", *words]
    return subprocess.run(command, cwd=at, capture_output=True, text=True, check=False)


def git(*words: str, at: Path) -> str:
    who = ["-c", "user.name=Maintainer", "-c", "user.email=maintainer@example.org"]
    return subprocess.run(["git", *who, *words], cwd=at, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a clone of a bare repository with what the scripts read."""
    place = tmp_path / "clone"
    for name in ("tools", ".github/workflows", "convert", "gpu", "slim"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("action.yml", "pyproject.toml", "navigator/__init__.py", "changelog.d/README.md"):
        (place / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, place / name)
    (place / ".gitignore").write_text("__pycache__/\n")
    (place / "CHANGELOG.md").write_text(f"# Changelog\n\n{START}\n\n## 0.9.0 - 2020-01-01\n\n- Less.\n")
    (place / "changelog.d/7.added.md").write_text("All.\n")
    git("init", "--quiet", "--bare", str(tmp_path / "origin"), at=tmp_path)
    git("init", "--quiet", "--initial-branch=main", at=place)
    git("remote", "add", "origin", str(tmp_path / "origin"), at=place)
    commit(place)
    return place


def commit(place: Path) -> None:
    git("add", "--all", at=place)
    git("commit", "--quiet", "--message", "Change", at=place)
    git("push", "--quiet", "origin", "HEAD:refs/heads/main", at=place)


def tags(place: Path) -> list[str]:
    return git("ls-remote", "--tags", "--refs", "origin", at=place).split()[1::2]


def test_a_version_is_written_and_agrees(repository: Path) -> None:
    refused = script("version", "check", "1.2.3", at=repository)
    assert refused.returncode == 1
    assert "navigator/__init__.py: the version is " in refused.stderr
    assert "CHANGELOG.md: the section `## 1.2.3` is missing or empty\n" in refused.stderr
    assert "changelog.d: not in CHANGELOG.md yet: 7.added.md\n" in refused.stderr

    ran = script("version", "set", "1.2.3", at=repository)

    assert ran.returncode == 0, ran.stderr
    agreed = script("version", "check", "1.2.3", at=repository)
    assert (agreed.returncode, agreed.stderr) == (0, "")
    assert script("version", "notes", "1.2.3", at=repository).stdout == f"### Added\n\n- All. ({ISSUE})\n"
    assert script("version", "notes", "0.9.0", at=repository).stdout == "- Less.\n"
    assert '__version__ = "1.2.3"\n' in (repository / "navigator/__init__.py").read_text()
    assert [path.name for path in (repository / "changelog.d").iterdir()] == ["README.md"]


def test_after_a_release_comes_a_development_version(repository: Path) -> None:
    script("version", "set", "1.2.3", at=repository)
    changelog = (repository / "CHANGELOG.md").read_text()
    (repository / "changelog.d/+next.fixed.md").write_text("Next.\n")

    script("version", "set", "1.3.0.dev0", at=repository)

    assert (repository / "CHANGELOG.md").read_text() == changelog
    assert script("version", "check", "1.3.0.dev0", at=repository).stderr.startswith(
        "'1.3.0.dev0' can't be released: use three numbers without a v, for example 1.2.3\n"
    )
    script("version", "set", "1.3.0", at=repository)
    assert script("version", "check", "1.3.0", at=repository).returncode == 0
    # The newest release comes first, below the introduction.
    headings = re.findall(r"^#+ (\S+)", (repository / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings == ["Changelog", "1.3.0", "Fixed", "1.2.3", "Added", "0.9.0"]


def test_a_version_without_a_word_is_not_released(repository: Path) -> None:
    (repository / "changelog.d/7.added.md").unlink()

    script("version", "set", "1.2.3", at=repository)

    refused = script("version", "check", "1.2.3", at=repository)
    assert refused.stderr.startswith("CHANGELOG.md: the section `## 1.2.3` is missing or empty\n")


def test_the_fragments_that_are_there_become_a_changelog() -> None:
    kinds = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]["fragment"]
    fragments = [path for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]
    assert fragments

    ran = subprocess.run(
        [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "9.9.9"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    for path in fragments:
        assert re.fullmatch(rf"(\d+|\+[\w-]+)\.({'|'.join(kinds)})\.md", path.name), path.name
        assert path.read_text().strip() in ran.stdout
    assert START in (ROOT / "CHANGELOG.md").read_text().splitlines()


def test_a_variant_that_was_forgotten_is_not_released(repository: Path) -> None:
    script("version", "set", "1.2.3", at=repository)
    action = repository / "action.yml"
    action.write_text(action.read_text().replace("default: navigator.yaml", "default: models.yaml"))

    refused = script("version", "check", "1.2.3", at=repository)

    assert "slim/action.yml is out of date with action.yml: run `python tools/actions.py`" in refused.stderr


def test_a_release_is_tagged_and_the_branch_left_alone(repository: Path) -> None:
    head = git("rev-parse", "HEAD", at=repository)

    ran = script("tag", "1.2.3", *RELEASE, at=repository)

    assert ran.returncode == 0, ran.stderr
    assert tags(repository) == ["refs/tags/v1", "refs/tags/v1.2.3"]
    git("fetch", "--quiet", "--force", "origin", "refs/tags/*:refs/tags/*", at=repository)
    assert git("rev-parse", "v1.2.3^{commit}^", at=repository) == head
    assert git("rev-parse", "v1", at=repository) == git("rev-parse", "v1.2.3^{commit}", at=repository)
    # GITHUB_TOKEN may not push a commit that changes a workflow.
    changed = git("diff", "--name-only", head, "v1.2.3", at=repository).split()
    assert changed == ["action.yml", "convert/action.yml", "gpu/action.yml", "slim/action.yml"]
    assert git("ls-remote", "origin", "refs/heads/main", at=repository).split()[0] == head


def test_a_released_action_names_every_image_by_digest(repository: Path) -> None:
    """Tags move; whoever pins a commit of ours pins what it runs."""
    script("tag", "1.2.3", *RELEASE, at=repository)

    git("fetch", "--quiet", "--force", "origin", "refs/tags/*:refs/tags/*", at=repository)
    released = {
        variant: git("show", f"v1.2.3:{variant}action.yml", at=repository)
        for variant in ("", "convert/", "gpu/", "slim/")
    }
    named = {variant: re.findall(r"\S*ghcr\.io/\S*", text) for variant, text in released.items()}
    full, slim = (f"ghcr.io/org/model-navigator@{DIGESTS[stage]}" for stage in ("tensorrt", "slim"))
    assert named == {
        "": [f"docker://{full}"],
        "convert/": [f"docker://{full}"],
        "gpu/": [f'"{full}"'],
        "slim/": [f"docker://{slim}"],
    }
    images = [yaml.safe_load(text)["runs"].get("image") for text in released.values()]
    assert images == [f"docker://{full}", f"docker://{full}", None, f"docker://{slim}"]
    # The reusable workflow runs these actions at its own commit, so that it pins the same images.
    workflow = git("show", "v1.2.3:.github/workflows/convert.yml", at=repository)
    used = set(re.findall(r"uses: (\$\S*)", workflow))
    assert used == {"$/slim", "$/convert", "$/gpu"}
    assert "model-navigator:" not in "".join(released.values())

    for variant, text in released.items():
        (repository / variant / "action.yml").write_text(f"{text}\n")
    zizmor = [str(Path(sys.executable).with_name("zizmor")), "--offline", "--strict-collection"]
    zizmor += ["--persona", "pedantic"]  # which refuses tags
    checked = subprocess.run([*zizmor, *(f"{each}action.yml" for each in released)], cwd=repository, check=False)
    assert checked.returncode == 0


@pytest.mark.parametrize(
    "digests",
    ["", "{}", json.dumps(DIGESTS | {"slim": "v1.2.3-slim"}), json.dumps(DIGESTS | {"slim": "sha256:12"})],
)
def test_an_image_without_a_digest_is_not_released(repository: Path, digests: str) -> None:
    ran = script("tag", "1.2.3", "--registry", REGISTRY, "--digests", digests, at=repository)

    assert ran.returncode == 1
    assert "--digests has no digest (sha256:<64 hexadecimal digits>) of: slim" in ran.stderr
    assert tags(repository) == []


def test_a_release_that_broke_off_is_gone_on_with(repository: Path) -> None:
    head = git("rev-parse", "HEAD", at=repository)
    script("tag", "1.2.3", *RELEASE, at=repository)
    released = git("rev-parse", "v1.2.3", at=repository)
    git("push", "--quiet", "origin", ":refs/tags/v1", at=repository)
    git("checkout", "--quiet", head, at=repository)

    assert script("tag", "1.2.3", "--check", at=repository).stdout == "true\n"
    # No image is built again, so that there are no digests.
    ran = script("tag", "1.2.3", "--registry", REGISTRY, "--digests", "", at=repository)

    assert ran.returncode == 0, ran.stderr
    assert tags(repository) == ["refs/tags/v1", "refs/tags/v1.2.3"]
    assert git("rev-parse", "v1.2.3", at=repository) == released


def test_a_tag_of_another_commit_is_not_moved(repository: Path) -> None:
    head = git("rev-parse", "HEAD", at=repository)
    script("tag", "1.2.3", *RELEASE, at=repository)
    git("checkout", "--quiet", head, at=repository)
    (repository / "CHANGELOG.md").write_text("# Changelog\n")
    commit(repository)

    for how in (("--check",), RELEASE):
        ran = script("tag", "1.2.3", *how, at=repository)

        assert ran.returncode == 1
        assert "v1.2.3 exists and was made from another commit than" in ran.stderr
    assert script("tag", "1.2.4", "--check", at=repository).stdout == "false\n"
    assert tags(repository) == ["refs/tags/v1", "refs/tags/v1.2.3"]


def test_the_major_version_moves(repository: Path) -> None:
    head = git("rev-parse", "HEAD", at=repository)
    script("tag", "1.2.3", *RELEASE, at=repository)
    git("checkout", "--quiet", head, at=repository)

    script("tag", "1.3.0", *RELEASE, at=repository)

    git("fetch", "--quiet", "--force", "origin", "refs/tags/*:refs/tags/*", at=repository)
    assert git("rev-parse", "v1", at=repository) == git("rev-parse", "v1.3.0^{commit}", at=repository)
    assert tags(repository) == ["refs/tags/v1", "refs/tags/v1.2.3", "refs/tags/v1.3.0"]
