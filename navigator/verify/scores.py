"""Few scores may exceed their tolerance in a reduced precision: a sigmoid or softmax is steep where it is undecided.

There the rounding that leaves a logit within 1 % of its range changes a score by more than that.
"""

from navigator.verify.agreement import agreement
from navigator.verify.outputs import ComparedOutput

# At most this part of the values, and by at most this factor.
_PART = 1 / 1000
_FACTOR = 10.0


def few_exceptions(output: ComparedOutput, least_sqnr_db: float) -> bool:
    """Return whether the values of an output are scores, from 0 to 1, of which acceptably few don't match.

    Args:
        output: has been compared.
        least_sqnr_db: the least ratio of signal to quantization noise, in decibels.
    """
    totals = output.totals
    if output.problem or totals.worst is None or not 0 < totals.mismatched <= _PART * totals.total:
        return False
    if not 0 <= totals.low <= totals.high <= 1:
        return False
    sample, index = totals.worst
    reference, value = (float(each[index]) for each in output.pairs[sample][1:])
    if abs(value - reference) > _FACTOR * (output.atol + output.rtol * abs(reference)):
        return False
    found = agreement(output.arrays)
    return found is not None and found.sqnr_db is not None and found.sqnr_db >= least_sqnr_db
