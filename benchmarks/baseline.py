"""What both baselines are made of: load and run a model, convert it, raise an opset, compare.

Each function imports only the framework that it needs. Nothing here isolates, caches or reports: that is what the
baselines do without.
"""

import contextlib
import io
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from navigator.records import Format, ModelConfig, TensorSpec
from navigator.samples.generate import generate
from navigator.verify.outputs import tolerance_of
from navigator.verify.tolerances import given

# Nothing in the examples comes near it, so that no sample is made smaller.
MEMORY_BYTES = 8 * 2**30

Inputs = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A model in memory; `infer` returns the outputs in the model's order, `outputs` are their names if known."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    infer: Callable[[Inputs], list[np.ndarray]]
    model: Any


def load(path: Path, model_format: Format, config: ModelConfig) -> Loaded:
    """Load a model of any of the four source formats."""
    loaders = {
        Format.TORCHSCRIPT: _load_torchscript,
        Format.TORCH_EXPORT: _load_torch_export,
        Format.TF_SAVEDMODEL: _load_savedmodel,
        Format.ONNX: _load_onnx,
    }
    return loaders[model_format](path, config)


def convert(source: Loaded, config: ModelConfig, destination: Path, opset: int) -> None:
    """Convert a loaded source model to ONNX."""
    if config.model_format is Format.TORCHSCRIPT:
        _export_torchscript(source, config, destination, opset)
    elif config.model_format is Format.TORCH_EXPORT:
        _export_program(source, destination, opset)
    elif config.model_format is Format.TF_SAVEDMODEL:
        convert_savedmodel(config, destination, opset)
    else:
        raise_opset(config.model_path, destination, opset)


def copy(source: Path, destination: Path) -> None:
    """Copy a model: the cell whose target is the source's own format."""
    if source.is_dir():
        shutil.copytree(source, destination)
    else:
        shutil.copyfile(source, destination)


def draw(source: Loaded, config: ModelConfig) -> list[tuple[str, Inputs]]:
    """Return the samples, the same as navigator's."""
    samples, _ = generate(source.inputs, config, memory_bytes=MEMORY_BYTES)
    return list(samples)


def run(model: Loaded, samples: Sequence[tuple[str, Inputs]]) -> list[list[np.ndarray]]:
    """Run every sample."""
    return [model.infer(inputs) for _, inputs in samples]


def compare(
    reference: Sequence[Sequence[np.ndarray]],
    outputs: Sequence[Sequence[np.ndarray]],
    config: ModelConfig,
    *,
    names: Sequence[str],
) -> tuple[bool, float]:
    """Compare by numpy.isclose, as navigator does; return whether all is close and the largest absolute error."""
    good, worst = True, 0.0
    for wanted, got in zip(reference, outputs, strict=True):
        for name, one, other in zip(names, wanted, got, strict=True):
            if one.shape != other.shape or one.dtype != other.dtype:
                return False, float("inf")
            atol, rtol = (tolerance_of(given(table), name) for table in (config.atol, config.rtol))
            good = good and bool(np.isclose(other, one, rtol=rtol, atol=atol).all())
            worst = max(worst, float(np.abs(other.astype(np.float64) - one).max()))
    return good, worst


def convert_savedmodel(config: ModelConfig, destination: Path, opset: int) -> None:
    """Convert a SavedModel in this process, as tf2onnx's own command line does."""
    import tf2onnx
    from tf2onnx import tf_loader

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    graph, inputs, outputs, tables, renamed = tf_loader.from_saved_model(
        str(config.model_path), None, None, "serve", [config.signature_name], None, False,
        return_initialized_tables=True, return_tensors_to_rename=True,
    )  # fmt: skip
    tf2onnx.convert._convert_common(
        graph,
        name=config.model_name,
        opset=opset,
        input_names=inputs,
        output_names=outputs,
        initialized_tables=tables,
        tensors_to_rename=renamed,
        output_path=str(destination),
    )


def raise_opset(source: Path, destination: Path, opset: int) -> None:
    """Write an ONNX file at a higher opset."""
    import onnx
    from onnx import version_converter

    onnx.save(version_converter.convert_version(onnx.load(source), opset), destination)


