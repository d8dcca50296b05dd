"""Writes the models of test_advice_table.py: those that fail, and those that were made as an advice says.

`python advised_models.py FRAMEWORK DIRECTORY`: torch, tensorflow or onnx.
"""

import re
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_torch(folder: Path) -> None:
    import torch

    torch.manual_seed(0)

    class Function(torch.nn.Module):  # type: ignore[misc] # torch is untyped here
        def __init__(self, function: Callable[..., Any]) -> None:
            super().__init__()
            self.function, self.layer = function, torch.nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> Any:
            return self.function(self.layer(x))

    class Picture(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x).mean((2, 3))

    class Grows(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            held: list[torch.Tensor] = []
            for index in range(x.shape[0]):
                held.append(x[index] * index)  # noqa: PERF401 - what TorchScript keeps as a loop
            return torch.stack(held)

    class OnGpu(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.ones(1, device="cuda")

    class OnCpu(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.ones(1, device=x.device)

    class Twice(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
            return {"a": {"b__c": x * 2}, "a__b": {"c": x * 3}}

    class Once(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"one": x * 2, "two": x * 3}

    class Spoken(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, str]:
            return x * 2, "done"

    class Odd(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.dim() == 4
            assert x.shape[3] == 1009
            return x * 2

    class Pooled(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.adaptive_avg_pool2d(x, (x.shape[2] // 3, 5))

    class Nothing(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> None:
            pass

    class Unnamed(torch.nn.Module):  # type: ignore[misc]
        @torch.jit.export  # type: ignore[untyped-decorator]
        def run(self, x: torch.Tensor) -> torch.Tensor:
            return x

    class Both(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x + y

    class Listed(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor, sizes: list[int]) -> torch.Tensor:
            return x.view(sizes)

    class Kept(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor, sizes: tuple[int, int] = (-1, 4)) -> torch.Tensor:
            return x.view(sizes[0], sizes[1])

    rows = torch.ones(3, 8)

    def traced(name: str, module: torch.nn.Module, example: torch.Tensor = rows) -> None:
        torch.jit.save(torch.jit.trace(module.eval(), example, check_trace=False), str(folder / f"{name}.pt"))

    def scripted(name: str, module: torch.nn.Module) -> None:
        torch.jit.save(torch.jit.script(module.eval()), str(folder / f"{name}.pt"))

    def exported(name: str, module: torch.nn.Module, example: torch.Tensor = rows) -> None:
        batch = {0: torch.export.Dim("batch", min=1, max=64)}
        torch.export.save(
            torch.export.export(module.eval(), (example,), dynamic_shapes=(batch,)), folder / f"{name}.pt2"
        )

    plain = Function(torch.tanh)
    traced("plain", plain)
    exported("plain", plain)
    with zipfile.ZipFile(folder / "plain.pt2") as whole, zipfile.ZipFile(folder / "newer.pt2", "w") as newer:
        for name in whole.namelist():
            content = whole.read(name)
            newer.writestr(
                name, re.sub(rb'("major": )\d+', rb"\g<1>99", content) if name.endswith(".json") else content
            )
    scripted("picture", Picture())
    scripted("grows", Grows())
    spectrum = Function(lambda x: torch.fft.rfft(x).abs())
    traced("spectrum", spectrum)
    exported("spectrum", spectrum)
    traced("half", Function(torch.tanh).to(torch.bfloat16), rows.to(torch.bfloat16))
    traced("float", Function(torch.tanh).to(torch.bfloat16).float())
    scripted("on_gpu", OnGpu())
    scripted("on_cpu", OnCpu())
    scripted("twice", Twice())
    scripted("once", Once())
    scripted("spoken", Spoken())
    scripted("odd", Odd())
    traced("pooled", Pooled(), torch.rand(2, 3, 7, 11))
    exported("pooled", Pooled(), torch.rand(2, 3, 7, 11))
    exported("normalized", torch.nn.LayerNorm(8), torch.rand(2, 8))
    exported("inverse", Function(lambda x: torch.linalg.inv(x.T @ x + torch.eye(8))))
    scripted("nothing", Nothing())
    scripted("unnamed", Unnamed())
    scripted("both", Both())
    scripted("listed", Listed())
    scripted("kept", Kept())
    dropped = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.5))
    torch.jit.save(torch.jit.trace(dropped.train(), rows, check_trace=False), str(folder / "training.pt"))
    traced("trained", dropped)
    layers = torch.nn.Sequential(torch.nn.Linear(8, 8))
    scripted("quantized", torch.ao.quantization.quantize_dynamic(layers, {torch.nn.Linear}, dtype=torch.qint8))
    trained = torch.ao.quantization.QConfig(
        activation=torch.ao.quantization.default_fused_act_fake_quant,
        weight=torch.ao.quantization.default_fused_wt_fake_quant,
    )
    layers.qconfig = trained
    traced("trained_quantized", torch.ao.quantization.prepare_qat(layers.train()))

    class Sums(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            places = torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)
            return torch.zeros_like(x).index_add(0, places, x)

    scripted("sums", Sums())


def write_onnx(folder: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, parser

    def text(name: str, source: str) -> Any:
        model = parser.parse_model(source)
        onnx.save(model, folder / f"{name}.onnx")
        return model

    plain = '<ir_version: 8, opset_import: ["" : 17]> m (float[batch, 4] x) => (float[batch, 4] y) { y = Tanh(x) }'
    text("plain", plain)
    text("integers", plain.replace("float", "int64").replace("Tanh(x)", "Add(x, x)"))
    text(
        "recurrent",
        '<ir_version: 8, opset_import: ["" : 17]> m (float[1, 4] x, float[1, 4] h) => (float[1, 4] y, float[1, 4] hn) '
        "{ s = Add(x, h) hn = Tanh(s) y = Mul(hn, x) }",
    )
    text(
        "widened",
        '<ir_version: 8, opset_import: ["" : 17]> m (float[1, 4] x, float[1, 4] h) => (float[1, 8] y, float[1, 4] hn) '
        "{ s = Add(x, h) hn = Tanh(s) y = Concat <axis = 1> (hn, x) }",
    )
    text(
        "reshaped",
        '<ir_version: 8, opset_import: ["" : 17]> m (float[2, 4] x, int64[2] s) => (float[rows, columns] y) '
        "{ z = Tanh(x) y = Reshape(z, s) }",
    )
    text(
        "large",
        '<ir_version: 8, opset_import: ["" : 17]> m (float[batch, length] x) => (float[rows, 9973] y) '
        "{ s = Constant <value = int64[2] {-1, 9973}> () z = Tanh(x) y = Reshape(z, s) }",
    )
    text(
        "random",
        '<ir_version: 8, opset_import: ["" : 17]> m (float[batch, 4] x) => (float[batch, 4] y) '
        "{ n = RandomNormalLike(x) y = Add(x, n) }",
    )
    text(
        "drawn",
        '<ir_version: 8, opset_import: ["" : 17]> m (float[batch, 4] x, float[batch, 4] n) => (float[batch, 4] y) '
        "{ y = Add(x, n) }",
    )
    old = plain.replace('"" : 17', '"" : 6')
    text("old", old.replace("float[batch, 4] y", "float[batch, 4] y").replace("Tanh(x)", "Selu(x)"))
    custom = plain.replace("opset_import: [", 'opset_import: ["com.acme" : 1, ')
    text("custom_operator", custom.replace("Tanh(x)", "com.acme.Swish(x)"))
    text("named_twice", plain.replace("y = Tanh(x)", "[n] h = Tanh(x) [n] y = Abs(h)"))
    text("older_opset", plain.replace("Tanh(x)", "Gelu(x)"))
    text("typed", plain.replace("Tanh(x)", "Gelu(x)").replace('"" : 17', '"" : 20'))
    strings = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "m",
        [helper.make_tensor_value_info("x", TensorProto.STRING, ["batch"])],
        [helper.make_tensor_value_info("y", TensorProto.STRING, ["batch"])],
    )
    onnx.save(
        helper.make_model(strings, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "text.onnx"
    )
    sequence = helper.make_graph(
        [helper.make_node("SequenceConstruct", ["x", "x"], ["y"])],
        "m",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, ["batch", 4])],
    )
    onnx.save(
        helper.make_model(sequence, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "sequence.onnx"
    )


def write_tensorflow(folder: Path) -> None:
    import tensorflow as tf

    class Model(tf.Module):  # type: ignore[misc] # TensorFlow is untyped
        pass

    def saved(name: str, signatures: dict[str, tuple[Callable[..., Any], list[Any]]]) -> None:
        module = Model()
        functions = {key: tf.function(run, input_signature=specs) for key, (run, specs) in signatures.items()}
        module.functions = list(functions.values())
        tf.saved_model.save(module, str(folder / name), signatures=functions)

    spec = tf.TensorSpec([None, 4], tf.float32, name="x")
    plain = (lambda x: {"y": tf.tanh(x)}, [spec])
    saved("plain", {"serving_default": plain})
    saved("several", {"first": plain, "second": plain})
    saved("unsigned", {})
    saved("unranked", {"serving_default": (lambda x: {"y": tf.tanh(x)}, [tf.TensorSpec(None, tf.float32, name="x")])})
    saved(
        "text",
        {"serving_default": (lambda x: {"y": tf.strings.length(x)}, [tf.TensorSpec([None], tf.string, name="x")])},
    )
    saved("words", {"serving_default": (lambda x: {"y": tf.strings.length(tf.strings.as_string(x[:, 0]))}, [spec])})
    saved("solves", {"serving_default": (lambda x: {"y": tf.linalg.expm(x[:, :, None] * x[:, None, :])}, [spec])})
    saved("sums", {"serving_default": (lambda x: {"y": tf.cumsum(x, axis=1)}, [spec])})
    half = tf.TensorSpec([None, 4], tf.bfloat16, name="x")
    saved("bfloat", {"serving_default": (lambda x: {"y": tf.tanh(x)}, [half])})


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"torch": write_torch, "onnx": write_onnx, "tensorflow": write_tensorflow}[sys.argv[1]](Path(sys.argv[2]))
