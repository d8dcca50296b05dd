"""Which outputs are fed back as inputs: pairs of names that mean one state, and no others."""

from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import pytest

from navigator.errors import StepError
from navigator.records import AxisSpec, Signature, TensorSpec
from navigator.samples.rolls import Growth, following, generated, start
from navigator.samples.states import feeds
from navigator.samples.values import Bounds, Origin


def signature(inputs: str, outputs: str, **changes: Any) -> Signature:
    """Return a signature from names separated by spaces; `changes` are fields of the tensors by name."""

    def spec(name: str) -> TensorSpec:
        known: dict[str, Any] = {"name": name, "shape": (1, 8), "dtype": "float32"}
        return TensorSpec(**known | changes.get(name, {}))

    return Signature(inputs=tuple(map(spec, inputs.split())), outputs=tuple(map(spec, outputs.split())))


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"),
    [
        ("x h c", "y hn cn", "hn=h cn=c"),
        ("x h0 c0", "y hn cn", "hn=h0 cn=c0"),
        ("input state sr", "output stateN", "stateN=state"),
        ("x state", "y new_state", "new_state=state"),
        ("x state", "y state_out", "state_out=state"),
        ("x h_in", "y h_out", "h_out=h_in"),
        ("x hiddenIn", "y hiddenOut", "hiddenOut=hiddenIn"),
        ("x h_prev", "h_t", "h_t=h_prev"),
        ("x h", "y h", "h=h"),
        ("src r1i r2i", "fgr r1o r2o", "r1o=r1i r2o=r2i"),
        ("x state0 state1", "y new_state0 new_state1", "new_state0=state0 new_state1=state1"),
        ("x cached_len_0", "y new_cached_len_0", "new_cached_len_0=cached_len_0"),
        ("x cache_time", "y cache_time_next", "cache_time_next=cache_time"),
        ("x past", "y present", "present=past"),
        ("x past_0 past_1", "y present_0 present_1", "present_0=past_0 present_1=past_1"),
        ("ids past_key_values.0.key", "logits present.0.key", "present.0.key=past_key_values.0.key"),
        ("x mean count", "new_mean new_count", "new_mean=mean new_count=count"),
        ("state", "new_state", "new_state=state"),
        ("x", "y", ""),
        ("image", "image_out", ""),
        ("image_in mask_in", "image_out mask_out", ""),
        ("sample timestep", "out_sample", ""),
        ("hidden_states mask", "last_hidden_state", ""),
        ("query key value", "key_out value_out", ""),
        ("x state", "y state_mean", ""),
        ("x new_state", "y state", ""),
        ("input__0 input__1", "output__0 output__1", ""),
    ],
)
def test_states_are_found_by_names(inputs: str, outputs: str, expected: str) -> None:
    assert feeds("auto", signature(inputs, outputs)) == dict(pair.split("=") for pair in expected.split())


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ({"dtype": "float16"}, False),
        ({"shape": (1, 9)}, False),
        ({"shape": (1, 8, 1)}, False),
        ({"shape": (-1, 8)}, True),
        ({"shape": None}, True),
    ],
)
def test_a_state_has_one_dtype_and_shapes_that_can_be_the_same(state: dict[str, Any], found: bool) -> None:
    assert bool(feeds("auto", signature("x state", "y new_state", new_state=state))) is found


def test_two_outputs_that_could_feed_one_input_feed_none() -> None:
    assert feeds("auto", signature("x state", "new_state state_out")) == {}


def test_declared_states_need_no_names() -> None:
    assert feeds({"output__1": "input__1"}, signature("input__0 input__1", "output__0 output__1")) == {
        "output__1": "input__1"
    }
    assert feeds({}, signature("x state", "y new_state")) == {}


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({"z": "state"}, "states: the model has no output 'z'"),
        ({"y": "z"}, "states: the model has no input 'z'"),
        ({"y": "i"}, r"states: output 'y' \(float32, shape \[1, 8\]\) can't feed input 'i' \(int64, shape \[1, 8\]\)"),
        ({"y": "state", "new_state": "state"}, "states: two outputs feed input 'state'"),
    ],
)
def test_declared_states_must_fit_the_model(states: dict[str, str], message: str) -> None:
    with pytest.raises(StepError, match=message):
        feeds(states, signature("x state i", "y new_state", i={"dtype": "int64"}))


FREE = Bounds(dtype=np.dtype("float32"), low=0.0, high=1.0, origin=Origin.DEFAULT)
COUNT = Bounds(dtype=np.dtype("int64"), low=0, high=1, origin=Origin.DEFAULT)
MASK = Bounds(dtype=np.dtype("int64"), low=0, high=1, origin=Origin.DEFAULT, mask=True)


