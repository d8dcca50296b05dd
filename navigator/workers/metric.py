"""Calls the user's metric on the outputs of a model, one sample at a time.

The function is anyone's code: it's run where models are, and gets copies of the arrays.
"""

import math
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from navigator.errors import StepError, listed
from navigator.records import Json, MetricFunction, ModelConfig, from_data, to_data
from navigator.samples import storage
from navigator.samples.own_data import labels, sample_names
from navigator.workers.answers import MetricAnswer

_MOST_ITEMS = 1_000_000
_RETURN_FINITE = "check it for a division by zero, and for a mean or maximum of nothing"
_RETURN = "return a bool or a number for the sample, or an array with one for each of its items"

Arrays = Mapping[str, np.ndarray]


def metric(arguments: Mapping[str, Json]) -> Json:
    """Call the metric for each sample.

    Args:
        arguments: `config` (a `ModelConfig`), the directories `samples`, `source` and `outputs`: the source model's
            inputs and outputs, and the outputs to judge; and `names`: the samples that count.

    Returns:
        a `MetricAnswer`.
    """
    config = from_data(ModelConfig, arguments["config"])
    assert config.metric is not None
    samples, source, outputs = (
        dict(storage.load(Path(arguments[each]), mapped=True)) for each in ("samples", "source", "outputs")
    )
    files = dict(zip(sample_names(config.samples), config.samples, strict=True))
    call = _Metric(config.metric)
    values: dict[str, tuple[float, ...]] = {}
    for name in arguments["names"]:
        given = samples[name] | (labels(files[name], samples[name]) if name in files else {})
        values[name] = call(name, outputs[name], given, source[name])
        if len(values) == 1 and call(name, outputs[name], given, source[name]) != values[name]:
            raise StepError(
                f"{config.metric.function} returns other values for sample {name!r} when it's called again",
                "seed its random numbers: both models must be judged alike",
            )
        if sum(map(len, values.values())) > _MOST_ITEMS:
            raise StepError(
                f"{config.metric.function} returns more than {_MOST_ITEMS:,} values",
                "return one value for each item that is independent of the others: an image, not a pixel",
            )
    if values and not call.read:
        raise StepError(
            f"{config.metric.function} looks at no output, so that it says the same of any model",
            f"read what it judges from its first argument, which has {listed(next(iter(outputs.values())))}",
        )
    return to_data(MetricAnswer(values=values, outputs=tuple(call.read)))


class _Outputs(dict[str, np.ndarray]):
    """The outputs of a model, which notes the names of those that are read."""

    def __init__(self, arrays: Arrays, read: dict[str, None]) -> None:
        super().__init__({name: np.array(array) for name, array in arrays.items()})
        self._read = read

    def __getitem__(self, name: str) -> np.ndarray:
        array = super().__getitem__(name)
        self._read[name] = None
        return array

    def __iter__(self) -> Iterator[str]:  # so that `dict(outputs)` and `**outputs` get their items here
        return super().__iter__()

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self:
            return default
        return self[name]

    def values(self) -> Any:
        return [self[name] for name in self]

    def items(self) -> Any:
        return [(name, self[name]) for name in self]

    def copy(self) -> "_Outputs":
        return _Outputs(dict(super().items()), self._read)

    def pop(self, name: str, *default: Any) -> Any:
        if name in self:
            self._read[name] = None
        return super().pop(name, *default)


class _Metric:
    """The user's function, with where it is and what's wrong with it in words. `read` has the outputs that it read.

    Raises:
        StepError: its file can't be run, or has no such function.
    """

    def __init__(self, where: MetricFunction) -> None:
        self._where = where
        self.read: dict[str, None] = {}
        module = ModuleType("metric")
        module.__file__ = str(where.path)
        sys.modules["metric"] = module  # dataclasses look for their module there
        try:
            # Not imported: a compiled file beside it would be taken for it.
            exec(compile(where.path.read_bytes(), str(where.path), "exec"), module.__dict__)  # noqa: S102 - the user's
        except (Exception, SystemExit) as error:
            raise self._failed(error, "while it was loaded") from error
        found = getattr(module, where.function, None)
        if not callable(found):
            raise StepError(f"{where.path.name} has no function {where.function!r}", "define it, or correct metric")
        self._function: Callable[..., Any] = found
        try:
            self._takes_source = "source" in signature(found).parameters
        except (TypeError, ValueError):  # a function in C
            self._takes_source = False

    def __call__(self, name: str, outputs: Arrays, sample: Arrays, source: Arrays) -> tuple[float, ...]:
        """Return the values of a sample's items.

        Raises:
            StepError: the function fails, or returns what isn't a finite number for each item.
        """
        inputs, theirs = ({key: np.array(array) for key, array in each.items()} for each in (sample, source))
        keywords = {"source": theirs} if self._takes_source else {}
        try:
            returned = self._function(_Outputs(outputs, self.read), inputs, **keywords)
        except (Exception, SystemExit) as error:
            has = f"outputs has {listed(outputs)}; sample has {listed(sample)}"
            raise self._failed(error, f"for sample {name!r}", has) from error
        what, values = _numbers(returned)
        if what:
            raise StepError(f"{self._where.function} returns {what} for sample {name!r}", _RETURN)
        wrong = [each for each in values if not math.isfinite(each)]
        if wrong:
            several = f" in {len(wrong):,} of {len(values):,} values" if len(values) > 1 else ""
            raise StepError(f"{self._where.function} returns {wrong[0]:g}{several} for sample {name!r}", _RETURN_FINITE)
        return values

    def _failed(self, error: BaseException, when: str, has: str = "") -> StepError:
        """Return what a function's exception is, and where in its file."""
        path = str(self._where.path)
        lines = [each for each in traceback.extract_tb(error.__traceback__) if each.filename == path]
        number = lines[-1].lineno if lines else getattr(error, "lineno", None)
        line = f", line {number}" if number is not None else ""
        told = next(iter(str(error).strip().splitlines()), "")
        hint = f"fix the metric; {has}" if has else "fix the metric"
        if isinstance(error, PermissionError):
            told = f"{error.filename} isn't open to it"
            hint = "save what it needs as arrays in the files of samples: it opens no other files, and no network"
        elif isinstance(error, ImportError):
            hint = "install it where models are run; a metric is one file, and imports none of its neighbours"
        text = f"{type(error).__name__}: {told}" if told else type(error).__name__
        return StepError(f"the metric {self._where.function} fails {when}: {self._where.path.name}{line}: {text}", hint)


def _numbers(returned: object) -> tuple[str, tuple[float, ...]]:
    """Return why what a metric returned can't be used, or "", and its values."""
    if returned is None:
        return "None", ()
    detach = getattr(returned, "detach", None)  # a tensor of PyTorch's, which NumPy may refuse
    try:
        values = np.asarray(detach() if callable(detach) else returned)
    except Exception:  # noqa: BLE001 - whatever the object does when it's asked for its array
        return f"a {type(returned).__name__}", ()
    if values.dtype.kind not in "biuf":
        return f"a {type(returned).__name__}, not numbers,", ()
    return "", tuple(values.astype(np.float64).reshape(-1).tolist())
