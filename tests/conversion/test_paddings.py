"""Dilated convolutions that keep their input's size: ONNX Runtime runs them, and they compute what they did."""

import numpy as np
import onnxruntime  # noqa: TID253 - what is tested runs on it
import pytest
from onnx import ModelProto, helper, numpy_helper, parser  # noqa: TID253 - makes the models

from navigator.frameworks.onnx.paddings import made_explicit

RNG = np.random.default_rng(0)


def model(attributes: str, kernel: tuple[int, ...], body: str = "y = Conv<{}>(x, w)", given: bool = True) -> ModelProto:
    sizes = ", ".join(f"s{axis}" for axis, _ in enumerate(kernel))
    weight = numpy_helper.from_array(RNG.normal(size=(3, 2, *kernel)).astype(np.float32), "w")
    inputs = f"float[1, 2, {sizes}] x" + ("" if given else f", float[3, 2, {', '.join(map(str, kernel))}] w")
    text = f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => (float[1, 3, {sizes}] y) '
    made = parser.parse_model(f"{text}{{ {body.format(attributes)} }}")
    made.graph.initializer.extend([weight] if given else [])
    return made


def ran(made: ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(made.SerializeToString())
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("end", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(("kernel", "dilations"), [((3,), (2,)), ((4,), (3,)), ((3, 2), (1, 3))])
@pytest.mark.parametrize("attribute", [True, False], ids=["kernel_shape", "weight"])
def test_padding_of_dilated_convolutions_gets_numbers(
    end: str, kernel: tuple[int, ...], dilations: tuple[int, ...], attribute: bool
) -> None:
    shape = f", kernel_shape = {list(kernel)}" if attribute else ""
    made = model(f'auto_pad = "{end}", dilations = {list(dilations)}{shape}', kernel)
    assert made_explicit(made)
    x = RNG.normal(size=(1, 2, *(9 for _ in kernel))).astype(np.float32)
    more = [(size - 1) * dilation for size, dilation in zip(kernel, dilations, strict=True)]
    sides = [(each // 2, each - each // 2) for each in more]
    padded = np.pad(x, [(0, 0), (0, 0), *(side if end == "SAME_UPPER" else side[::-1] for side in sides)])
    other = model(f"dilations = {list(dilations)}", kernel)
    other.graph.initializer[0].CopyFrom(made.graph.initializer[0])
    assert np.allclose(ran(made, x), ran(other, padded), atol=1e-5)
    assert not made_explicit(made)


def test_other_convolutions_stay() -> None:
    wide = 'auto_pad = "SAME_UPPER", dilations = [2]'
    assert not made_explicit(model('auto_pad = "SAME_UPPER"', (3,)))
    assert not made_explicit(model(f"{wide}, strides = [2]", (3,)))
    assert not made_explicit(model('auto_pad = "VALID", dilations = [2]', (3,)))
    assert not made_explicit(model("pads = [2, 2], dilations = [2]", (3,)))
    assert not made_explicit(model(wide, (3,), given=False)), "its kernel isn't known"


def test_branches_are_looked_at_too() -> None:
    made = model('auto_pad = "SAME_UPPER", dilations = [2], kernel_shape = [3]', (3,))
    (node,) = made.graph.node
    branch = helper.make_graph([node], "branch", [], [made.graph.output[0]])
    del made.graph.node[:]
    made.graph.node.append(helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch))
    assert made_explicit(made)
