"""Operations that tf2onnx lacks or gets wrong, and calls that it can't follow, compute what TensorFlow does."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from navigator.converters import tf_savedmodel_to_onnx
from navigator.converters.protocol import Conversion
from navigator.frameworks.opsets import DEFAULT
from navigator.records import Signature
from navigator.runners import onnx as onnx_runner
from navigator.runners import tf_savedmodel

RNG = np.random.default_rng(0)

Outputs = Mapping[str, Any]


def converted(
    directory: Path, inputs: Mapping[str, tuple[list[int | None], str]], function: Callable[..., Outputs], opset: int
) -> tuple[Any, Any]:
    import tensorflow as tf

    module = tf.Module()
    specs = [tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in inputs.items()]
    module.run = tf.function(function, input_signature=specs)
    tf.saved_model.save(module, str(directory / "m"), signatures=module.run)
    model = tf_savedmodel.load(directory / "m", declared=Signature(inputs=(), outputs=()))
    options = tf_savedmodel_to_onnx.Options(opset=opset)
    destination = directory / "m.onnx"
    conversion = Conversion(source=directory / "m", destination=destination, options=options, raise_from=None)
    tf_savedmodel_to_onnx.convert(conversion)
    return model, onnx_runner.load(destination, declared=model.signature)


def same(model: Any, made: Any, given: Mapping[str, Any], rtol: float = 1e-5, atol: float = 1e-5) -> None:
    right, found = model.infer(given), made.infer(given)
    assert right.keys() == found.keys()
    for name, array in right.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_allclose(found[name], array, rtol=rtol, atol=atol, err_msg=name)


def exported(directory: Path, model: Any) -> tuple[Any, Any]:
    """Return what runs a model of Keras and what it's converted to."""
    model.export(str(directory / "m"), verbose=False)
    source = tf_savedmodel.load(directory / "m", declared=Signature(inputs=(), outputs=()))
    destination = directory / "m.onnx"
    options = tf_savedmodel_to_onnx.Options(opset=DEFAULT)
    conversion = Conversion(source=directory / "m", destination=destination, options=options, raise_from=None)
    tf_savedmodel_to_onnx.convert(conversion)
    return source, onnx_runner.load(destination, declared=source.signature)


UNUSUAL = np.array(
    [-np.inf, -1e30, -7.5, -1, -1e-8, -0.0, 0, 1e-30, 1e-8, 0.3, 1, 7.5, 1e30, np.inf, np.nan], "float32"
)


def logarithms(x: Any) -> Outputs:
    import tensorflow as tf

    return {
        "log1p": tf.math.log1p(x),
        "expm1": tf.math.expm1(x),
        "xlogy": tf.math.xlogy(x, 2.0),
        "xlogy_0": tf.math.xlogy(tf.zeros_like(x), x),
        "xlog1py": tf.math.xlog1py(x, 0.5),
        "xdivy": tf.math.xdivy(tf.nn.relu(x), x),
        "kept": tf.math.multiply_no_nan(x, tf.zeros_like(x)),
        "chosen": tf.where(x > 0, tf.math.log(x), 0.0),
        "inverse": tf.where(x > 0, 1 / tf.nn.relu(x), -1.0),
    }


@pytest.mark.parametrize("opset", [9, DEFAULT])
def test_numbers_that_are_not_finite_stay_where_they_are(tmp_path: Path, opset: int) -> None:
    model, made = converted(tmp_path, {"x": ([None], "float32")}, logarithms, opset)
    same(model, made, {"x": UNUSUAL}, rtol=1e-6, atol=0)


def divided(x: Any, y: Any, i: Any, j: Any) -> Outputs:
    import tensorflow as tf

    return {
        "quotient": tf.truncatediv(x, y),
        "rest": tf.truncatemod(x, y),
        "whole_quotient": tf.truncatediv(i, j),
        "whole_rest": tf.truncatemod(i, j),
    }


def ranked(x: Any, i: Any, rows: Any) -> Outputs:
    import tensorflow as tf

    ends = tf.constant([-1.0, 0.0, 1.0])
    return {
        "lower": tf.searchsorted(ends, tf.reshape(x, [-1])),
        "upper": tf.searchsorted(ends, tf.reshape(x, [-1]), side="right", out_type=tf.int64),
        "in_rows": tf.searchsorted(tf.sort(rows), rows[:, 1:]),
        "among": tf.math.in_top_k(i, rows, 2),
        "norm": tf.math.reduce_euclidean_norm(rows, 1, keepdims=True),
        "cross": tf.linalg.cross(rows[:, :3], rows[:, 1:]),
        "along": tf.experimental.numpy.take_along_axis(rows, tf.argsort(rows), 1),
        "inverse": tf.math.invert_permutation(tf.argsort(rows[:, 0])),
    }


