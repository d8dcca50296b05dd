"""What the matrices of a large ONNX model are multiplied by moves instead of them."""

import numpy as np
import onnx  # noqa: TID253 - makes the models
import onnxruntime  # noqa: TID253 - runs them
import pytest

from navigator.frameworks.onnx import factors

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
SIZE = 64


def outputs(text: str, values: np.ndarray, *given: np.ndarray) -> tuple[frozenset[str], list[np.ndarray]]:
    """Return which initializers stay in a model with the matrix w, and what it returns once it's changed."""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(values, "w"))
    stay = factors.step(model)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {each.name: array for each, array in zip(session.get_inputs(), given, strict=True)}
    return stay, session.run(None, feed)


@pytest.mark.parametrize(
    ("product", "shape"),
    [
        ("MatMul(x, w)", (3, SIZE)),
        ("MatMul(x, w)", (2, 3, SIZE)),
        ("MatMul(x, w)", (SIZE,)),
        ("Gemm(x, w)", (3, SIZE)),
        ("Gemm<transA = 1>(x, w)", (SIZE, 3)),
        ("Gemm<transB = 1>(x, w)", (3, SIZE)),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_factor_of_a_row_moves_by_one_step(product: str, shape: tuple[int, ...], dtype: str) -> None:
    given = np.random.default_rng(0).normal(size=shape).astype(dtype)
    given.flat[0] = 0
    kind = {"float32": "float", "float64": "double"}[dtype]
    sides = [",".join(map(str, each)) for each in (shape, shape if "transA" not in product else shape[::-1])]
    signature = f"({kind}[{sides[0]}] x) => ({kind}[{sides[1]}] y)"
    stay, (moved,) = outputs(f"{HEAD} m {signature} {{ y = {product} }}", np.eye(SIZE, dtype=dtype), given)
    given = given.T if "transA" in product else given
    steps = (moved - given) / np.spacing(np.abs(given))
    assert "w" in stay
    assert set(np.abs(steps[given != 0]).tolist()) <= {0.5, 1.0, 2.0}
    assert 0.2 < (steps > 0).mean() < 0.8
    assert np.array_equal(moved == 0, given == 0)


@pytest.mark.parametrize(
    "body",
    [
        "y = MatMul(x, w) z = Relu(w)",
        "y = MatMul(w, x) z = Identity(x)",
        """y = MatMul(x, w) z = If(c) <
            then_branch = a () => (float[4, 4] p) { p = Identity(w) },
            else_branch = b () => (float[4, 4] q) { q = Identity(x) }
        >""",
    ],
    ids=["also used otherwise", "another side", "also used in a branch"],
)
def test_matrices_that_do_more_than_multiply_move_themselves(body: str) -> None:
    head = f"{HEAD} m (float[4, 4] x, bool c) => (float[4, 4] y, float[4, 4] z)"
    given = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    stay, (made, _) = outputs(f"{head} {{ {body} }}", np.eye(4, dtype=np.float32), given, np.array(True))
    assert not stay
    assert np.array_equal(made, given)
