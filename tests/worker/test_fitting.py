"""Sizes for which a linear layer gets as many features as it wants, as PyTorch's refusals tell."""

from collections.abc import Callable

import numpy as np
import pytest

from navigator.errors import StepError
from navigator.records import TensorSpec
from tests.worker.test_probing import Model, found, spec

WANTED = 4 * 25 * 25


def linear(features: Callable[[int], int]) -> Callable[[tuple[int, ...]], bool]:
    """Return the rule of a network that makes so many features of a size, and says so."""

    def rule(shape: tuple[int, ...]) -> bool:
        has = features(shape[-1])
        if has <= 0:
            raise StepError("kernel size can't be greater than actual input size")
        if has != WANTED:
            raise StepError(f"mat1 and mat2 shapes cannot be multiplied (1x{has} and {WANTED}x10)")
        return True

    return rule


@pytest.mark.parametrize(
    ("inputs", "features", "size"),
    [
        (spec("image", 1, 3, -1, -1), lambda side: 4 * (side - 9) ** 2, 34),
        (spec("image", 1, 3, -1, -1), lambda side: 4 * (1 + (side - 300) // 20) ** 2 if side >= 300 else 0, 784),
        (spec("wave", 1, -1), lambda length: 4 * (length // 40), 40 * 625),
    ],
)
def test_the_only_size_is_found_by_halving(inputs: TensorSpec, features: Callable[[int], int], size: int) -> None:
    model = Model((inputs,), linear(features))

    answer = found(model)

    assert answer.min_shapes[inputs.name][-1] <= size <= answer.max_shapes[inputs.name][-1]
    assert len({str(each) for each in model.asked}) < 80


def test_features_that_no_size_changes_are_not_looked_for() -> None:
    model = Model((spec("image", 1, 3, -1, -1),), linear(lambda _: 7))
    with pytest.raises(StepError, match="1x7 and 2500x10"):
        found(model)

    assert max(np.prod(each["image"]) for each in model.asked) <= 2 * 3 * 640 * 640