def colours(image: Any) -> Outputs:
    import tensorflow as tf

    return {"hsv": tf.image.rgb_to_hsv(image), "rgb": tf.image.hsv_to_rgb(image)}


def resized(image: Any, whole: Any) -> Outputs:
    import tensorflow as tf

    kernels = ("bilinear", "bicubic", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")
    kinds = {f"{kind}_{size[0]}": (kind, size) for kind in kernels for size in ([4, 5], [13, 11])}
    return {
        **{name: tf.image.resize(image, size, kind, antialias=True) for name, (kind, size) in kinds.items()},
        **{f"sharp_{name}": tf.image.resize(image, size, kind) for name, (kind, size) in kinds.items()},
        "open": tf.image.resize(image, tf.shape(image)[1:3] // 2, antialias=True),
        "area": tf.image.resize(image, [4, 3], "area"),
        "larger": tf.image.resize(image, [13, 11], "area"),
        "corners": tf.compat.v1.image.resize_area(image, [4, 11], align_corners=True),
        "of_bytes": tf.image.resize(whole, [4, 5]),
    }


def patches(image: Any) -> Outputs:
    import tensorflow as tf

    def taken(side: int, stride: int, rate: int, padding: str) -> Any:
        return tf.image.extract_patches(image, [1, side, 2, 1], [1, stride, 2, 1], [1, rate, 1, 1], padding)

    return {"tiles": taken(2, 2, 1, "VALID"), "valid": taken(3, 1, 2, "VALID"), "same": taken(3, 2, 2, "SAME")}


def diagonals(x: Any, square: Any) -> Outputs:
    import tensorflow as tf

    return {
        **{f"of_{k}": tf.linalg.diag(x, k=k, padding_value=0.5) for k in (-2, 0, 1)},
        "wide": tf.linalg.diag(x, num_rows=4, num_cols=6),
        "replaced": tf.linalg.set_diag(square, x),
        "above": tf.linalg.set_diag(square, x[:, 1:], k=1),
    }


def segments(x: Any, ids: Any, places: Any) -> Outputs:
    import tensorflow as tf

    ordered, math = [0, 0, 1, 1, 3, 3], tf.math
    unordered = (math.unsorted_segment_sum, math.unsorted_segment_max, math.unsorted_segment_min)
    return {
        **{kind: getattr(math, f"segment_{kind}")(x, ordered) for kind in ("sum", "mean", "max", "min", "prod")},
        **{f"unordered_{place}": function(x, ids, 5) for place, function in enumerate(unordered)},
        "mean_of_all": math.unsorted_segment_mean(x, ids, 5),
        "by_place": math.unsorted_segment_sum(x, places, 5),
    }


@pytest.mark.parametrize("opset", [DEFAULT, 17])
@pytest.mark.parametrize(
    ("function", "given"),
    [
        (
            divided,
            {
                "x": np.array([-7.5, -7, 7, 7.25, 3], "float32"),
                "y": np.array([2, -3, -3, 2, 4], "float32"),
                "i": np.arange(-4, 5, 2),
                "j": np.array([3, -3, 3, -3, 3]),
            },
        ),
        (
            ranked,
            {
                "x": np.array([[-1, -0.5, 0, 2], [1, 1, -3, np.inf]], "float32"),
                "i": np.array([0, 3], "int32"),
                "rows": np.array([[1, 1, 1, 0], [3, -2, 0, 1]], "float32"),
            },
        ),
        (colours, {"image": RNG.uniform(0, 1, (2, 3, 4, 3)).astype("float32")}),
        (
            resized,
            {
                "image": RNG.uniform(0, 1, (2, 9, 8, 3)).astype("float32"),
                "whole": RNG.integers(0, 256, (2, 9, 8, 3)).astype("uint8"),
            },
        ),
        (
            diagonals,
            {
                "x": np.array([[1, 2, np.inf, 4]], "float32"),
                "square": RNG.standard_normal((1, 4, 4)).astype("float32"),
            },
        ),
        (patches, {"image": RNG.uniform(0, 1, (2, 8, 7, 3)).astype("float32")}),
        (
            segments,
            {
                "x": RNG.standard_normal((6, 4)).astype("float32"),
                "ids": np.array([4, -1, 0, 0, 2, 4], "int32"),
                "places": RNG.integers(-1, 5, (6, 4)).astype("int32"),
            },
        ),
    ],
)
def test_operations_made_of_others_are_tensorflows(
    tmp_path: Path, function: Callable[..., Outputs], given: Mapping[str, Any], opset: int
) -> None:
    if function is segments:
        inputs = {name: (list(array.shape), str(array.dtype)) for name, array in given.items()}
    else:
        inputs = {name: ([None, *array.shape[1:]], str(array.dtype)) for name, array in given.items()}
    model, made = converted(tmp_path, inputs, function, opset)
    same(model, made, given)


def test_sizes_may_be_those_of_a_run(tmp_path: Path) -> None:
    import tensorflow as tf

    def call(image: Any) -> Outputs:
        return {
            "small": tf.image.resize(image, [4, 5], "lanczos3", antialias=True),
            "tiles": tf.image.extract_patches(image, [1, 3, 3, 1], [1, 2, 2, 1], [1, 1, 1, 1], "SAME"),
        }

    model, made = converted(tmp_path, {"image": ([None, None, None, 2], "float32")}, call, DEFAULT)
    for size in ((9, 8), (12, 7)):
        same(model, made, {"image": RNG.uniform(0, 1, (2, *size, 2)).astype("float32")})


def test_operations_in_loops_branches_and_compiled_functions_are_found(tmp_path: Path) -> None:
    import tensorflow as tf

    compiled = tf.function(lambda x: tf.math.log1p(tf.nn.relu(x)), jit_compile=True)

    def call(x: Any) -> Outputs:
        _, looped = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, tf.math.log1p(tf.abs(y))), (0, x))
        chosen = tf.cond(tf.reduce_sum(x) > 0, lambda: tf.math.expm1(x), lambda: compiled(-x))
        return {"looped": looped, "chosen": chosen, "compiled": compiled(x)}

    model, made = converted(tmp_path, {"x": ([None, 4], "float32")}, call, DEFAULT)
    for sign in (-1, 1):
        same(model, made, {"x": sign * np.linspace(0.1, 2, 8, dtype="float32").reshape(2, 4)})


