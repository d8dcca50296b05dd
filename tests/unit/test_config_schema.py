"""The schema is the one description: keys, defaults, choices and the table agree with the records."""

import argparse
import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from navigator import config
from navigator.config import schema
from navigator.config.checks import SAMPLES
from navigator.records import FailOn, Format, LaunchMode, ModelConfig, Precision, PrecisionMode, RunConfig, to_data

# What the loader fills in, and no user writes.
BOOKKEEPING = {ModelConfig: {"config_path", "line"}, RunConfig: {"models", "config_path", "notes"}}
SCOPES = {ModelConfig: schema.MODEL, RunConfig: schema.RUN}


@pytest.mark.parametrize("record", [ModelConfig, RunConfig])
def test_keys_are_the_record_s_fields(record: type[Any]) -> None:
    keys = {option.key for option in schema.options().values() if option.scope == SCOPES[record]}
    assert keys == {field.name for field in dataclasses.fields(record)} - BOOKKEEPING[record]


def test_defaults_are_the_record_s() -> None:
    records = [to_data(ModelConfig(model_name="m", model_path=Path("m"))), to_data(RunConfig(models=()))]
    fields = json.loads(json.dumps({**records[1], **records[0]}))
    for option in schema.options().values():
        if option.key in ("model_name", "model_path", "config_path"):
            continue
        default = option.default
        assert default == fields[option.key], option.key


def test_choices_are_the_record_s() -> None:
    expected = {
        "model_format": Format,
        "target_formats": Format,
        "tensorrt_precisions": Precision,
        "tensorrt_precisions_mode": PrecisionMode,
        "launch_mode": LaunchMode,
        "fail_on": FailOn,
    }
    for key, enum in expected.items():
        assert set(schema.options()[key].choices) == {str(member) for member in enum}
    assert {option.key for option in schema.options().values() if option.choices} == set(expected)


def test_the_schema_is_a_schema_and_its_examples_and_defaults_fit() -> None:
    whole = schema.schema()
    jsonschema.Draft202012Validator.check_schema(whole)
    for section in ("model_options", "run_options"):
        for key, described in whole["$defs"][section]["properties"].items():
            if "x-alias-of" in described:
                continue
            assert described["description"].endswith("."), key
            rules = jsonschema.Draft202012Validator({**described, "$defs": whole["$defs"]})
            for value in [*described["examples"], *([described["default"]] if "default" in described else [])]:
                rules.validate(value)


def test_examples_are_what_the_loader_takes(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08\x3a\x00")
    (tmp_path / "metric.py").write_text("def accuracy(outputs, sample): ...")
    parser = argparse.ArgumentParser()
    config.add_options(parser)
    for option in schema.options().values():
        # `arguments` are of TorchScript: tests/conversion/test_torchscript_arguments.py gives some.
        if option.key in ("model_path", *SAMPLES, "config_path", "tensorrt_plugins", "arguments"):
            continue
        typed = parser.parse_args([option.flag, *shlex.split(option.argument)])
        common = {"model_name": "m", "model_path": "m.onnx", "metric": "metric.py:accuracy"}
        config.load(None, {**common, **config.overrides(typed)}, working_directory=tmp_path)
        config.load(None, {**common, option.key: option.example}, working_directory=tmp_path)


def test_schemas_are_found() -> None:
    assert config.schema_path("navigator.schema.json").parent.name == "schemas"
    with pytest.raises(FileNotFoundError, match=r"schemas/nothing\.json is missing"):
        config.schema_path("nothing.json")
