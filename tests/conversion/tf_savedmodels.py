"""Makes the SavedModels of test_tf_savedmodel.py: `python tf_savedmodels.py DIRECTORY`.

A program of its own: Keras 2 registers itself in TensorFlow when it is imported, which the tests must not profit from.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


def save(path: Path, inputs: Mapping[str, tuple[list[int | None] | None, str]], function: Callable[..., Any]) -> None:
    """Save a function of tensors as the only signature, `serving_default`."""
    import tensorflow as tf

    module = tf.Module()
    specs = [tf.TensorSpec(shape, dtype, name=name) for name, (shape, dtype) in inputs.items()]
    module.run = tf.function(function, input_signature=specs)
    for cell in function.__closure__ or ():
        if isinstance(cell.cell_contents, (tf.Variable, tf.lookup.StaticHashTable)):
            setattr(module, f"kept_{id(cell)}", cell.cell_contents)
    tf.saved_model.save(module, str(path), signatures=module.run)


def keras_3(root: Path) -> None:
    import keras
    import tensorflow as tf

    layers = keras.layers
    keras.utils.set_random_seed(0)
    image = keras.Input((4,), name="image")
    dense = keras.Model(image, layers.Dense(3, bias_initializer="random_normal")(layers.Dense(5, "relu")(image)))
    dense.export(str(root / "exported"))
    tf.saved_model.save(dense, str(root / "saved"))

    ids, extra = keras.Input((None,), dtype="int32", name="ids"), keras.Input((3,), name="extra")
    joined = layers.Concatenate()([layers.GlobalAveragePooling1D()(layers.Embedding(50, 6)(ids)), extra])
    outputs = {"second": layers.Dense(2, name="b")(joined), "first": layers.Dense(4, name="a")(joined)}
    keras.Model({"ids": ids, "extra": extra}, outputs).export(str(root / "several"))

    steps = keras.Input((None, 5), name="steps")
    keras.Model(steps, layers.LSTM(6)(steps)).export(str(root / "lstm"))

    wide = keras.Input((160,), name="wide")
    keras.Model(wide, layers.Dense(160, activation="gelu")(wide)).export(str(root / "gelu"))

    keras.mixed_precision.set_global_policy("mixed_float16")
    half = keras.Input((160,), name="half", dtype="float16")
    keras.Model(half, layers.Dense(8)(layers.Dense(240, "relu")(half))).export(str(root / "float16"))
    keras.Model(wide, layers.Dense(4, dtype="float32")(layers.Dense(160)(wide))).export(str(root / "mixed"))
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    keras.Model(wide, layers.Dense(4, dtype="float32")(layers.Dense(160)(wide))).export(str(root / "bfloat16"))
    keras.mixed_precision.set_global_policy("float32")

    number = keras.Input((1,), dtype="int64", name="number")
    keras.Model(number, layers.Hashing(7)(number)).export(str(root / "keras_hashing"))


def functions(root: Path) -> None:
    import tensorflow as tf

    rng = np.random.default_rng(0)
    weight = tf.Variable(rng.standard_normal((4, 3)).astype(np.float32))
    square = tf.Variable((rng.standard_normal((160, 160)) / 12).astype(np.float32))
    counter = tf.Variable(0.0)
    x = {"x": ([None, 4], "float32")}

    # One tensor returned twice, an input returned as it is, an input that is not used, booleans.
    save(
        root / "odd",
        {"x": ([None, 4], "float32"), "unused": ([None, 2], "int64"), "flag": ([None], "bool")},
        lambda x, unused, flag: {"a": 2 * x, "b": 2 * x, "c": x, "d": tf.logical_not(flag)},
    )

    def loop(x: Any, n: Any) -> dict[str, Any]:
        _, result = tf.while_loop(
            lambda i, _: i < n,
            lambda i, y: (
                i + 1,
                tf.cond(tf.reduce_sum(y) > 0, lambda: tf.matmul(y, square), lambda: tf.nn.relu(y) + 1),
            ),
            (0, x),
        )
        return {"y": tf.ensure_shape(result, [None, 160])}

    save(root / "loop", {"x": ([None, 160], "float32"), "n": ([], "int32")}, loop)

    def count(x: Any) -> dict[str, Any]:
        counter.assign_add(1.0)
        return {"y": 2 * x, "z": x + counter}

    save(root / "counter", x, count)
    save(root / "random", x, lambda x: {"y": x + tf.random.normal(tf.shape(x)), "z": tf.nn.dropout(x, 0.5)})

    drawn = tf.random.stateless_uniform
    save(root / "augmented", x, lambda x: {"y": x + drawn(tf.shape(x), [1, 2])})

    tables = [
        tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(tf.constant(keys), tf.constant(values)), missing)
        for keys, values, missing in (
            (np.array([1, 2, 3]), ["a", "b", "c"], "?"),
            (["a", "b", "c"], np.array([10, 20, 30]), -1),
        )
    ]
    to_text, to_number = tables
    save(root / "tables", {"x": ([None], "int64")}, lambda x: {"y": to_number.lookup(to_text.lookup(x))})

    numbered = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant([10, 20, -7], tf.int64), tf.constant([1, 2, 3], tf.int64)), -1
    )
    weighted = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant([5, 9], tf.int64), tf.constant([0.5, 0.9])), 0.1
    )
    ends = [-1.0, 0.0, 0.1, 2.0]
    save(
        root / "discrete",
        {"x": ([None, 2], "float32"), "wide": ([None], "float64"), "n": ([None, 3], "int64")},
        lambda x, wide, n: {
            "x_bucket": tf.raw_ops.Bucketize(input=x, boundaries=ends),
            "wide_bucket": tf.raw_ops.Bucketize(input=wide, boundaries=ends),
            "n_bucket": tf.raw_ops.Bucketize(input=n, boundaries=ends),
            "found": numbered.lookup(n),
            "weight": weighted.lookup(n),
        },
    )

    save(
        root / "encoded",
        {"n": ([None, 3], "int64"), "m": ([], "int32"), "b": ([None], "uint8")},
        lambda n, m, b: {
            "last": tf.one_hot(n, 4),
            "first": tf.one_hot(n, 4, axis=0),
            "middle": tf.one_hot(n, 4, 7, 3, axis=1, dtype=tf.int32),
            "wide": tf.one_hot(n, 4, dtype=tf.float64),
            "whole": tf.one_hot(n, 4, axis=0, dtype=tf.int64),
            "alone": tf.one_hot(m, 4),
            "alone_whole": tf.one_hot(m, 4, dtype=tf.int32),
            "bytes": tf.one_hot(b, 4, 0.5, -1.0),
            "half": tf.one_hot(n, 4, dtype=tf.float16),
            "truth": tf.one_hot(n, 4, True, False, axis=1, dtype=tf.bool),
        },
    )

    low = tf.Variable(tf.cast(rng.standard_normal((4, 4)), tf.bfloat16))
    save(
        root / "bfloat16_weights",
        {"x": ([None, 4], "float32")},
        lambda x: {"y": tf.cast(tf.cast(x, tf.bfloat16) @ low, tf.float32)},
    )

    rows = tf.Variable(rng.standard_normal((100, 3)).astype(np.float32))
    save(
        root / "looked_up",
        {
            "ids": ([None, 4], "int32"),
            **dict.fromkeys(("column", "digit", "valid"), ([None], "int64")),
            "n": ([], "int32"),
        },
        lambda ids, column, digit, valid, n: {
            "hidden": tf.logical_not(tf.cast(valid, tf.bool)),
            "y": tf.nn.embedding_lookup(rows, ids),
            "z": tf.gather(tf.convert_to_tensor(weight), column, axis=1),
            "one": tf.one_hot(tf.maximum(digit, 0), 10),
            "all": tf.range(n),
        },
    )
    save(
        root / "resized_to",
        {
            "image": ([None, 4, 4, 1], "float32"),
            "size": ([2], "int32"),
            **dict.fromkeys(("rows", "columns"), ([], "int32")),
        },
        lambda image, size, rows, columns: {"y": tf.image.resize(image, size), "z": tf.fill([rows, columns], 1.0)},
    )
    save(root / "missing", x, lambda x: {"y": tf.where(tf.math.is_nan(x), 0.5, x)})
    save(root / "lgamma", x, lambda x: {"y": tf.math.lgamma(x)})
    save(root / "erfc", x, lambda x: {"y": tf.math.erfc(x)})
    save(
        root / "rounding",
        {"i": ([None, 4], "int64"), "j": ([None, 4], "int32"), "x": ([None, 4], "float32")},
        lambda i, j, x: {
            "quotients": tf.concat([i // 3, i // -3, tf.cast(j // 3, tf.int64)], 0),
            "rests": tf.concat([i % 3, i % -3, tf.cast(j % 3, tf.int64)], 0),
            "floats": tf.concat([x // 0.5, x % 0.5], 0),
            "half": x[: tf.shape(x)[0] // 2],
            "sizes": tf.stack([tf.shape(x)[0] * -1 // 3, tf.shape(x)[0] // -3, (tf.shape(x)[0] + -9) // 2]),
        },
    )
    save(
        root / "ranks",
        {"i": ([None, 4], "int32"), "j": ([None, 4], "int64"), "x": ([None, 4], "float64"), "b": ([None, 4], "uint8")},
        lambda i, j, x, b: {
            "largest": tf.math.top_k(i, 2)[0],
            "places": tf.math.top_k(i, 2)[1],
            "sorted": tf.sort(j, 1),
            "doubles": tf.math.top_k(x, 3)[0],
            "bytes": tf.math.top_k(b, 3)[0],
            "total": tf.add_n([i, i, i]),
            "floats": tf.add_n([x, x]),
        },
    )
    save(
        root / "bicubic",
        {"image": ([None, 9, 8, 2], "float32"), "bytes": ([None, 5, 7, 1], "uint8")},
        lambda image, bytes: {  # noqa: A006 - a name of the signature
            "small": tf.image.resize(image, [4, 3], method="bicubic"),
            "large": tf.image.resize(image, [20, 21], method="bicubic"),
            "corners": tf.raw_ops.ResizeBicubic(images=image, size=[17, 5], align_corners=True),
            "corner": tf.raw_ops.ResizeBicubic(images=image, size=[4, 12]),
            "from_bytes": tf.image.resize(bytes, [3, 10], method="bicubic"),
        },
    )
    save(
        root / "bicubic_open",
        {"image": ([None, None, None, 2], "float32")},
        lambda image: {
            "twice": tf.image.resize(image, tf.shape(image)[1:3] * 2, method="bicubic"),
            "fixed": tf.image.resize(image, [4, 20], method="bicubic"),
            "corners": tf.raw_ops.ResizeBicubic(images=image, size=tf.shape(image)[1:3] - 2, align_corners=True),
            "corner": tf.raw_ops.ResizeBicubic(images=image, size=[4, 12]),
        },
    )
    save(root / "einsum", x, lambda x: {"y": tf.einsum("bi,bj,bk->bijk", x, x, x)})
    save(root / "text_inside", x, lambda x: {"y": tf.strings.length(tf.strings.as_string(x))})
    save(root / "text", {"x": ([None], "string")}, lambda x: {"y": tf.strings.length(x)})
    save(root / "ragged", x, lambda x: {"y": tf.RaggedTensor.from_tensor(x)})
    save(root / "any_rank", {"x": (None, "float32")}, lambda x: {"y": x + 1})
    save(
        root / "any_rank_out", {"x": ([None], "float32"), "s": ([None], "int32")}, lambda x, s: {"y": tf.reshape(x, s)}
    )
    save(root / "same_name", x, lambda x: {"x": x + 1})

    module = tf.Module()
    module.weight = weight
    spec = [tf.TensorSpec([None, 4], tf.float32, name="x")]
    module.logits = tf.function(lambda x: {"logits": x @ weight}, input_signature=spec)
    module.probability = tf.function(lambda x: {"probability": tf.nn.softmax(x @ weight)}, input_signature=spec)
    signatures = {"logits": module.logits, "probability": module.probability}
    tf.saved_model.save(module, str(root / "two_signatures"), signatures=signatures)
    tf.saved_model.save(tf.Module(), str(root / "no_signature"))


def tensorflow_1(root: Path) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    for name, tags in (("tf1", ["serve"]), ("tf1_gpu", ["serve", "gpu"])):
        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, [None, 4], name="x")
            weight = v1.get_variable("w", [4, 3], initializer=v1.random_normal_initializer(seed=1), use_resource=False)
            y = tf.matmul(x, weight)
            session.run(v1.global_variables_initializer())
            builder = v1.saved_model.Builder(str(root / name))
            definition = v1.saved_model.predict_signature_def({"image": x}, {"y": y, "again": y, "image_out": x})
            builder.add_meta_graph_and_variables(session, tags, signature_def_map={"serving_default": definition})
            builder.save()


def keras_2(root: Path) -> None:
    import tf_keras as keras

    model = keras.Sequential([keras.layers.Dense(3, activation="gelu", input_shape=(4,))])
    model.compile(keras.optimizers.legacy.Adam(), "mse")
    model.fit(np.zeros((4, 4)), np.zeros((4, 3)), verbose=0)
    model.save(str(root / "keras_2"), save_format="tf")


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    keras_3(directory)
    functions(directory)
    tensorflow_1(directory)
    keras_2(directory)
