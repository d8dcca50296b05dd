"""Errors planted in what a converter writes, and rewrites that mean the same: whole runs, without the user's help.

Each planted error is found with the samples that the tool makes by itself; each honest rewrite passes with tolerances
from the source model's own rounding.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from onnx import numpy_helper, parser, save  # noqa: TID253 - makes the models

from tests.run.conftest import Sabotage

SABOTAGE = """
import pathlib
import onnx, onnx.version_converter

def sabotaged(model, opset):
    return onnx.load(pathlib.Path(__file__).with_name(f"{model.graph.name}.{opset}.onnx"))

onnx.version_converter.convert_version = sabotaged
"""

RNG = np.random.default_rng(0)

# The source models; the converter is given opsets above.
SOURCE_OPSET = 13
OPSETS = range(14, 22)


def normal(*shape: int, scale: float = 1.0) -> Any:
    return (RNG.normal(size=shape) * scale).astype(np.float32)


def changed(array: Any, where: Any, by: float) -> Any:
    array = array.copy()
    array[where] += by
    return array


# Changes of the first statement, `h = Identity(x)`: some values of the input go wrong.
HEADS = {
    "negative values": "h = Relu(x)",
    "values above 1": "h = Min(x, fone)",
    "exact zeros": "zeros = Equal(x, fzero) h = Where(zeros, fone, x)",
    "rounded to float16": "half = Cast<to = 10>(x) h = Cast<to = 1>(half)",
    "upper end": "below = Less(x, end) h = Where(below, x, fzero)",
    "lower end": "minus = Neg(end) above = Greater(x, minus) h = Where(above, x, fzero)",
}
RANGED = ("upper end", "lower end")

# Changes of the last statement, `y = Identity(y0)`: some rows, batches or channels go wrong.
ROWS = "size = Shape(FIRST) rows = Gather(size, first)"
BATCH = "hits = Cast<to = DTYPE>(hit) bump = Mul(hits, small) y = Add(y0, bump)"
INDEX = f"{ROWS} count = Squeeze(rows) rank = Range(izero, count, ione) final = Sub(rows, unit)"
COLUMN = "column = Unsqueeze(hit, axes)"
ROW = f"{COLUMN} hits = Cast<to = DTYPE>(column) bump = Mul(hits, small) y = Add(y0, bump)"
TAILS = {
    "batch 1": f"{ROWS} hit = Equal(rows, unit) {BATCH}",
    "max batch": f"{ROWS} hit = Equal(rows, eight) {BATCH}",
    "batches between": (
        f"{ROWS} above = Greater(rows, unit) below = Less(rows, eight) hit = And(above, below) {BATCH}"
    ),
    "second row": f"{INDEX} hit = Equal(rank, unit) {ROW}",
    "last row": f"{INDEX} hit = Equal(rank, final) {ROW}",
    "first row": f"{INDEX} hit = Equal(rank, first) {ROW}",
    "NaN at (0, 0)": f"{INDEX} hit = Equal(rank, first) {COLUMN} here = And(column, corner) y = Where(here, nan, y0)",
    "one channel": "y = Mul(y0, channel)",
}

# The same for models with an axis whose size varies besides the batch, or two.
LENGTH = f"{ROWS} extent = Gather(size, LAST)"
LENGTHS = {
    "shortest": f"{LENGTH} hit = Equal(extent, shortest) {BATCH}",
    "longest": f"{LENGTH} hit = Equal(extent, longest) {BATCH}",
    "max batch of the longest": (
        f"{LENGTH} long = Equal(extent, longest) many = Equal(rows, eight) hit = And(long, many) {BATCH}"
    ),
    "max batch of the shortest": (
        f"{LENGTH} short = Equal(extent, shortest) many = Equal(rows, eight) hit = And(short, many) {BATCH}"
    ),
    "one row of the longest": (
        f"{LENGTH} long = Equal(extent, longest) few = Equal(rows, unit) hit = And(long, few) {BATCH}"
    ),
    "neither shortest nor longest": (
        f"{LENGTH} more = Greater(extent, shortest) less = Less(extent, longest) hit = And(more, less) {BATCH}"
    ),
}
SIDES = {
    "wide images": f"{LENGTH} tall = Gather(size, two) hit = Greater(extent, tall) {BATCH}",
    "tall images": f"{LENGTH} tall = Gather(size, two) hit = Less(extent, tall) {BATCH}",
    "square images": f"{LENGTH} tall = Gather(size, two) hit = Equal(extent, tall) {BATCH}",
}

CONSTANTS = {
    "fzero": np.float32(0),
    "fone": np.float32(1),
    "ften": np.float32(10),
    "six": np.float32(6),
    "izero": np.int64(0),
    "ione": np.int64(1),
    "first": np.array([0]),
    "unit": np.array([1]),
    "two": np.array([2]),
    "three": np.array([3]),
    "eight": np.array([8]),
    "nan": np.float32(np.nan),
    "end": np.float32(2),
}


class Model(NamedTuple):
    """A model, its honest rewrites, and what is planted in it: pieces of its body, and what they become."""

    signature: str
    body: str
    constants: dict[str, Any]
    honest: dict[str, tuple[str, ...]]
    planted: dict[str, tuple[str, ...]]
    output: tuple[int, ...]  # the shape of y, with 1 where the size varies
    channel_axis: int
    options: str = "max_batch_size: 8"
    heads: tuple[str, ...] = ()
    whole_numbers: bool = False
    small: float = 0.02  # what's added to y
    lengths: tuple[int, int, int] | None = None  # the axis of the first input whose size varies, and its ends


def mlp() -> Model:
    w, v, c = normal(16, 16), normal(16, 10), normal(10)
    constants = {"w": w, "wt": w.T.copy(), "bias": normal(16), "v": v, "v_top": v[:8], "v_bottom": v[8:], "c": c}
    constants |= {"v_off": changed(v, (3, 4), 1e-3), "v_half": v.astype(np.float16).astype(np.float32)}
    constants |= {"c_off": changed(c, 9, 1e-2), "eights": np.array([8, 8])}
    return Model(
        "(float[n, 16] x) => (float[n, 10] y)",
        "h = Identity(x) p = MatMul(h, w) b = Add(p, bias) r = Relu(b) s = Add(r, h) q = MatMul(s, v) y0 = Add(q, c)",
        constants,
        {
            "split MatMul": (
                "q = MatMul(s, v)",
                "l, t = Split<axis = 1>(s, eights) a = MatMul(l, v_top) d = MatMul(t, v_bottom) q = Add(a, d)",
            ),
            "transposed Gemm": ("p = MatMul(h, w) b = Add(p, bias)", "b = Gemm<transB = 1>(h, wt, bias)"),
            "reordered additions": (
                "s = Add(r, h) q = MatMul(s, v) y0 = Add(q, c)",
                "a = MatMul(r, v) d = MatMul(h, v) q = Add(d, c) y0 = Add(q, a)",
            ),
        },
        {
            "square weight transposed": ("MatMul(h, w)", "MatMul(h, wt)"),
            "residual dropped": ("Add(r, h)", "Identity(r)"),
            "bias of one class": ("Add(q, c)", "Add(q, c_off)"),
            "one weight": ("MatMul(s, v)", "MatMul(s, v_off)"),
            "weights in float16": ("MatMul(s, v)", "MatMul(s, v_half)"),
            "clipped at 6": ("r = Relu(b)", "o = Relu(b) r = Min(o, six)"),
            "leaky": ("Relu(b)", "LeakyRelu<alpha = 0.001>(b)"),
        },
        (1, 10),
        1,
        "max_batch_size: 8, value_ranges: {x: [-2, 2]}",
        tuple(HEADS),
    )


def image() -> Model:
    k, kb, k2 = normal(5, 3, 3, 3), normal(5), normal(4, 5, 1, 1)
    scale, shift, mean, var = normal(5), normal(5), normal(5), np.array([1, 2, 0.5, 0.01, 1], np.float32)
    factor = scale / np.sqrt(var + np.float32(1e-3))
    constants = {"k": k, "kb": kb, "k2": k2, "kb2": normal(4), "scale": scale, "shift": shift, "mean": mean, "var": var}
    constants |= {"k_bn": k * factor[:, None, None, None], "kb_bn": (kb - mean) * factor + shift}
    constants |= {"scales": np.array([1, 1, 2, 2], np.float32), "bgr": np.array([2, 1, 0])}
    constants |= {
        "turn": np.array([0, 1, 3, 2]),
        "tenth": np.float32(0.1),
        "kb2_off": changed(constants["kb2"], 2, 1e-2),
    }
    order = np.array([4, 2, 0, 1, 3])
    constants |= {"k_perm": k[order], "kb_perm": kb[order], "k2_perm": k2[:, order]}
    constants |= {f"{name}_perm": constants[name][order] for name in ("scale", "shift", "mean", "var")}
    conv = "a = Conv<pads = [1, 1, 1, 1]>(h, k, kb)"
    norm = "bn = BatchNormalization<epsilon = 0.001>(a, scale, shift, mean, var)"
    resize = 'Resize<mode = "linear", coordinate_transformation_mode = "half_pixel">'
    last = "y0 = Conv(f, k2, kb2)"
    body = (
        f"h = Identity(x) {conv} {norm} r = Relu(bn) m = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(r) "
        f"u = {resize}(m, , scales) shape = Shape(x) i = Gather(shape, three) "
        f"width = Cast<to = 1>(i) d = Div(u, width) f = Mul(d, ften) {last}"
    )
    return Model(
        "(float[n, 3, height, width] x) => (float[n, 4, rows, columns] y)",
        body,
        constants,
        {
            "folded batch norm": (f"{conv} {norm}", "bn = Conv<pads = [1, 1, 1, 1]>(h, k_bn, kb_bn)"),
            "divided later": (
                f"d = Div(u, width) f = Mul(d, ften) {last}",
                "d = Div(ften, width) f = Mul(u, d) y0 = Conv(f, k2, kb2)",
            ),
            "channels in another order": (body, re.sub(r"\b(k|kb|k2|scale|shift|mean|var)(?=[,)])", r"\1_perm", body)),
        },
        {
            "height for width": ("Gather(shape, three)", "Gather(shape, two)"),
            "height and width swapped": (
                last,
                "y1 = Conv(f, k2, kb2) s = Shape(y1) o = Gather(s, turn) y0 = Reshape(y1, o)",
            ),
            "padded on one side": ("pads = [1, 1, 1, 1]", "pads = [0, 0, 2, 2]"),
            "upsampled asymmetric": ('"half_pixel"', '"asymmetric"'),
            "corners aligned": ('"half_pixel"', '"align_corners"'),
            "nearest": ('mode = "linear"', 'mode = "nearest"'),
            "another epsilon": ("epsilon = 0.001", "epsilon = 0.00001"),
            "batch norm in training": (
                "bn = BatchNormalization<epsilon = 0.001>",
                "bn, rm, rv = BatchNormalization<epsilon = 0.001, training_mode = 1>",
            ),
            "BGR": ("h = Identity(x)", "h = Gather<axis = 1>(x, bgr)"),
            "max pool": ("AveragePool", "MaxPool"),
            "odd sizes rounded up": ("strides = [2, 2]", "strides = [2, 2], ceil_mode = 1"),
            "bias of one channel": ("kb2)", "kb2_off)"),
        },
        (1, 4, 1, 1),
        1,
        "min_shapes: {x: [1, 3, 8, 8]}, max_shapes: {x: [8, 3, 24, 24]}",
        ("negative values", "exact zeros", "rounded to float16"),
        lengths=(3, 8, 24),
    )


def words() -> Model:
    table, positions, v = normal(300, 8), normal(64, 8), normal(8, 8)
    constants = {"table": table, "positions": positions, "v": v, "vt": v.T.copy()}
    constants |= {"table_v": table @ v, "positions_v": positions @ v, "table_last": changed(table, -1, 1.0)}
    constants |= {"table_first": changed(table, 0, -table[0]), "positions_last": changed(positions, -1, 0.5)}
    mean = "k = Mul(p, c) s = ReduceSum<keepdims = 0>(k, unit)"
    return Model(
        "(int64[n, seq] ids, int64[n, seq] mask) => (float[n, 8] y)",
        "e = Gather(table, ids) shape = Shape(ids) length = Gather(shape, unit) "
        "where = Slice(positions, first, length, first) p = Add(e, where) m = Cast<to = 1>(mask) c = Unsqueeze(m, two) "
        f"{mean} t = ReduceSum(m, unit) d = Max(t, fone) z = Div(s, d) y0 = MatMul(z, v)",
        constants,
        {
            "folded constants": (
                *("Gather(table,", "Gather(table_v,", "Slice(positions,", "Slice(positions_v,"),
                *("y0 = MatMul(z, v)", "y0 = Identity(z)"),
            ),
            "reciprocal": ("z = Div(s, d)", "o = Reciprocal(d) z = Mul(s, o)"),
            "mean by MatMul": (mean, "g = Unsqueeze(m, unit) j = MatMul(g, p) s = Squeeze(j, unit)"),
            "product first": (
                "z = Div(s, d) y0 = MatMul(z, v)",
                "z = MatMul(s, v) y0 = Div(z, d)",
            ),
        },
        {
            "mask ignored": ("k = Mul(p, c)", "k = Identity(p)"),
            "mean of all": ("t = ReduceSum(m, unit)", "o = Cast<to = 1>(length) t = Unsqueeze(o, first)"),
            "nobody masked": ("d = Max(t, fone)", "d = Identity(t)"),
            "last row of the table": ("Gather(table, ids)", "Gather(table_last, ids)"),
            "first row of the table": ("Gather(table, ids)", "Gather(table_first, ids)"),
            "indices in 8 bits": (
                "e = Gather(table, ids)",
                "g = Cast<to = 2>(ids) j = Cast<to = 7>(g) e = Gather(table, j)",
            ),
            "last position": ("Slice(positions", "Slice(positions_last"),
            "square weight transposed": ("MatMul(z, v)", "MatMul(z, vt)"),
        },
        (1, 8),
        1,
        "max_shapes: {ids: [8, 64], mask: [8, 64]}",
        lengths=(1, 1, 64),
    )


def state() -> Model:
    constants = {
        "a": normal(8, 8, scale=0.5),
        "b": normal(8, 8, scale=0.5),
        "c": normal(8, 8),
        "drift": np.float32(1.001),
        "slow_drift": np.float32(1.000005),
    }
    constants |= {"bt": constants["b"].T.copy(), "ab": np.concatenate([constants["a"], constants["b"]])}
    constants |= {"hundredth": np.float32(0.01), "late": np.array(255)}
    update = "u = Sub(fone, g) o = Mul(g, state) w = Mul(u, t) fresh = Add(o, w)"
    return Model(
        "(float[n, 8] x, float[n, 8] state, int64[n, 1] step) => (float[n, 8] y, float[n, 8] new_state)",
        f"h = Identity(x) i = MatMul(h, a) j = MatMul(state, b) s = Add(i, j) t = Tanh(s) g = Sigmoid(i) {update} "
        "new_state = Identity(fresh) q = MatMul(fresh, c) f = Cast<to = 1>(step) l = Mul(f, hundredth) y0 = Add(q, l)",
        constants,
        {
            "merged MatMul": (
                "j = MatMul(state, b) s = Add(i, j)",
                "both = Concat<axis = 1>(h, state) s = MatMul(both, ab)",
            ),
            "interpolated": (update, "u = Sub(state, t) o = Mul(g, u) fresh = Add(t, o)"),
        },
        {
            "state that drifts below the tolerance": (
                "new_state = Identity(fresh)",
                "new_state = Mul(fresh, slow_drift)",
            ),
            "state that drifts": ("new_state = Identity(fresh)", "new_state = Mul(fresh, drift)"),
            "old state": ("new_state = Identity(fresh)", "new_state = Identity(state)"),
            "state ignored": ("s = Add(i, j)", "s = Identity(i)"),
            "gate swapped": ("o = Mul(g, state) w = Mul(u, t)", "o = Mul(u, state) w = Mul(g, t)"),
            "square weight transposed": ("MatMul(state, b)", "MatMul(state, bt)"),
            "late counters": ("f = Cast<to = 1>(step)", "k = Min(step, late) f = Cast<to = 1>(k)"),
            "hard sigmoid": ("Sigmoid(i)", "HardSigmoid(i)"),
        },
        (1, 8),
        1,
        heads=("negative values", "values above 1", "exact zeros", "rounded to float16"),
    )


def classifier() -> Model:
    w, c = normal(16, 5, scale=10), normal(5)
    constants = {"w": w, "wt": w.T.copy(), "c": c, "c_off": changed(c, 4, 0.01), "hot": np.float32(1.001)}
    constants |= {"four": np.array([4]), "five": np.array([5])}
    softmax, label = "y0 = Softmax<axis = 1>(l)", "label = ArgMax<axis = 1, keepdims = 0>(l)"
    return Model(
        "(float[n, 16] x) => (float[n, 5] y, int64[n] label)",
        f"h = Identity(x) p = MatMul(h, w) l = Add(p, c) {softmax} {label}",
        constants,
        {
            "softmax by hand": (
                softmax,
                "top, k = TopK<axis = 1>(l, unit) o = Sub(l, top) e = Exp(o) s = ReduceSum(e, unit) y0 = Div(e, s)",
            ),
            "transposed Gemm": ("p = MatMul(h, w) l = Add(p, c)", "l = Gemm<transB = 1>(h, wt, c)"),
        },
        {
            "softmax over the batch": (softmax, "y0 = Softmax<axis = 0>(l)"),
            "softmax over the batch where it has five rows": (
                softmax,
                f"{ROWS} o = Softmax<axis = 1>(l) i = Softmax<axis = 0>(l) e = Equal(rows, five) y0 = Where(e, i, o)",
            ),
            "softmax overflows": (softmax, "e = Exp(l) s = ReduceSum(e, unit) y0 = Div(e, s)"),
            "probabilities in float16": (softmax, "o = Softmax<axis = 1>(l) e = Cast<to = 10>(o) y0 = Cast<to = 1>(e)"),
            "another temperature": (softmax, "o = Mul(l, hot) y0 = Softmax<axis = 1>(o)"),
            "sigmoid": (softmax, "y0 = Sigmoid(l)"),
            "bias of one class": ("Add(p, c)", "Add(p, c_off)"),
            "last class lost": (label, "k = Slice(l, first, four, unit) label = ArgMax<axis = 1, keepdims = 0>(k)"),
            "smallest": ("ArgMax", "ArgMin"),
        },
        (1, 5),
        1,
        "max_batch_size: 8, value_ranges: {x: [-2, 2]}",
        ("negative values", "values above 1", "exact zeros", "upper end", "lower end"),
    )


def integers() -> Model:
    floor = "m = Mod(x, seven) t = Sub(x, m) q = Div(t, seven)"
    return Model(
        "(int64[n, 8] x, int64[n, 8] other) => (int64[n, 8] y)",
        f"{floor} p = Mul(q, x) y0 = Add(p, other)",
        {"seven": np.array(7), "minus": np.array(-1)},
        {
            "quotient by comparing": (
                floor,
                "k = Div(x, seven) b = Mul(k, seven) l = Less(x, b) i = Cast<to = 7>(l) q = Sub(k, i)",
            ),
            "other order": ("p = Mul(q, x) y0 = Add(p, other)", "p = Mul(x, q) y0 = Add(other, p)"),
        },
        {
            "trunc for floor": (floor, "q = Div(x, seven)"),
            "sign of the dividend": ("m = Mod(x, seven)", "m = Mod<fmod = 1>(x, seven)"),
            "int32 overflows": (
                "p = Mul(q, x)",
                "a = Cast<to = 6>(q) b = Cast<to = 6>(x) c = Mul(a, b) p = Cast<to = 7>(c)",
            ),
            "through float32": ("p = Mul(q, x)", "a = Mul(q, x) b = Cast<to = 1>(a) p = Cast<to = 7>(b)"),
            "8 bits": ("y0 = Add(p, other)", "a = Cast<to = 3>(other) b = Cast<to = 7>(a) y0 = Add(p, b)"),
            "negative values": ("y0 = Add(p, other)", "o = Abs(other) y0 = Add(p, o)"),
        },
        (1, 8),
        1,
        "max_batch_size: 8, value_ranges: {x: [-1000000, 1000000], other: [-1000, 1000]}",
        whole_numbers=True,
        small=1,
    )


def detector() -> Model:
    constants = {
        "k": normal(7, 3, 8, 8, scale=0.1),
        "kb": normal(7),
        "stride": np.float32(8),
        "flat": np.array([0, 7, -1]),
    }
    constants |= {
        "parts": np.array([2, 2, 3]),
        "half_cell": np.float32(0.5),
        "last_class": np.array([0, 0, 0.01], np.float32),
    }
    grid = "ys = Div(index, w) xs = Mod(index, w)"
    index = "index = Range(izero, cells, ione)"
    return Model(
        "(float[n, 3, height, width] x) => (float[n, cells, 4] y, float[n, cells, 3] scores)",
        "h = Identity(x) f = Conv<strides = [8, 8]>(h, k, kb) shape = Shape(f) hs = Gather(shape, two) "
        f"ws = Gather(shape, three) w = Squeeze(ws) v = Squeeze(hs) cells = Mul(w, v) {index} {grid} "
        "yc = Unsqueeze(ys, unit) xc = Unsqueeze(xs, unit) g = Concat<axis = 1>(xc, yc) gf = Cast<to = 1>(g) "
        "r = Reshape(f, flat) t = Transpose<perm = [0, 2, 1]>(r) a, b, c = Split<axis = 2>(t, parts) "
        "s = Sigmoid(a) d = Add(s, gf) xy = Mul(d, stride) e = Exp(b) wh = Mul(e, stride) "
        "y0 = Concat<axis = 2>(xy, wh) scores = Sigmoid(c)",
        constants,
        {
            "multiplied apart": (
                "d = Add(s, gf) xy = Mul(d, stride)",
                "d = Mul(s, stride) o = Mul(gf, stride) xy = Add(d, o)",
            ),
            "multiplied together": (
                "xy = Mul(d, stride) e = Exp(b) wh = Mul(e, stride) y0 = Concat<axis = 2>(xy, wh)",
                "e = Exp(b) o = Concat<axis = 2>(d, e) y0 = Mul(o, stride)",
            ),
        },
        {
            "height for width": (grid, "ys = Div(index, v) xs = Mod(index, v)"),
            "x and y swapped": ("Concat<axis = 1>(xc, yc)", "Concat<axis = 1>(yc, xc)"),
            "cells after 255": (
                index,
                "long = Range(izero, cells, ione) u = Cast<to = 2>(long) index = Cast<to = 7>(u)",
            ),
            "centre of cells": ("d = Add(s, gf)", "i = Add(s, half_cell) d = Add(i, gf)"),
            "sizes linear": ("e = Exp(b)", "e = Relu(b)"),
            "score of one class": ("scores = Sigmoid(c)", "o = Add(c, last_class) scores = Sigmoid(o)"),
            "scores without sigmoid": ("scores = Sigmoid(c)", "scores = Identity(c)"),
            "scores in float16": (
                "scores = Sigmoid(c)",
                "o = Sigmoid(c) i = Cast<to = 10>(o) scores = Cast<to = 1>(i)",
            ),
        },
        (1, 1, 4),
        2,
        "min_shapes: {x: [1, 3, 8, 16]}, max_shapes: {x: [8, 3, 136, 136]}",
        ("negative values", "exact zeros"),
        lengths=(3, 16, 136),
    )


def attention() -> Model:
    constants = {name: normal(16, 16, scale=0.5) for name in ("wq", "wk", "wv")}
    constants |= {"wq_scaled": constants["wq"] / 4, "wq_t": constants["wq"].T.copy(), "quarter": np.float32(0.25)}
    constants |= {
        "merged": np.concatenate([constants[name] for name in ("wq", "wk", "wv")], 1),
        "sixteen": np.float32(16),
    }
    constants |= {"parts": np.array([16, 16, 16]), "eps": np.float32(1e-5), "eps_off": np.float32(1e-3)}
    constants |= {"never": np.float32(-1e9), "ten_less": np.float32(-10)}
    products = "q = MatMul(l, wq) k = MatMul(l, wk) v = MatMul(l, wv)"
    softmax = "p = Softmax<axis = 2>(b)"
    return Model(
        "(float[n, seq, 16] x, bool[n, seq] mask) => (float[n, seq, 16] y)",
        "h = Identity(x) sum = ReduceSum(h, two) mean = Div(sum, sixteen) c = Sub(h, mean) cc = Mul(c, c) "
        "ss = ReduceSum(cc, two) var = Div(ss, sixteen) ve = Add(var, eps) sd = Sqrt(ve) l = Div(c, sd) "
        f"{products} kt = Transpose<perm = [0, 2, 1]>(k) a = MatMul(q, kt) s = Mul(a, quarter) "
        f"u = Unsqueeze(mask, unit) m = Where(u, fzero, never) b = Add(s, m) {softmax} o = MatMul(p, v) y0 = Add(o, h)",
        constants,
        {
            "scale folded": (
                f"{products} kt = Transpose<perm = [0, 2, 1]>(k) a = MatMul(q, kt) s = Mul(a, quarter)",
                f"{products.replace('wq', 'wq_scaled')} kt = Transpose<perm = [0, 2, 1]>(k) s = MatMul(q, kt)",
            ),
            "merged MatMul": (products, "i = MatMul(l, merged) q, k, v = Split<axis = 2>(i, parts)"),
            "softmax by hand": (softmax, "e = LogSoftmax<axis = 2>(b) p = Exp(e)"),
        },
        {
            "epsilon dropped": ("ve = Add(var, eps)", "ve = Identity(var)"),
            "another epsilon": ("Add(var, eps)", "Add(var, eps_off)"),
            "softmax over the queries": (softmax, "p = Softmax<axis = 1>(b)"),
            "softmax over all": (
                softmax,
                "i = Shape(b) j = Flatten<axis = 1>(b) e = Softmax<axis = 1>(j) p = Reshape(e, i)",
            ),
            "mask dropped": ("b = Add(s, m)", "b = Identity(s)"),
            "mask too weak": ("Where(u, fzero, never)", "Where(u, fzero, ten_less)"),
            "mask over the queries": ("u = Unsqueeze(mask, unit)", "u = Unsqueeze(mask, two)"),
            "residual dropped": ("y0 = Add(o, h)", "y0 = Identity(o)"),
            "residual after the norm": ("y0 = Add(o, h)", "y0 = Add(o, l)"),
            "square weight transposed": ("MatMul(l, wq)", "MatMul(l, wq_t)"),
            "attention in float16": (softmax, "e = Softmax<axis = 2>(b) i = Cast<to = 10>(e) p = Cast<to = 1>(i)"),
        },
        (1, 1, 16),
        2,
        "max_shapes: {x: [8, 12, 16], mask: [8, 12]}",
        ("negative values", "values above 1", "exact zeros", "rounded to float16"),
        lengths=(1, 1, 12),
    )


def counters() -> Model:
    index = "f = Cast<to = 1>(i)"
    return Model(
        "(float[n, seq] x) => (float[n, seq] y)",
        f"h = Identity(x) shape = Shape(x) l = Gather(shape, unit) k = Squeeze(l) i = Range(izero, k, ione) {index} "
        "a = Mul(f, step) w = Sin(a) y0 = Add(h, w)",
        {"step": np.float32(0.01), "hundred": np.float32(100), "late": np.array(2999)},
        {
            "other order": ("y0 = Add(h, w)", "y0 = Add(w, h)"),
            "counted in floats": (
                f"i = Range(izero, k, ione) {index}",
                "i = Cast<to = 1>(k) f = Range(fzero, i, fone)",
            ),
        },
        {
            "late counters in 8 bits": (index, "g = Cast<to = 2>(i) f = Cast<to = 1>(g)"),
            "late counters in float16": (index, "g = Cast<to = 10>(i) f = Cast<to = 1>(g)"),
            "last counter": (index, "g = Min(i, late) f = Cast<to = 1>(g)"),
            "counted from 1": (index, "g = Cast<to = 1>(i) f = Add(g, fone)"),
        },
        (1, 1),
        1,
        "max_shapes: {x: [8, 3001]}",
        ("negative values", "exact zeros", "rounded to float16"),
        lengths=(1, 1, 3001),
    )


def deep() -> Model:
    """Return twelve residual blocks, whose outputs grow to thousands and whose rounding adds up."""
    blocks, split, gemm, later, rough = [], [], [], [], []
    constants: dict[str, Any] = {"halves": np.array([8, 8])}
    for k in range(12):
        w, v = normal(16, 16, scale=0.3), normal(16, 16, scale=0.5)
        constants |= {f"w{k}": w, f"wt{k}": w.T.copy(), f"v{k}": v, f"vt{k}": v.T.copy()}
        constants |= {f"top{k}": w[:8], f"bottom{k}": w[8:], f"b{k}": normal(16)}
        first, act = f"a{k} = MatMul(x{k}, w{k}) c{k} = Add(a{k}, b{k})", f"t{k} = Relu(c{k})"
        second = f"d{k} = MatMul(t{k}, v{k}) x{k + 1} = Add(x{k}, d{k})"
        blocks.append(f"{first} {act} {second}")
        parts = f"l{k}, r{k} = Split<axis = 1>(x{k}, halves) e{k} = MatMul(l{k}, top{k}) f{k} = MatMul(r{k}, bottom{k})"
        split.append(f"{parts} a{k} = Add(e{k}, f{k}) c{k} = Add(a{k}, b{k}) {act} {second}")
        gemm.append(f"c{k} = Gemm<transB = 1>(x{k}, wt{k}, b{k}) {act} x{k + 1} = Gemm<transB = 1>(t{k}, vt{k}, x{k})")
        later.append(f"{parts} g{k} = Add(f{k}, b{k}) c{k} = Add(e{k}, g{k}) {act} {second}")
        rough.append(f"{parts} a{k} = Add(f{k}, e{k}) c{k} = Add(b{k}, a{k}) {act} x{k + 1} = Gemm(t{k}, v{k}, x{k})")
    constants |= {"w5_off": changed(constants["w5"], (3, 4), 1e-2), "off": changed(np.zeros(16, np.float32), 2, 1.0)}
    whole = " ".join(blocks)
    return Model(
        "(float[n, 16] x) => (float[n, 16] y)",
        f"h = Identity(x) x0 = Identity(h) {whole} y0 = Identity(x12)",
        constants,
        {
            name: (whole, " ".join(each))
            for name, each in {"split MatMul": split, "Gemm": gemm, "bias first": later, "other order": rough}.items()
        },
        {
            "one weight": ("MatMul(x5, w5)", "MatMul(x5, w5_off)"),
            "bias of one channel": ("y0 = Identity(x12)", "y0 = Add(x12, off)"),
            "square weight transposed": ("MatMul(x7, w7)", "MatMul(x7, wt7)"),
            "residual dropped": ("x9 = Add(x8, d8)", "x9 = Identity(d8)"),
            "clipped at 6": ("t3 = Relu(c3)", "z3 = Relu(c3) t3 = Min(z3, six)"),
        },
        (1, 16),
        1,
        heads=("negative values", "values above 1", "exact zeros", "rounded to float16"),
        small=2,
    )


MAKERS = (mlp, image, words, state, classifier, integers, detector, attention, counters, deep)
MODELS = {make.__name__: make() for make in MAKERS}
MODELS["state_of_known_steps"] = MODELS["state"]._replace(options="max_batch_size: 8, value_ranges: {step: [0, 1000]}")


def variants(model: Model) -> dict[str, str]:
    """Return the bodies of a model that are planted or rewritten, by name."""
    start, end = "h = Identity(x)", "y = Identity(y0)"
    body = f"{model.body} {end}"
    bodies = {}
    for name, pairs in (model.honest | model.planted).items():
        changed_body = body
        for old, new in zip(pairs[::2], pairs[1::2], strict=True):
            assert old in changed_body, (name, old)
            changed_body = changed_body.replace(old, new)
        bodies[name] = changed_body
    bodies |= {name: body.replace(start, HEADS[name]) for name in model.heads}
    lengths = (LENGTHS if model.lengths else {}) | (SIDES if model.lengths and model.lengths[0] == 3 else {})
    for name, tail in (TAILS | lengths).items():
        if not model.whole_numbers or name != "NaN at (0, 0)":
            bodies[name] = body.replace(end, tail)
    return bodies


def write(path: Path, opset: int, name: str, model: Model, body: str) -> None:
    """Write a model with the constants that its body reads."""
    axis = model.channel_axis
    one = np.eye(1, model.output[axis], 1 % model.output[axis]).reshape(model.output)
    row = np.eye(1, int(np.prod(model.output))).reshape(model.output)
    dtype = np.int64 if model.whole_numbers else np.float32
    constants = CONSTANTS | model.constants
    constants |= {"small": np.array(model.small, dtype), "corner": row.astype(bool)}
    constants |= {"channel": (1 + one * (1 if model.whole_numbers else 0.01)).astype(dtype)}
    if model.lengths:
        names = ("last_axis", "shortest", "longest")
        constants |= {each: np.array([value]) for each, value in zip(names, model.lengths, strict=True)}
    constants |= {"axes": np.arange(1, len(model.output))}
    first = re.findall(r"\] (\w+)", model.signature)[0]
    body = (
        body.replace("FIRST", first).replace("LAST", "last_axis").replace("DTYPE", "7" if model.whole_numbers else "1")
    )
    onnx_model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> {name} {model.signature} {{ {body} }}'
    )
    read = {value for node in onnx_model.graph.node for value in node.input}
    for constant in sorted(read & constants.keys()):
        onnx_model.graph.initializer.append(numpy_helper.from_array(np.asarray(constants[constant]), constant))
    save(onnx_model, path)


def states(
    convert: Any, project: Path, sabotage: Sabotage, wanted: dict[str, list[str]]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Convert models whose conversions are the wanted variants, one at each opset; return the results by variant."""
    directory = sabotage(SABOTAGE)
    lines, cells = [], {}
    for name, names in wanted.items():
        model = MODELS[name]
        bodies = variants(model)
        for start in range(0, len(names), len(OPSETS)):
            chunk = dict(zip(OPSETS, names[start : start + len(OPSETS)], strict=False))
            file = f"{name}_{start}"
            write(project / f"{file}.onnx", SOURCE_OPSET, file, model, f"{model.body} y = Identity(y0)")
            for opset, variant in chunk.items():
                write(directory / f"{file}.{opset}.onnx", opset, file, model, bodies[variant])
                cells[file, f"onnx_op{opset}"] = (name, variant)
            lines.append(
                f"  - {{model_name: {file}, model_path: {file}.onnx, onnx_opsets: {list(chunk)}, {model.options}}}\n"
            )

    # What samples show, not what a search finds in the time that this machine has.
    _, results = convert(f"defaults: {{target_formats: onnx, search_seconds: 0}}\nmodels:\n{''.join(lines)}")

    found = {(each["model_name"], each["conversion"]): each for each in results["results"]}
    assert found.keys() == cells.keys()
    return {cells[key]: each for key, each in found.items()}