def _load_torchscript(path: Path, config: ModelConfig) -> Loaded:
    import torch

    with _silence():
        module = torch.jit.load(str(path)).eval()
    # Exporting a loaded module turns gradients on in it (PyTorch 2.13).
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    names = [spec.name for spec in config.inputs]

    def infer(inputs: Inputs) -> list[np.ndarray]:
        # Each shape runs once or twice: specialising the graph for it costs more than it saves.
        with torch.no_grad(), torch.jit.optimized_execution(False):
            return _tensors(module(*(torch.from_numpy(inputs[name]) for name in names)))

    return Loaded(inputs=config.inputs, outputs=tuple(spec.name for spec in config.outputs), infer=infer, model=module)


def _load_torch_export(path: Path, _config: ModelConfig) -> Loaded:
    import torch

    program = torch.export.load(path)
    module = program.module()
    names = program.graph_signature.user_inputs
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    specs = tuple(
        TensorSpec(
            name=name,
            shape=tuple(size if isinstance(size, int) else -1 for size in values[name].shape),
            dtype=str(values[name].dtype).removeprefix("torch."),
        )
        for name in names
    )

    def infer(inputs: Inputs) -> list[np.ndarray]:
        with torch.no_grad():
            return _tensors(module(*(torch.from_numpy(inputs[name]) for name in names)))

    return Loaded(inputs=specs, outputs=tuple(program.graph_signature.user_outputs), infer=infer, model=program)


def _load_savedmodel(path: Path, config: ModelConfig) -> Loaded:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    function = loaded.signatures[config.signature_name]
    specs = tuple(
        TensorSpec(name=name, shape=tuple(-1 if size is None else size for size in spec.shape), dtype=spec.dtype.name)
        for name, spec in function.structured_input_signature[1].items()
    )
    names = tuple(sorted(function.structured_outputs))

    def infer(inputs: Inputs) -> list[np.ndarray]:
        outputs = function(**{name: tf.constant(array) for name, array in inputs.items()})
        return [outputs[name].numpy() for name in names]

    # The signature lives only as long as the object that it was taken from.
    return Loaded(inputs=specs, outputs=names, infer=infer, model=loaded)


def _load_onnx(path: Path, _config: ModelConfig) -> Loaded:
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    specs = tuple(
        TensorSpec(
            name=each.name,
            shape=tuple(size if isinstance(size, int) else -1 for size in each.shape),
            dtype={"tensor(float)": "float32", "tensor(int64)": "int64"}[each.type],
        )
        for each in session.get_inputs()
    )
    names = [each.name for each in session.get_inputs()]

    def infer(inputs: Inputs) -> list[np.ndarray]:
        # By position: exporters of the examples keep the order, and not always the names.
        return list(session.run(None, dict(zip(names, inputs.values(), strict=True))))

    return Loaded(inputs=specs, outputs=tuple(each.name for each in session.get_outputs()), infer=infer, model=session)


def _export_torchscript(source: Loaded, config: ModelConfig, destination: Path, opset: int) -> None:
    import torch

    _, inputs = draw(source, config)[0]
    tensors = (*config.inputs, *config.outputs)
    with _silence():
        torch.onnx.export(
            source.model,
            tuple(torch.from_numpy(inputs[spec.name]) for spec in config.inputs),
            str(destination),
            dynamo=False,
            opset_version=opset,
            input_names=[spec.name for spec in config.inputs],
            output_names=list(source.outputs),
            dynamic_axes={
                spec.name: [axis for axis, size in enumerate(spec.shape or ()) if size == -1] for spec in tensors
            },
        )


def _export_program(source: Loaded, destination: Path, opset: int) -> None:
    import torch

    with _silence():
        torch.onnx.export(
            source.model, (), str(destination), dynamo=True, opset_version=opset, external_data=False, verbose=False
        )


def _tensors(outputs: Any) -> list[np.ndarray]:
    return [each.numpy() for each in (outputs if isinstance(outputs, tuple | list) else (outputs,))]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporters' warnings and progress lines off the terminal."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
