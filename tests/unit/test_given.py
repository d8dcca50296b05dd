"""What results say of a model that was given: its digest, its options, and the files that these name."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from navigator.engine.sources import Sources
from navigator.errors import NavigatorError
from navigator.models.reading import Watch
from navigator.records import Format, Given, MetricFunction, ModelConfig, RunConfig, from_data, to_data
from tests.support.builders import a_host, a_model, a_plan


@pytest.fixture
def model(tmp_path: Path) -> ModelConfig:
    for name in ("m.onnx", "one.npz", "metric.py", "plugin.so"):
        (tmp_path / name).write_text(name)
    return a_model(
        Format.ONNX,
        model_path=tmp_path / "m.onnx",
        samples=(tmp_path / "one.npz",),
        metric=MetricFunction(path=tmp_path / "metric.py", function="accuracy"),
        tensorrt_plugins=(tmp_path / "plugin.so",),
        value_ranges={"x": (0.0, 1.0)},
    )


def sources_of(model: ModelConfig) -> Sources:
    """Return the sources of a run without a cache, none of which was read yet."""
    run = RunConfig(models=(model,), config_path=model.model_path.parent / "navigator.yaml")
    return Sources(a_host(), run, cache=None)


def given(model: ModelConfig) -> Given:
    """Return what such a run says of a model."""
    sources = sources_of(model)
    sources.read(a_plan(config=model), Watch())
    return sources.given(model.model_name)


def test_options_that_differ_from_their_defaults_are_as_they_are_read_back(model: ModelConfig) -> None:
    told = given(model)

    assert told.sha256 == hashlib.sha256(b"m.onnx").hexdigest()
    assert told.options == {
        "value_ranges": {"x": [0.0, 1.0]},
        "samples": ["one.npz"],
        "metric": "metric.py:accuracy",
        "tensorrt_plugins": ["plugin.so"],
    }
    assert from_data(Given, to_data(told)) == told


@pytest.mark.parametrize(
    ("name", "option"), [("one.npz", "samples"), ("metric.py", "metric"), ("plugin.so", "tensorrt_plugins")]
)
def test_other_content_of_a_file_that_an_option_names_is_seen(name: str, option: str, model: ModelConfig) -> None:
    before = given(model)
    (model.model_path.parent / name).write_text("other")
    after = given(model)

    assert replace(after, files=before.files) == before
    assert {key for key in before.files if before.files[key] != after.files[key]} == {option}


def test_of_a_model_that_cannot_be_read_only_the_options_are_known(model: ModelConfig) -> None:
    model.model_path.unlink()
    sources = sources_of(model)
    with pytest.raises((NavigatorError, OSError)):
        sources.read(a_plan(config=model), Watch())
    told = sources.given("m")
    assert (told.sha256, told.files) == ("", {})
    assert told.options["samples"] == ["one.npz"]
