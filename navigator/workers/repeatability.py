"""Whether the source model is a function of its inputs: it's run again on a sample that it has been run on.

A model that draws random numbers has no outputs to compare with, and its noise must never become a tolerance.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from navigator.errors import StepError, listed
from navigator.ranges import bounds
from navigator.runners.abilities import KeepsState, TellsMode
from navigator.runners.protocol import LoadedModel, SourceModel
from navigator.samples.generate import Sample

# The same inputs give other sums if threads add in another order. Of the architectures measured with random weights,
# none lost more than 2e-4 of its outputs' range to that; a dropout of one value in a hundred changes more than this.
RANDOM = 2.0**-10

# An operation that draws numbers is there: any difference that isn't the rounding of the last operations is its.
_STEPS = 16

# What only draws in training mode; the last are the layers that Keras augments images with, by their own names.
_TRAINING = ("dropout", "rrelu", " in random_")

_MODE_ADVICE = "save it in inference mode: module.eval() in PyTorch, training=False in Keras"
_NOISE_ADVICE = "make what it draws an input of the model, or remove that part from the model"


def require_repeatable(
    model: LoadedModel, samples: Sequence[Sample], outputs: Sequence[Sample], reload: Callable[[], LoadedModel]
) -> tuple[str, ...]:
    """Run the source model again and return the outputs that depend on earlier calls: it keeps a state.

    Costs one inference of the smallest sample, and for models with random operations up to one of every sample.

    Args:
        model: the source model.
        samples: its inputs.
        outputs: what it returned for them, in the same order.
        reload: loads it anew, to tell state from randomness.

    Raises:
        StepError: it draws random numbers, with the operations that do.
    """
    drawing = model.random_operations if isinstance(model, SourceModel) else ()
    order = sorted(range(len(samples)), key=lambda index: uninformative(samples[index]))
    # Twice where the graph shows a state: one that fits only one batch size was lost before the first time.
    keeps_state = isinstance(model, KeepsState) and bool(model.state_advice)
    for index in order if drawing else order[:1] * (2 if keeps_state else 1):
        again = model.infer(samples[index][1])
        changed = _changed(outputs[index][1], again, outputs, 0.0 if drawing else RANDOM)
        if not changed:
            continue
        if not drawing:
            first = reload().infer(samples[0][1])
            if not _changed(outputs[0][1], first, outputs, RANDOM):
                return tuple(changed)
        raise _random(drawing, changed, samples[index][0])
    return ()


def saved_in_training_mode(model: LoadedModel) -> Iterator[str]:
    """Say that the model was saved in training mode, where its graph shows it."""
    operations = model.training_operations if isinstance(model, TellsMode) else ()
    if operations:
        yield (
            f"the source model was saved in training mode: {listed(operations)} normalizes by the statistics of each "
            "batch instead of those that it learned; call model.eval() before you save it"
        )


def uninformative(sample: Sample) -> tuple[bool, int]:
    """Sort samples: those whose values differ first, since noise may be multiplied by them; smaller ones first."""
    arrays = list(sample[1].values())
    same = all(array.size < 2 or bool((array == array.flat[0]).all()) for array in arrays)
    return same, sum(array.nbytes for array in arrays)


def _changed(
    one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray], outputs: Sequence[Sample], share: float
) -> dict[str, str]:
    """Return the outputs that differ by more than `share` of their range and by more than rounding, and how."""
    return {name: how for name, array in one.items() if (how := _how(name, array, other.get(name), outputs, share))}


def _how(name: str, one: np.ndarray, other: np.ndarray | None, outputs: Sequence[Sample], share: float) -> str:
    if other is None or one.shape != other.shape:
        shape = "missing" if other is None else list(other.shape)
        return f"first {list(one.shape)}, then {shape}"
    left, right = _wide(one), _wide(other)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    if same.all():
        return ""
    low, high = bounds([arrays[name] for _, arrays in outputs if name in arrays])
    step = float(np.finfo(one.dtype).eps) if one.dtype.kind in "fc" else 0.0
    # Masks (-1e9) are no part of the range, and have their own steps.
    rounding = _STEPS * step * np.maximum(max(abs(low), abs(high)), np.abs(left[~same]))
    distance = np.abs(right[~same] - left[~same])
    distance = np.where(np.isfinite(distance), distance, np.inf)
    if (distance <= np.maximum(share * (high - low), np.nan_to_num(rounding, posinf=0.0))).all():
        return ""
    return f"by up to {distance.max():.3g}, for values from {low:.3g} to {high:.3g}"


def _wide(array: np.ndarray) -> np.ndarray:
    """Return real numbers in which differences are exact enough."""
    return array.view(array.real.dtype).astype(np.float64) if array.dtype.kind == "c" else array.astype(np.float64)


def _random(drawing: Sequence[str], changed: Mapping[str, str], sample: str) -> StepError:
    name, how = next(iter(changed.items()))
    more = f" (and {listed([each for each in changed if each != name])})" if len(changed) > 1 else ""
    source = f"it draws random numbers with {listed(drawing)}" if drawing else "it seems to draw random numbers"
    training = any(word in each.lower() for each in drawing for word in _TRAINING)
    hints = [_MODE_ADVICE] if training or not drawing else []
    hints += [] if drawing and all("dropout" in each.lower() for each in drawing) else [_NOISE_ADVICE]
    return StepError(
        f"the source model is random, so that nothing can be compared with it: {source}. Run twice on sample "
        f"{sample!r}, its output {name!r}{more} differs {how}",
        "; ".join(hints),
    )
