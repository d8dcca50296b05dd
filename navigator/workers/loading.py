"""Loads the models that tasks name."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from navigator.records import Device, Format, Json, ModelConfig, Signature, from_data
from navigator.runners import RUNNERS
from navigator.runners.protocol import LoadedModel

Loader = Callable[..., LoadedModel]


def source_loader(config: ModelConfig) -> Loader:
    """Return what loads the source model, with other arguments if it's called with some."""
    assert config.model_format is not None
    declared = Signature(inputs=config.inputs, outputs=config.outputs)
    runner = RUNNERS[config.model_format]
    load = partial(runner.load, config.model_path, declared=declared, signature_name=config.signature_name)
    return partial(load, **arguments_of(config))


def arguments_of(config: ModelConfig) -> dict[str, Any]:
    """Return what loads a source model with the values of its arguments that aren't tensors, if there are any."""
    return {"arguments": config.arguments} if config.arguments else {}


def converted_loader(arguments: Mapping[str, Json]) -> Loader:
    """Return what loads an artifact.

    Args:
        arguments: `format`, `path`, `declared` (the source model's `Signature`), `signature_name`, `device`, and the
            step's `options` as the runner reads them.
    """
    runner = RUNNERS[Format(arguments["format"])]
    return partial(
        runner.load,
        Path(arguments["path"]),
        declared=from_data(Signature, arguments["declared"]),
        signature_name=arguments["signature_name"],
        device=Device(arguments["device"]),
        options=from_data(runner.Options, arguments["options"]),
    )