def test_what_is_scattered_to_one_place_is_added_up(tmp_path: Path) -> None:
    import tensorflow as tf

    inputs = {"places": ([None, 1], "int32"), "x": ([None, 3], "float32")}
    model, made = converted(tmp_path, inputs, lambda places, x: {"y": tf.scatter_nd(places, x, [4, 3])}, 16)
    given = {"places": np.array([[2], [0], [2]], "int32"), "x": np.arange(9, dtype="float32").reshape(3, 3)}
    same(model, made, given)


def test_grouped_convolutions_of_keras_are_inlined(tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((7, 7, 4), name="image")
    model, made = exported(tmp_path, keras.Model(image, keras.layers.Conv2D(8, 3, groups=2)(image)))
    same(model, made, {"image": RNG.standard_normal((2, 7, 7, 4)).astype("float32")})


def test_strides_beyond_the_kernel_leave_zeros(tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    image = keras.Input((4, 5, 3), name="image")
    layers = [keras.layers.Conv2DTranspose(2, side, 3, padding) for side in (1, 2) for padding in ("same", "valid")]
    model, made = exported(tmp_path, keras.Model(image, [layer(image) for layer in layers]))
    same(model, made, {"image": RNG.standard_normal((2, 4, 5, 3)).astype("float32")})


def test_keras_argmax_tells_zeros_apart(tmp_path: Path) -> None:
    import keras

    scores = keras.Input((3,), name="scores")
    places = [keras.ops.argmax(scores, -1), keras.ops.argmin(scores, 1)]
    model, made = exported(tmp_path, keras.Model(scores, places))
    given = np.array([[-0.0, 0, -1], [0, -0.0, 1], [2, 3, 3], [-0.0, -0.0, 0]], "float32")
    same(model, made, {"scores": given})
    assert model.infer({"scores": given})["output_0"].tolist() == [1, 2, 1, 2]


def test_categories_are_counted_for_each_row_of_any_batch(tmp_path: Path) -> None:
    import keras

    ids = keras.Input((3,), dtype="int64", name="ids")
    encoded = keras.layers.IntegerLookup(vocabulary=[3, 7, 9], output_mode="multi_hot")(ids)
    model, made = exported(tmp_path, keras.Model(ids, encoded))
    for rows in ([[3, 9, 3]], [[7, 7, 1], [2, 9, 3]]):
        same(model, made, {"ids": np.array(rows)})
