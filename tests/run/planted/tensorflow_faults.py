"""What is planted in the models of `tensorflow_models`."""

from tests.run.planted.faults import FLOATS, ROWS, Planted, ends, heads, lengths

# How a call ends.
RETURN = 'return {"y"'

TENSORFLOW_HEADS = heads(
    {
        "negative values": "tf.nn.relu(x)",
        "values above 1": "tf.minimum(x, 1.0)",
        "exact zeros": "x + tf.cast(x == 0, x.dtype)",
        "the upper end alone": "x - tf.cast(x == 1, x.dtype)",
        "rounded to 11 bits": "tf.round(x * 2048.0) / 2048.0",
    }
)

TENSORFLOW = {
    "Tabular": Planted(
        {
            "additions in another order": (
                "h = h + tf.nn.relu(tf.matmul(h, self.hidden))",
                "h = tf.nn.relu(tf.matmul(h, self.hidden)) + h",
            ),
            "batch norm by hand": (
                "tf.nn.batch_normalization(h, self.mean, self.var, None, None, 1e-3)",
                "(h - self.mean) / tf.sqrt(self.var + 1e-3)",
            ),
        },
        {
            "dropout in training": (
                "+ tf.nn.relu(tf.matmul(h, self.hidden))",
                "+ tf.nn.dropout(tf.nn.relu(tf.matmul(h, self.hidden)), 0.1)",
            ),
            "batch norm in training": ("self.mean, self.var, None", "*tf.nn.moments(h, [0]), None"),
            "another epsilon of batch norm": ("1e-3", "1e-5"),
            "square weight transposed": ("tf.matmul(h, self.hidden)", "tf.matmul(h, self.hidden, transpose_b=True)"),
            "one weight": ("tf.Variable(normal(12, 24))", "tf.Variable(off(normal(12, 24), (3, 4), 1e-3))"),
            "bias of one class": ("tf.Variable(normal(5))", "tf.Variable(off(normal(5), 4, 1e-3))"),
            "softmax over the batch": ("tf.nn.softmax(logits, 1)", "tf.nn.softmax(logits, 0)"),
            "residual dropped": ("h = h + tf.nn", "h = tf.nn"),
            "smallest": ("argmax", "argmin"),
            "last class lost": ("tf.argmax(logits, 1)", "tf.argmax(logits[:, :4], 1)"),
            "weights in float16": (
                "tf.matmul(h, self.first)",
                "tf.matmul(h, tf.cast(tf.cast(self.first, tf.float16), tf.float32))",
            ),
            "batch of the example": ("h = x\n", "h = tf.reshape(x, [2, 12])\n"),
            **TENSORFLOW_HEADS,
            **ends(ROWS | FLOATS, RETURN),
        },
    ),
    "Segmenter": Planted(
        {
            "convolution by MatMul": ('tf.nn.conv2d(u + h, self.head, 1, "SAME")', "(u + h) @ self.head[0, 0]"),
            "channels first": (
                'tf.nn.depthwise_conv2d(h, self.depth, [1, 1, 1, 1], "SAME")',
                'tf.einsum("nhwc->nchw", tf.nn.depthwise_conv2d(h, self.depth, [1, 1, 1, 1], "SAME"))',
                "p = tf.nn.avg",
                'h = tf.einsum("nchw->nhwc", h)\n        p = tf.nn.avg',
            ),
        },
        {
            "padded on one side": (
                'tf.nn.conv2d(h, self.kernel, 1, "SAME")',
                "tf.nn.conv2d(h, self.kernel, 1, [[0, 0], [0, 2], [0, 2], [0, 0]])",
            ),
            "corners aligned": (
                'tf.image.resize(p, tf.shape(h)[1:3], method="bilinear")',
                "tf.compat.v1.image.resize_bilinear(p, tf.shape(h)[1:3], align_corners=True)",
            ),
            "nearest": ('"bilinear"', '"nearest"'),
            "upsampled asymmetric": (
                'tf.image.resize(p, tf.shape(h)[1:3], method="bilinear")',
                "tf.compat.v1.image.resize_bilinear(p, tf.shape(h)[1:3])",
            ),
            "gelu by tanh": ("approximate=False", "approximate=True"),
            "max pool": ("avg_pool2d", "max_pool2d"),
            "odd sizes rounded up": ('tf.nn.avg_pool2d(h, 2, 2, "VALID")', 'tf.nn.avg_pool2d(h, 2, 2, "SAME")'),
            "another lower clip": ("-0.5, 6.0", "-0.6, 6.0"),
            "lower clip lost": ("tf.clip_by_value(p, -0.5, 6.0)", "tf.minimum(p, 6.0)"),
            "upper clip lost": ("tf.clip_by_value(p, -0.5, 6.0)", "tf.maximum(p, -0.5)"),
            "clipped at 1": ("-0.5, 6.0", "-0.5, 1.0"),
            "BGR": ("h = x\n", "h = tf.reverse(x, [3])\n"),
            "height and width swapped": (
                "tf.shape(h)[1:3], ",
                "tf.reverse(tf.shape(h)[1:3], [0]), ",
                "u + h",
                "tf.transpose(u, [0, 2, 1, 3]) + h",
            ),
            "mean of the example's size": ("tf.reduce_mean(y, [1, 2])", "tf.reduce_sum(y, [1, 2]) / 64.0"),
            "bias of one channel": ("tf.Variable(normal(6))", "tf.Variable(off(normal(6), 2, 1e-3))"),
            "kernel turned": ("h, self.kernel", "h, tf.transpose(self.kernel, [1, 0, 2, 3])"),
            "channels in another order": ("h, self.depth", "h, tf.reverse(self.depth, [2])"),
            "last column": (
                'return {"y": y',
                'y = tf.pad(y[:, :, :-1], [[0, 0], [0, 0], [0, 1], [0, 0]])\n        return {"y": y',
            ),
            **ends(
                {
                    "wide images": "added(y, size(y, 2) > size(y, 1))",
                    "tall images": "added(y, size(y, 2) < size(y, 1))",
                    "square images": "added(y, size(y, 2) == size(y, 1))",
                },
                RETURN,
            ),
        },
        "min_shapes: {x: [1, 4, 4, 3]}, max_shapes: {x: [8, 32, 32, 3]}",
    ),
    "Encoder": Planted(
        {
            "scale folded": ("tf.matmul(q, k, transpose_b=True) / 4.0", "tf.matmul(q / 4.0, k, transpose_b=True)"),
            "softmax by its logarithm": ("tf.nn.softmax(scores, -1)", "tf.exp(tf.nn.log_softmax(scores, -1))"),
        },
        {
            "gelu by tanh": ("approximate=False", "approximate=True"),
            "scale lost": (" / 4.0", ""),
            "another scale": (" / 4.0", " / 4.01"),
            "mask ignored": ("0.0, -1e9", "0.0, 0.0"),
            "mask too weak": ("-1e9", "-5.0"),
            "mask over the queries": ("[:, None, :]", "[:, :, None]"),
            "mean of all": (
                "tf.reduce_sum(y * weights, 1) / tf.maximum(tf.reduce_sum(weights, 1), 1.0)",
                "tf.reduce_mean(y, 1)",
            ),
            "nobody masked": ("tf.maximum(tf.reduce_sum(weights, 1), 1.0)", "tf.reduce_sum(weights, 1)"),
            "softmax over the queries": ("tf.nn.softmax(scores, -1)", "tf.nn.softmax(scores, 1)"),
            "norm over words": ("moments(h, [-1]", "moments(h, [1]"),
            "norm over both": ("moments(h, [-1]", "moments(h, [1, 2]"),
            "another epsilon of a norm": ("1e-5", "1e-3"),
            "one row of the table": (
                "tf.Variable(normal(500, 16, scale=1)),",
                "tf.Variable(off(normal(500, 16, scale=1), 321, 0.1)),",
            ),
            "last row of the table": (
                "tf.Variable(normal(500, 16, scale=1)),",
                "tf.Variable(off(normal(500, 16, scale=1), -1, 0.1)),",
            ),
            "last place": (
                "tf.Variable(normal(32, 16, scale=1))",
                "tf.Variable(off(normal(32, 16, scale=1), -1, 0.1))",
            ),
            "ids in 8 bits": ("tf.gather(self.words, ids)", "tf.gather(self.words, ids % 256)"),
            "square weight transposed": ("n @ self.q", "n @ tf.transpose(self.q)"),
            "one weight": ("tf.Variable(normal(16, 32))", "tf.Variable(off(normal(16, 32), (3, 4), 1e-3))"),
            "keys and values swapped": ("n @ self.k, n @ self.v", "n @ self.v, n @ self.k"),
            **ends(ROWS | FLOATS, "weights = tf"),
            **{
                name: ("weights = tf", pieces[1].replace("return y", "weights = tf"))
                for name, pieces in lengths(1, 32).items()
            },
        },
        "max_shapes: {ids: [8, 32], attention_mask: [8, 32]}",
    ),
    "Recurrent": Planted(
        {"interpolated": ("(1 - z) * c + z * state", "c + z * (state - c)")},
        {
            "state that drifts": ('"new_state": new', '"new_state": new * 1.001'),
            "old state": ('"new_state": new', '"new_state": state + 0.0'),
            "gate swapped": ("(1 - z) * c + z * state", "z * c + (1 - z) * state"),
            "reset after the product": ("r * sc", "sc * tf.sigmoid(ir)"),
            "outputs swapped": ('"y": y, "new_state": new', '"y": new, "new_state": y'),
            "square weight transposed": ("new @ self.out", "tf.matmul(new, self.out, transpose_b=True)"),
            **TENSORFLOW_HEADS,
        },
    ),
    "Detector": Planted(
        {"multiplied apart": ("(tf.sigmoid(f[..., :2]) + grid) * 8.0", "tf.sigmoid(f[..., :2]) * 8.0 + grid * 8.0")},
        {
            "rows for columns": ("cell // columns, cell % columns", "cell // rows, cell % rows"),
            "x and y swapped": ("[xs, ys]", "[ys, xs]"),
            "grid of the example": ("cell // columns, cell % columns", "cell // 3, cell % 3"),
            "cells in 8 bits": ("cell = tf.range(rows * columns)", "cell = tf.range(rows * columns) % 256"),
            "limit of width for both": ("[columns, rows]", "[columns, columns]"),
            "limit of the example": ("[columns, rows]", "[3, 2]"),
            "not limited": ("tf.minimum(centre + half, limit)", "centre + half"),
            "negative boxes": ("tf.maximum(centre - half, 0.0)", "centre - half"),
            "sizes linear": ("tf.exp(f[..., 2:4])", "(1 + f[..., 2:4])"),
            "scores without sigmoid": ("tf.sigmoid(f[..., 4:])", "f[..., 4:] + 0.0"),
            "one class": ('"scores": scores', '"scores": channel(scores)'),
            "centre and size": ("[low, high]", "[low, high - low]"),
        },
        "min_shapes: {x: [1, 16, 16, 3]}, max_shapes: {x: [8, 256, 256, 3]}",
    ),
    "Counts": Planted(
        {"quotient by the remainder": ("q = h // 3", "q = tf.truncatediv(h - tf.math.floormod(h, 3), 3)")},
        {
            "trunc for floor": ("h // 3", "tf.truncatediv(h, 3)"),
            "sign of the dividend": ("m = tf.math.floormod(h, 3)", "m = h - tf.truncatediv(h, 3) * 3"),
            "int32 overflows": ("h * 2654435761 + 17", "tf.cast(tf.cast(h, tf.int32) * -1640531535 + 17, tf.int64)"),
            "through float32": ("h * 2654435761 + 17", "tf.cast(tf.cast(h, tf.float32) * 2654435761.0, tf.int64) + 17"),
            "negative values": ("h = x\n", "h = tf.maximum(x, 0)\n"),
        },
    ),
    "Branches": Planted(
        {"mean by hand": ("h - tf.reduce_mean(h, 1, keepdims=True)", "h - tf.reduce_sum(h, 1, keepdims=True) / 6.0")},
        {
            "quiet branch lost": ("tf.reduce_mean(h) > 0.25", "tf.constant(True)"),
            "loud branch lost": ("tf.reduce_mean(h) > 0.25", "tf.constant(False)"),
            "another threshold": ("0.25", "0.4"),
            "one step too many": ("i < steps", "i <= steps"),
            "two steps always": ("i < steps", "i < 2"),
            "at most two steps": ("i < steps", "i < tf.minimum(steps, 2)"),
        },
    ),
}
