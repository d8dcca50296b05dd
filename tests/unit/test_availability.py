"""What is missing is said with a command that works today, and that nobody else can make theirs."""

import re
from pathlib import Path

import pytest

from navigator.frameworks import availability
from navigator.frameworks.availability import how_to_get, how_to_install, missing
from navigator.records import Host

ROOT = Path(__file__).parents[2]


def host(**versions: str) -> Host:
    return Host(python="3", system="", cpu="", cpu_count=1, memory_bytes=1, versions=versions)


def test_nothing_is_said_of_what_is_there() -> None:
    assert missing(("torch",), "torch", host(torch="2.13.0")) is None


def test_only_what_is_absent_is_installed_with_the_versions_that_work() -> None:
    found = missing(("torch", "onnx", "onnxscript"), "torch", host(onnx="1.23"))

    assert found is not None
    assert (found.reason, found.remedy) == (
        "not installed: torch, onnxscript",
        "pip install 'torch>=2.6' 'onnxscript>=0.5'",
    )


def test_versions_are_those_of_the_extra() -> None:
    assert how_to_install(["tensorflow"], "tensorflow") == "pip install 'tensorflow>=2.18'"
    assert how_to_install(["tensorflow"], "tf-trt") == "pip install 'tensorflow<2.18,>=2.16'"


def test_a_package_that_no_extra_lists_is_named_without_versions() -> None:
    assert how_to_install(["torch"], "torch-nightly") == "pip install torch"


def test_versions_are_left_out_where_the_project_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "PROJECT", "a-project-that-is-not-installed")

    assert how_to_install(["torch"], "torch") == "pip install torch"


def test_in_an_image_of_the_action_another_image_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(availability, "_IMAGE_ENTRYPOINT", tmp_path / "entrypoint.py")
    (tmp_path / "entrypoint.py").touch()

    said = how_to_install(["torch"], "torch")

    assert "the action org/model-navigator instead of org/model-navigator/slim" in said
    assert "pip" not in said


@pytest.mark.parametrize("place", ["image", "container"])
def test_nobody_is_told_to_install_anything_in_an_image(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    (tmp_path / "entrypoint.py").touch()
    if place == "image":
        monkeypatch.setattr(availability, "_IMAGE_ENTRYPOINT", tmp_path / "entrypoint.py")
        # No image of the action has this TensorFlow.
        said = how_to_install(["tensorflow"], "tf-trt")
        assert said == "use launch_mode: docker and a framework_docker_image with tensorflow<2.18,>=2.16"
    else:
        monkeypatch.setenv(availability.CONTAINER_VARIABLE, "1")
        said = how_to_install(["torch", "onnxscript"], "torch")
        assert said == "use launch_mode: docker and a framework_docker_image with torch>=2.6 and onnxscript>=0.5"
    assert how_to_get("torch-tensorrt<2.9").endswith("a framework_docker_image with torch-tensorrt<2.9")


def test_commands_to_install_are_made_in_one_place() -> None:
    """Elsewhere, a text would be shown in images, too. `connection` speaks to those who lack a dependency of ours."""
    own = {"frameworks/availability.py", "workers/docker/provision.py", "workers/docker/connection.py"}
    files = (ROOT / "navigator").rglob("*.py")
    assert {str(each.relative_to(ROOT / "navigator")) for each in files if "pip install" in each.read_text()} <= own


def test_the_file_that_tells_an_image_is_in_every_image() -> None:
    assert f"COPY entrypoint.py /image{availability._IMAGE_ENTRYPOINT.parent}/" in (ROOT / "Dockerfile").read_text()


def test_published_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "ON_PYPI", True)

    assert how_to_install(["torch"], "torch-trt") == "pip install 'model-navigator[torch-trt]'"


@pytest.mark.skipif(availability.ON_PYPI, reason="it is published")
def test_nobody_is_told_to_install_what_nobody_published() -> None:
    """Whoever registers the name first would run code on the machines of those who follow us."""
    texts = [*ROOT.glob("*.md"), *ROOT.glob("*.yml"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("schemas/*.json")]
    texts += (ROOT / "navigator").rglob("*.py")
    assert len(texts) > 100

    told = [(path, line) for path in texts for line in path.read_text().splitlines() if _from_pypi(line)]

    assert told == []


def _from_pypi(line: str) -> bool:
    """Tell whether it installs this project by its name, and not from its repository."""
    found = re.search(r"\b(pip|pipx|uv)\b.*?\binstall\b.*?(?<!/)\bmodel-navigator\b", line)
    return found is not None and "git+" not in line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("run `pip install 'model-navigator[torch]'`", True),
        ("pipx install model-navigator", True),
        ("pip install 'model-navigator[torch] @ git+https://github.com/org/model-navigator'", False),
        ("pip install git+https://github.com/org/model-navigator", False),
        ("pip install 'torch>=2.6'", False),
    ],
)
def test_it_is_seen_where_somebody_is_told_so(line: str, expected: bool) -> None:
    assert _from_pypi(line) is expected
