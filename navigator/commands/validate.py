"""`model-navigator validate`: checks a configuration or a model, and runs nothing."""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

from navigator.commands import subject
from navigator.errors import ExitCode, listed, one_line
from navigator.models import structure
from navigator.models.texts import TEXT_ADVICE, text_in
from navigator.records import Description, Format, ModelConfig, RunConfig
from navigator.render.columns import columns_of, wrapped
from navigator.render.streams import write
from navigator.render.values import count

# Of a configuration with thousands of models, the first ones are enough to learn from.
_LOOK_SECONDS = 0.1
_MOST_SAID = 10


def run(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    """Report all problems, or that there are none, and what only running the models will show."""
    loaded = subject.load(namespace)
    lines = [f"{subject.named(namespace)}: valid, {count(len(loaded.models), 'model')}"]
    if unconvertible := list(_texts(loaded)):
        lines += ["can't be converted:", *(f"  {each}" for each in unconvertible)]
    if unknown := list(_unknown(loaded)):
        lines += ["not known without running:", *(f"  {each}" for each in unknown)]
    fitted = wrapped(map(one_line, lines), columns_of(sys.stdout))
    write("".join(f"{line}\n" for line in fitted), sys.stdout)
    return ExitCode.OK


def _texts(loaded: RunConfig) -> Iterator[str]:
    """Yield which of the first SavedModels have text in their signatures, and what to do."""
    started = time.monotonic()
    for model in loaded.models:
        if time.monotonic() - started > _LOOK_SECONDS:
            return
        if model.model_format is Format.TF_SAVEDMODEL:
            with suppress(OSError):  # the run tells which
                stored = structure.read(model.model_path, model.model_format, model.signature_name, operators=False)
                if why := text_in(stored):
                    yield f"{model.model_name}: {why}; {TEXT_ADVICE}"


def _unknown(loaded: RunConfig) -> Iterator[str]:
    started, said = time.monotonic(), 0
    for position, model in enumerate(loaded.models):
        if said == _MOST_SAID or time.monotonic() - started > _LOOK_SECONDS:
            yield f"what {count(len(loaded.models) - position, 'more model')} may leave open"
            return
        for sentence in _unknown_of(model):
            said += 1
            yield f"{model.model_name}: {sentence}"


def _unknown_of(model: ModelConfig) -> Iterator[str]:
    """Yield what the file of a model leaves open, as far as the configuration and own samples don't say it.

    Raises:
        ConfigurationError: it's damaged.
    """
    assert model.model_format is not None
    if model.samples:
        return
    try:
        stored = structure.read(model.model_path, model.model_format, model.signature_name, operators=False)
    except OSError:  # the run tells which
        return
    if model.model_format is Format.TORCHSCRIPT and model.inputs:
        return
    yield from stored.unknown
    open_axes = list(_open_axes(model, stored))
    if open_axes:
        yield f"the largest size of {listed(open_axes)}"


def _open_axes(model: ModelConfig, stored: Description) -> Iterator[str]:
    """Yield the axes, the batch excepted, that neither the file nor the configuration limits."""
    for spec in stored.inputs or ():
        declared = next((each.shape for each in model.inputs if each.name == spec.name), None)
        axes = stored.axes.get(spec.name, ())
        for axis, size in enumerate(declared or spec.shape or ()):
            limits = axes[axis].ranges.values() if axis < len(axes) else ()
            is_limited = bool(limits) and all(high is not None for _, high in limits)
            if axis and size == -1 and spec.name not in model.max_shapes and not is_limited:
                name = axes[axis].size if axis < len(axes) else ""
                yield f"{spec.name} axis {axis}{f' ({name})' if name else ''}"
