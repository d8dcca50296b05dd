"""Writes the source model of test_rolled.py in a format, and one whose state drifts by 5e-6 a step.

`python rolling_models.py FORMAT RIGHT WRONG`. The models are x, state [batch, 4] -> y, new_state [batch, 4].
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

WEIGHT = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)


def write_onnx(path: Path, factor: float) -> None:
    import onnx

    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]> model (float[batch, 4] x, float[batch, 4] state)'
        " => (float[batch, 4] y, float[batch, 4] new_state) { scaled = Mul(state, decay) product = MatMul(x, weight)"
        " bounded = Tanh(product) sum = Add(scaled, bounded) new_state = Mul(sum, factor) y = Sigmoid(new_state) }"
    )
    for name, value in (("weight", WEIGHT), ("decay", np.float32(0.9)), ("factor", np.float32(factor))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    onnx.save(model, path)


def torch_module(factor: float) -> Any:
    import torch

    class Model(torch.nn.Module):  # type: ignore[misc] # torch is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.from_numpy(WEIGHT.copy()))

        def forward(self, x: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            new_state = (0.9 * state + torch.tanh(x @ self.weight)) * factor
            return torch.sigmoid(new_state), new_state

    return Model().eval()


def write_torchscript(path: Path, factor: float) -> None:
    import torch

    from navigator.runners.torchscript import quiet

    with quiet():
        torch.jit.save(torch.jit.trace(torch_module(factor), (torch.ones(2, 4), torch.ones(2, 4))), str(path))


def write_torch_export(path: Path, factor: float) -> None:
    import torch

    from navigator.runners.torch_export import quiet

    with quiet():
        batch = torch.export.Dim("batch", min=1, max=64)
        example = torch.ones(2, 4), torch.ones(2, 4)
        program = torch.export.export(torch_module(factor), example, dynamic_shapes=({0: batch}, {0: batch}))
        torch.export.save(program, str(path))


def write_savedmodel(path: Path, factor: float) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.weight = tf.Variable(WEIGHT)

    def run(x: Any, state: Any) -> dict[str, Any]:
        new_state = (0.9 * state + tf.tanh(tf.matmul(x, module.weight))) * factor
        return {"y": tf.sigmoid(new_state), "new_state": new_state}

    specs = [tf.TensorSpec([None, 4], tf.float32, name=name) for name in ("x", "state")]
    module.run = tf.function(run, input_signature=specs)
    tf.saved_model.save(module, str(path), signatures=module.run)


WRITERS = {
    "onnx": write_onnx,
    "torchscript": write_torchscript,
    "torch-export": write_torch_export,
    "tf-savedmodel": write_savedmodel,
}

if __name__ == "__main__":
    for path, factor in zip(sys.argv[2:], (1.0, 1.000005), strict=True):
        WRITERS[sys.argv[1]](Path(path), factor)