def arrays(**shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {name: np.ones(shape, np.float32) for name, shape in shapes.items()}


def test_every_step_has_other_inputs_and_counters_count() -> None:
    specs = signature("x state step position", "", step={"dtype": "int64"}, position={"dtype": "int64"}).inputs
    sample = arrays(x=(1, 8), state=(1, 8)) | {"step": np.array([3]), "position": np.array([[0, 1]])}
    begin = start({"new_state": "state"}, sample, arrays(new_state=(1, 8)), specs, {})
    table = Bounds(dtype=np.dtype("int64"), low=0, high=5, origin=Origin.MODEL)
    bounds = {"x": FREE, "state": FREE, "step": COUNT, "position": table}
    steps = generated(begin, 4, bounds, seed=0)
    assert [sorted(each) for each in steps] == [["position", "state", "step", "x"], *[["position", "step", "x"]] * 3]
    assert [int(each["step"][0]) for each in steps] == [3, 4, 5, 6]
    assert [each["position"].tolist() for each in steps] == [[[0, 1]], [[2, 3]], [[4, 5]], [[0, 1]]]
    assert len({each["x"].tobytes() for each in steps}) == 4
    again = generated(begin, 4, bounds, seed=0)
    assert all(np.array_equal(one[name], other[name]) for one, other in zip(steps, again, strict=True) for name in one)


def test_what_may_reset_a_state_lets_it_go_on_for_longer_and_longer() -> None:
    flags = {name: {"dtype": "bool", "shape": (-1, 1)} for name in ("reset", "key_mask")}
    specs = signature("x state reset key_mask", "", **flags).inputs
    sample = arrays(x=(1, 8), state=(1, 8)) | {name: np.ones((1, 1), bool) for name in flags}
    begin = start({"new_state": "state"}, sample, arrays(new_state=(1, 8)), specs, {})
    mask = replace(MASK, dtype=np.dtype("bool"))
    steps = generated(begin, 300, {"x": FREE, "state": FREE, "reset": mask, "key_mask": mask}, seed=0)
    told = [bool(each["reset"]) for each in steps]
    runs = [(value, len(list(group))) for value, group in groupby(told[1:])]
    assert runs == [(number % 2 == 0, 2**number) for number in range(8)] + [(True, 44)]
    assert all(each["key_mask"].all() for each in steps)


@pytest.mark.parametrize("named", [True, False], ids=["the file says so", "by size"])
def test_a_mask_grows_with_a_cache_up_to_the_largest_shape(named: bool) -> None:
    specs = signature(
        "ids mask past", "", ids={"shape": (-1, 1)}, mask={"shape": (-1, -1)}, past={"shape": (-1, -1, 4)}
    )
    axes = {"past": (AxisSpec(), AxisSpec(size="past")), "mask": (AxisSpec(), AxisSpec(size="past + 1"))}
    sample = arrays(ids=(1, 1), mask=(1, 4), past=(1, 3, 4))
    begin = start({"present": "past"}, sample, arrays(present=(1, 4, 4)), specs.inputs, axes if named else {})
    assert begin.growths == (Growth(name="past", axis=1, size=3, by=1),)
    assert begin.limit({"past": (2, 6, 4)}, beyond=99) == 4
    assert begin.limit({}, beyond=99) == 99
    steps = generated(begin, 4, {"ids": COUNT, "mask": MASK, "past": FREE}, seed=0)
    assert [each["mask"].shape for each in steps] == [(1, 4), (1, 5), (1, 6), (1, 7)]
    assert [each["ids"].shape for each in steps] == [(1, 1)] * 4
    assert all(each["mask"].all() for each in steps)


def test_a_state_of_another_shape_is_not_fed_back() -> None:
    specs = signature("x state", "", state={"shape": (-1, 8)}).inputs
    sample = arrays(x=(1, 8), state=(4, 8))
    assert start({"new_state": "state"}, sample, arrays(new_state=(2, 8)), specs, {}).feeds == {}
    assert start({"new_state": "state"}, sample, arrays(new_state=(4, 9)), specs, {}).feeds == {}
    assert start({"new_state": "state"}, sample, {}, specs, {}).feeds == {}


def test_the_users_samples_follow_each_other_row_by_row() -> None:
    specs = signature("x rate state", "", x={"shape": (-1, 1)}, rate={"shape": ()}, state={"shape": (-1, 1)}).inputs
    samples = [
        (str(number), {"x": np.array([[number], [number + 0.5]]), "rate": np.array(16), "state": np.zeros((2, 1))})
        for number in range(2)
    ]
    samples.append(("other", {"x": np.zeros((3, 1)), "rate": np.array(16), "state": np.zeros((3, 1))}))
    begin = start({"n": "state"}, samples[0][1], {"n": np.zeros((2, 1))}, specs, {})
    steps = following(begin, 5, samples)
    assert [each["x"].ravel().tolist() for each in steps] == [[0, 0.5], [1, 1.5], [0.5, 0], [1.5, 1], [0, 0.5]]
    assert {int(each["rate"]) for each in steps} == {16}
    assert ["state" in each for each in steps] == [True, False, False, False, False]


def test_inputs_that_take_much_memory_repeat() -> None:
    specs = signature("x state", "").inputs
    sample = {"x": np.zeros((2**22,), np.float32), "state": np.zeros((1, 8), np.float32)}
    begin = start({"n": "state"}, sample, {"n": sample["state"]}, specs, {})
    assert len(generated(begin, 100, {"x": FREE, "state": FREE}, seed=0)) == 4
