"""Errors that few inputs show: what a search is for. Planted in the models of test_planted.py.

Opsets to 17 only, since axes of reductions are attributes here.
"""

from typing import Any

import numpy as np

from tests.run.test_planted import BATCH, COLUMN, INDEX, LENGTH, MODELS, ROWS, Model

END = "y = Identity(y0)"

# Rows go wrong for which `hit` is true.
BUMPED = f"{COLUMN} hits = Cast<to = DTYPE>(column) bump = Mul(hits, small) y = Add(y0, bump)"
COUNTED = f"found = Cast<to = 1>(each) count = ReduceSum<keepdims = 0>(found, unit) hit = Equal(count, fone) {BUMPED}"

MOST = "found = Cast<to = 1>(each) count = ReduceMax(found)"
SOME = f"hit = Greater(count, fzero) {BATCH}"

VALUES = {
    "one element at the upper end": f"each = Equal(x, end) {COUNTED}",
    "one element at the lower end": f"low = Neg(end) each = Equal(x, low) {COUNTED}",
    "one element above 0": f"each = Greater(x, fzero) {COUNTED}",
    "one element that isn't 0": f"zeros = Equal(x, fzero) each = Not(zeros) {COUNTED}",
    "a narrow window": (
        "above = Greater(x, window) below = Less(x, window_end) each = And(above, below) found = Cast<to = 1>(each) "
        f"count = ReduceMax<axes = [1], keepdims = 0>(found) hit = Greater(count, fzero) {BUMPED}"
    ),
    "high mean": f"mean = ReduceMean<axes = [1], keepdims = 0>(x) hit = Greater(mean, high_mean) {BUMPED}",
    "low mean": f"mean = ReduceMean<axes = [1], keepdims = 0>(x) m = Neg(mean) hit = Greater(m, high_mean) {BUMPED}",
    "values alike": (
        "most = ReduceMax<axes = [1], keepdims = 0>(x) least = ReduceMin<axes = [1], keepdims = 0>(x) "
        f"hit = Equal(most, least) {BUMPED}"
    ),
    "small values": (
        f"size_of = Abs(x) most = ReduceMax<axes = [1], keepdims = 0>(size_of) hit = Less(most, hundredth) {BUMPED}"
    ),
    "two rows alike": (
        "top = Slice(x, first, unit) same = Equal(x, top) equal = Cast<to = 1>(same) "
        f"all = ReduceMin<axes = [1], keepdims = 0>(equal) twin = Greater(all, fzero) {INDEX} "
        f"later = Greater(rank, first) hit = And(twin, later) {BUMPED}"
    ),
    "batch of five": f"{ROWS} hit = Equal(rows, five) {BATCH}",
    "one number": f"each = Equal(x, window) {MOST} {SOME}",
    "one number of a sum": f"shifted = Sub(x, half) more = Mul(shifted, four) each = Equal(more, half) {MOST} {SOME}",
    "outputs clipped": "y = Min(y0, top_value)",
    "an error that grows in one direction": (
        "p_first = Slice(p, first, unit, unit) o = Sub(p_first, far) e = Add(o, o) g = Exp(e) d2 = Mul(g, small) "
        "y = Add(y0, d2)"
    ),
}
STEPS = {"one step": f"now = Squeeze(step, unit) hit = Equal(now, odd_step) {BUMPED}"}
SIZES = {
    "width of 13": f"{LENGTH} hit = Equal(extent, thirteen) {BATCH}",
    "wider by one": f"{LENGTH} tall = Gather(size, two) more = Sub(extent, tall) hit = Equal(more, unit) {BATCH}",
    "a dark channel": (
        f"sizes_of = Abs(x) s = ReduceMax<axes = [2, 3], keepdims = 0>(sizes_of) t = Gather<axis = 1>(s, ione) "
        f"hit = Equal(t, fzero) {BUMPED}"
    ),
    "a bright row of pixels": (
        f"s = ReduceMin<axes = [1, 3], keepdims = 0>(x) t = ReduceMax<axes = [1], keepdims = 0>(s) "
        f"hit = Greater(t, almost) {BUMPED}"
    ),
}

CONSTANTS: dict[str, Any] = {
    "window": np.float32(0.7),
    "window_end": np.float32(0.7001),
    "high_mean": np.float32(1.3),
    "hundredth": np.float32(0.01),
    "five": np.array([5]),
    "half": np.float32(0.5),
    "four": np.float32(4),
    "top_value": np.float32(60),
    "far": np.float32(20),
    "odd_step": np.array(777),
    "thirteen": np.array([13]),
    "almost": np.float32(0.95),
}
PLANTED = {
    "mlp": VALUES,
    "state_of_known_steps": STEPS,
    "image": SIZES,
}


def large_table() -> Model:
    """Return the model of words with a table of 20,000 rows."""
    words = MODELS["words"]
    rng = np.random.default_rng(1)
    table = rng.normal(size=(20_000, 8)).astype(np.float32)
    odd = table.copy()
    odd[13_777] += 1
    return words._replace(
        constants=words.constants | {"table": table, "table_odd": odd},
        planted={"one id": ("Gather(table, ids)", "Gather(table_odd, ids)")},
    )


def rare() -> dict[tuple[str, str], tuple[Model, str, str]]:
    """Return the model, its body and the wrong body of each error, by the model's name and the error's."""
    found: dict[tuple[str, str], tuple[Model, str, str]] = {}
    for name, tails in PLANTED.items():
        model = MODELS[name]
        model = model._replace(constants=model.constants | CONSTANTS)
        body = f"{model.body} {END}"
        found |= {(name, error): (model, body, body.replace(END, tail)) for error, tail in tails.items()}
    table = large_table()
    body = f"{table.body} {END}"
    ((error, (old, new)),) = table.planted.items()
    return found | {("large_table", error): (table, body, body.replace(old, new))}
