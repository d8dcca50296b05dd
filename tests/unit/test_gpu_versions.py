"""Versions of the libraries for GPUs that belong together do so in every file that names one."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from navigator.config.schema import options
from navigator.frameworks.tensorrt.engine_file import _agree
from navigator.runners import tf_trt

ROOT = Path(__file__).parents[2]
SEEN = yaml.safe_load((ROOT / "tests" / "support" / "gpu_libraries.yaml").read_text())
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def pins(name: str) -> dict[str, Version]:
    """Return the exact versions in a file of requirements, by name."""
    lines = [line.partition(";")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return {
        each.partition("==")[0]: Version(each.partition("==")[2]) for each in lines if "==" in each and each[0] != "#"
    }


GPU, DEVELOPMENT = pins("requirements-gpu.txt"), pins("requirements-dev.txt")


def allowed(extra: str, distribution: str) -> SpecifierSet:
    """Return the versions of a distribution that an extra allows."""
    (found,) = [each for line in EXTRAS[extra] if (each := Requirement(line)).name == distribution]
    return found.specifier


def test_what_is_pinned_for_a_gpu_is_what_the_extras_allow() -> None:
    assert GPU["torch-tensorrt"] in allowed("torch-trt", "torch-tensorrt")
    assert GPU["tensorrt-cu13"] in allowed("tensorrt", "tensorrt")
    assert GPU["onnxruntime-gpu"] in allowed("onnx", "onnxruntime")
    assert DEVELOPMENT["torch"] in allowed("torch", "torch")


def test_torch_tensorrt_is_for_the_torch_and_the_tensorrt_that_are_pinned() -> None:
    needs = SEEN["torch-tensorrt"][str(GPU["torch-tensorrt"])]

    assert DEVELOPMENT["torch"] in SpecifierSet(needs["torch"])
    assert GPU["tensorrt-cu13"] in SpecifierSet(needs["tensorrt-cu13"])


def test_the_image_with_tensorrt_has_exactly_these_versions() -> None:
    text = (ROOT / "Dockerfile").read_text()

    assert "grep -v '^onnxruntime-gpu' requirements-gpu.txt > tensorrt.txt" in text
    assert "grep '^onnxruntime-gpu' requirements-gpu.txt >> frameworks.txt" in text
    stage = text[text.index("FROM full AS tensorrt") :]
    assert "--requirement tensorrt.txt" in stage
    assert set(re.findall(r"(?:tensorrt|torch-tensorrt)[\w-]*[=<>]=?[\d.]+", text)) == set()


def test_tf_trt_ends_where_its_extra_ends() -> None:
    last = ".".join(str(part) for part in tf_trt._LAST)
    specifier = allowed("tf-trt", "tensorflow")

    assert Version(f"{last}.1") in specifier
    assert Version("2.18.0") not in specifier
    assert SEEN["tf-trt"]["tensorflow"] in specifier
    assert tf_trt.too_new("2.18.0")
    assert not tf_trt.too_new(SEEN["tf-trt"]["tensorflow"])


def test_the_default_containers_are_the_last_with_tensorflow() -> None:
    option = options()["container_version"]

    assert option.default == "25.02"
    assert "25.02 is the last one with TensorFlow" in option.description


@pytest.mark.parametrize("seen", SEEN["tensorrt"], ids=lambda seen: seen["package"])
def test_an_engine_of_each_version_is_its_packages_and_no_others(seen: dict[str, str]) -> None:
    assert _agree(seen["engine"], seen["package"])
    others = {each["package"] for each in SEEN["tensorrt"]} - {seen["package"]}
    numbers = re.match(r"[\d.]+", seen["package"])
    assert numbers
    for other in others:
        assert _agree(seen["engine"], other) is other.startswith(numbers[0].rstrip("."))
