"""Makes a small model of each source format: `python small_models.py DIRECTORY` (tiny.onnx, script.pt, saved)."""

import sys
from pathlib import Path

import numpy as np


def onnx_model(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weight"], ["product"]), helper.make_node("Tanh", ["product"], ["y"])],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weight, "weight")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def torchscript(path: Path) -> None:
    import torch

    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.GELU(), torch.nn.Linear(256, 64))
    torch.jit.script(layers.eval()).save(str(path))


def savedmodel(path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))

    def serve(x: "tf.Tensor") -> "dict[str, tf.Tensor]":
        return {"y": tf.tanh(x @ module.weight)}

    module.serve = tf.function(serve, input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    tf.saved_model.save(module, str(path), signatures=module.serve)


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    onnx_model(directory / "tiny.onnx")
    torchscript(directory / "script.pt")
    savedmodel(directory / "saved")