def check(results: dict[tuple[str, str], dict[str, Any]]) -> None:
    expected = {key: "passed" if key[1] in MODELS[key[0]].honest else "mismatched" for key in results}
    got = {key: each["status"]["state"] for key, each in results.items()}
    wrong = {key: results[key]["status"] for key in results if got[key] != expected[key]}
    assert not wrong, "\n".join(f"{key}: {status}" for key, status in wrong.items())


# A few of each model, for every pull request.
QUICK = {
    "mlp": [
        "batches between",
        "split MatMul",
        "square weight transposed",
        "one weight",
        "negative values",
        "upper end",
        "max batch",
    ],
    "image": [
        "folded batch norm",
        "height for width",
        "padded on one side",
        "upsampled asymmetric",
        "NaN at (0, 0)",
        "wide images",
    ],
    "words": ["folded constants", "mask ignored", "nobody masked", "last row of the table", "last position"],
    "state": ["merged MatMul", "state that drifts below the tolerance", "late counters", "last row"],
    "classifier": [
        "softmax by hand",
        "softmax overflows",
        "softmax over the batch where it has five rows",
        "upper end",
        "lower end",
    ],
    "integers": ["quotient by comparing", "trunc for floor", "int32 overflows", "through float32", "batch 1"],
    "detector": ["multiplied apart", "cells after 255", "score of one class", "one channel"],
    "attention": [
        "scale folded",
        "epsilon dropped",
        "softmax over all",
        "exact zeros",
        "first row",
        "max batch of the shortest",
    ],
    "deep": ["Gemm", "bias first", "bias of one channel"],
    "counters": ["other order", "last counter", "rounded to float16"],
}


@pytest.mark.fault(
    "A conversion is wrong for some values, rows, batches, sizes or channels only", "The conversion is a mismatch."
)
def test_errors_of_every_model_are_found(convert: Any, project: Path, sabotage: Sabotage) -> None:
    check(states(convert, project, sabotage, QUICK))


@pytest.mark.nightly
def test_planted_errors_are_found_and_honest_rewrites_pass(convert: Any, project: Path, sabotage: Sabotage) -> None:
    wanted = {name: list(variants(model)) for name, model in MODELS.items()}
    planted = [each for name, names in wanted.items() for each in names if each not in MODELS[name].honest]
    assert len(planted) >= 200
    check(states(convert, project, sabotage, wanted))
