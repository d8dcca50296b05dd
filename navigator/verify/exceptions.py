"""Values that exceed their tolerance in a reduced precision, and are accepted: they're few, or nothing but rounding.

A sigmoid or softmax is steep where it is undecided: rounding that leaves a logit within 1 % of its range changes a
score by more than that. On inputs far from what a model was made for, its layers cancel, and rounding shows in all that
follows. A tolerance in parts of an output's range allows neither.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from navigator.verify.agreement import agreement
from navigator.verify.binomial import at_least
from navigator.verify.noise import FACTOR
from navigator.verify.outputs import ComparedOutput
from navigator.verify.systematic import RMS_FACTOR

Rounded = Mapping[str, Sequence[Mapping[str, np.ndarray]]]
"""What a converted model returns if it rounds otherwise, by sample: each run's outputs."""

# This part of scores may exceed a tolerance for no known reason, and by at most this factor.
_PART = 1 / 1000
_FACTOR = 10.0

# This part of all values may exceed one by what rounding changes.
_ROUNDED_PART = 1 / 100

# More than a part is a count that has less than this chance if it's no more than that.
_CHANCE = 0.05


def transferred(
    outputs: Mapping[str, np.ndarray], runs: Sequence[Mapping[str, np.ndarray]]
) -> list[dict[str, np.ndarray]]:
    """Return what a converted model returns if it rounds otherwise, from runs of another of the same precision.

    An engine is run elsewhere than the ONNX file that it was built from: a difference between the two is the engine's
    error as well as rounding. Only what differs between runs of one of them is rounding, and is added to `outputs`.

    Args:
        outputs: of the converted model, for one sample.
        runs: of the other, each with other rounding. A single one tells nothing.
    """
    found = []
    for one, other in itertools.pairwise(runs):
        changed = {}
        for name, value in outputs.items():
            pair = [run[name] for run in (one, other) if name in run and run[name].shape == value.shape]
            if len(pair) == 2 and value.dtype.kind == "f":
                with np.errstate(all="ignore"):
                    difference = pair[1].astype(np.float64) - pair[0].astype(np.float64)
                    difference[~np.isfinite(difference)] = 0
                    changed[name] = np.asarray(value + difference)
        found.append(changed)
    return found


def few_scores(output: ComparedOutput, least_sqnr_db: float) -> bool:
    """Return whether the values of an output are scores, from 0 to 1, of which acceptably few don't match.

    Args:
        output: has been compared.
        least_sqnr_db: the least ratio of signal to quantization noise, in decibels.
    """
    totals = output.totals
    if output.problem or totals.worst is None or not totals.mismatched or not _few(output, _PART):
        return False
    if not 0 <= totals.low <= totals.high <= 1:
        return False
    sample, index = totals.worst
    reference, value = (float(each[index]) for each in output.pairs[sample][1:])
    if abs(value - reference) > _FACTOR * (output.atol + output.rtol * abs(reference)):
        return False
    return _keeps(output, least_sqnr_db)


def only_rounding(output: ComparedOutput, rounded: Rounded, least_sqnr_db: float) -> bool:
    """Return whether what doesn't match of an output is the rounding of the precision, and acceptable.

    It's rounding if, in each sample, the largest error and the root mean square of all are what changes when the
    converted model rounds otherwise, but for a factor. It's acceptable if few values are concerned, or the output as a
    whole is kept.

    Args:
        output: has been compared.
        rounded: has the samples in which values don't match.
        least_sqnr_db: the least ratio of signal to quantization noise of an output that's kept.
    """
    if output.problem or not output.totals.mismatched or output.pairs[0][1].dtype.kind != "f":
        return False
    if not (_few(output, _ROUNDED_PART) or _keeps(output, least_sqnr_db)):
        return False
    return all(_explained(output, pair, rounded.get(pair[0], ())) for pair in output.pairs)


def _few(output: ComparedOutput, part: float) -> bool:
    """Return whether no more values than that part exceed their tolerance, or not so many that it isn't chance."""
    return at_least(output.totals.mismatched, output.totals.total, part) > _CHANCE


def _keeps(output: ComparedOutput, least_sqnr_db: float) -> bool:
    found = agreement(output.arrays)
    return found is not None and found.sqnr_db is not None and found.sqnr_db >= least_sqnr_db


def _explained(
    output: ComparedOutput, pair: tuple[str, np.ndarray, np.ndarray], runs: Sequence[Mapping[str, np.ndarray]]
) -> bool:
    """Return whether a sample is within tolerance, or its errors are like what other rounding changes."""
    _, left, right = pair
    wide = left.astype(np.float64)
    with np.errstate(all="ignore"):
        error = np.abs(right - wide)
        error[~np.isfinite(error)] = 0  # equal infinities
        excess = float((error - (output.atol + output.rtol * np.abs(wide))).max(initial=0.0))
    if not excess:
        return True
    largest = squares = 0.0
    others = [output.part(run[output.name]) for run in runs if output.name in run]
    for other in others:
        if other.shape != right.shape:
            return False
        with np.errstate(all="ignore"):
            changed = np.abs(other.astype(np.float64) - right)
        changed[~np.isfinite(changed)] = 0
        largest, squares = max(largest, float(changed.max(initial=0.0))), squares + float(np.square(changed).mean())
    usual = math.sqrt(squares / max(1, len(others)))
    return excess <= FACTOR * largest and math.sqrt(float(np.square(error).mean())) <= RMS_FACTOR * usual
