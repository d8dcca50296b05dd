"""Writes the source model of test_sabotage.py in a format, and one with a wrong weight.

`python source_models.py FORMAT RIGHT WRONG`. The models are x, mask [batch, 4] -> y, z [batch, 4].
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np


def torch_module(weight: np.ndarray) -> Any:
    import torch

    class Model(torch.nn.Module):  # type: ignore[misc] # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.from_numpy(weight.copy()))

        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.tanh((x * mask) @ self.weight + x), torch.sigmoid(2 * x + mask)

    return Model().eval()


def write_onnx(path: Path, weight: np.ndarray) -> None:
    import onnx

    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]> model (float[batch, 4] x, float[batch, 4] mask)'
        " => (float[batch, 4] y, float[batch, 4] z) {"
        " masked = Mul(x, mask) product = MatMul(masked, weight) sum = Add(product, x) y = Tanh(sum)"
        " twice = Add(x, x) both = Add(twice, mask) z = Sigmoid(both) }"
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "weight"))
    onnx.save(model, path)


def write_torchscript(path: Path, weight: np.ndarray) -> None:
    import torch

    from navigator.runners.torchscript import quiet

    with quiet():
        example = torch.ones(2, 4), torch.ones(2, 4)
        torch.jit.save(torch.jit.trace(torch_module(weight), example), str(path))


def write_torch_export(path: Path, weight: np.ndarray) -> None:
    import torch

    from navigator.runners.torch_export import quiet

    with quiet():
        batch = torch.export.Dim("batch", min=1, max=64)
        example = torch.ones(2, 4), torch.ones(2, 4)
        program = torch.export.export(torch_module(weight), example, dynamic_shapes=({0: batch}, {0: batch}))
        torch.export.save(program, str(path))


def write_savedmodel(path: Path, weight: np.ndarray) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(weight)

    def run(x: Any, mask: Any) -> dict[str, Any]:
        return {"y": tf.tanh(tf.matmul(x * mask, module.weight) + x), "z": tf.sigmoid(2 * x + mask)}

    specs = [tf.TensorSpec([None, 4], tf.float32, name=name) for name in ("x", "mask")]
    module.run = tf.function(run, input_signature=specs)
    tf.saved_model.save(module, str(path), signatures=module.run)


WRITERS = {
    "onnx": write_onnx,
    "torchscript": write_torchscript,
    "torch-export": write_torch_export,
    "tf-savedmodel": write_savedmodel,
}

if __name__ == "__main__":
    weight = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    WRITERS[sys.argv[1]](Path(sys.argv[2]), weight)
    weight[2, 1] += 0.5
    WRITERS[sys.argv[1]](Path(sys.argv[3]), weight)
