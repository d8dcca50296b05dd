"""Create the models of examples/navigator.yaml: well-known architectures with seeded random weights.

    python examples/make_models.py [--only NAME ...] [--force]

Downloads nothing. The outputs of a network with random weights hardly depend on its inputs, so that even a wrong
conversion would match. For this reason, batch normalization is calibrated, the last layer is scaled, and every
model's outputs are measured over different inputs: it is an error if they hardly vary. Models that exist and were
created by the current version of these scripts are kept.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SEED = 20220711
EXAMPLES = Path(__file__).resolve().parent
DIRECTORY = EXAMPLES / "models"

# Over different inputs, every output varies by at least this fraction of its largest value.
SMALLEST_SPREAD = 1e-2

# Scales (lowest, highest) and shifts (mean, deviation) of batch norms. The residual branches of a trained network end
# in small scales. With large ones, and with a ReLU that sets half of the values to 0, rounding errors grow from block
# to block, up to 5e-4 of a random ResNet-50's outputs, and would hide errors that verification should find.
SCALES = (0.5, 1.5)
RESIDUAL_SCALES = (0.1, 0.3)
SHIFTS = (0.5, 0.2)
RESIDUAL_SHIFTS = (0.0, 0.2)

# TorchScript doesn't store the signature: it is in an annotation file next to the model.
RESNET50_ANNOTATION = """\
inputs:
  image__0: {name: image__0, shape: [-1, 3, -1, -1], dtype: float32}
outputs:
  logits__0: {name: logits__0, shape: [-1, 1000], dtype: float32}
"""

# Outputs by name, the first axis over different inputs.
Outputs = Mapping[str, np.ndarray]


def make_resnet50(path: Path) -> Outputs:
    """ResNet-50 as TorchScript, with its annotation file; batch, height and width are free."""
    import torch
    from architectures import ResNet50

    torch.manual_seed(SEED)
    model = ResNet50()
    image = torch.rand(8, 3, 96, 96) * 4 - 2
    _vary_batch_norm(model)
    _calibrate_batch_norm(model, image)
    model.eval()
    _centre(model, model.head, image)
    torch.jit.save(torch.jit.trace(model, image[:2], check_trace=False), path)
    Path(f"{path}.yaml").write_text(RESNET50_ANNOTATION)
    return {"logits__0": model(image).numpy()}


def make_bert_small(path: Path) -> Outputs:
    """A small BERT as TorchScript; batch and sequence length are free. navigator.yaml holds its signature."""
    import torch
    from architectures import BertSmall

    torch.manual_seed(SEED)
    model = BertSmall().eval()
    input_ids = torch.randint(0, 8192, (16, 24))
    attention_mask = torch.randint(0, 2, (16, 24))
    torch.jit.save(torch.jit.trace(model, (input_ids, attention_mask), check_trace=False), path)
    last_hidden_state, pooled = model(input_ids, attention_mask)
    return {"last_hidden_state__0": last_hidden_state.numpy(), "pooled__1": pooled.numpy()}


def make_mlp_mixer(path: Path) -> Outputs:
    """MLP-Mixer as a torch.export program; the batch is free."""
    import torch
    from architectures import MlpMixer

    torch.manual_seed(SEED)
    model = MlpMixer().eval()
    image = torch.rand(16, 3, 128, 128) * 2 - 1
    _centre(model, model.head, image)
    batch = torch.export.Dim("batch", min=1, max=1024)
    torch.export.save(torch.export.export(model, (image[:2],), dynamic_shapes=({0: batch},)), path)
    return {"logits": model(image).numpy()}


def make_mobilenetv2(path: Path) -> Outputs:
    """Keras' MobileNetV2 as SavedModel; the batch is free."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(SEED)
    model = keras.applications.MobileNetV2(
        input_shape=(128, 128, 3), weights=None, classes=1000, classifier_activation=None
    )
    image = tf.random.uniform((16, 128, 128, 3), -1.0, 1.0)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        last = norm.name.endswith("project_BN")
        norm.gamma.assign(tf.random.uniform(norm.gamma.shape, *(RESIDUAL_SCALES if last else SCALES)))
        norm.beta.assign(tf.random.normal(norm.beta.shape, *(RESIDUAL_SHIFTS if last else SHIFTS)))
        norm.momentum = 0.0  # the statistics of the last batch replace the fresh ones
    model(image, training=True)
    head = model.layers[-1]
    logits = model(image, training=False)
    scale = 1.0 / tf.math.reduce_std(logits - tf.reduce_mean(logits, 0))
    head.kernel.assign(head.kernel * scale)
    head.bias.assign(-tf.reduce_mean(logits, 0) * scale)

    # TensorFlow ships no types.
    @tf.function(input_signature=[tf.TensorSpec((None, 128, 128, 3), name="image")])  # type: ignore[untyped-decorator]
    def serve(image: Any) -> dict[str, Any]:
        return {"logits": model(image, training=False)}

    tf.saved_model.save(model, str(path), signatures={"serving_default": serve})
    return {"logits": serve(image)["logits"].numpy()}


def make_conv(path: Path) -> Outputs:
    """A convolution at opset 6, from the test data that the onnx package ships; all shapes are fixed."""
    import onnx
    import onnxruntime

    data = Path(onnx.__file__).parent / "backend" / "test" / "data"
    shutil.copyfile(data / "pytorch-operator" / "test_operator_conv" / "model.onnx", path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    source, target = session.get_inputs()[0], session.get_outputs()[0]
    random = np.random.default_rng(SEED)
    images = [random.uniform(-1, 1, source.shape).astype(np.float32) for _ in range(8)]
    return {target.name: np.stack([session.run(None, {source.name: image})[0] for image in images])}


MODELS: dict[str, tuple[str, Callable[[Path], Outputs]]] = {
    "resnet50": ("resnet50.pt", make_resnet50),
    "bert_small": ("bert_small.pt", make_bert_small),
    "mlp_mixer": ("mlp_mixer.pt2", make_mlp_mixer),
    "mobilenetv2": ("mobilenetv2.savedmodel", make_mobilenetv2),
    "conv": ("conv.onnx", make_conv),
}


def _vary_batch_norm(model: Any) -> None:
    """Give every batch norm its own scale and shift, so that a missing or swapped one is noticed."""
    from torch import nn

    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            last = name.endswith("bn3")
            nn.init.uniform_(module.weight, *(RESIDUAL_SCALES if last else SCALES))
            nn.init.normal_(module.bias, *(RESIDUAL_SHIFTS if last else SHIFTS))


def _calibrate_batch_norm(model: Any, batch: Any) -> None:
    """Set the running statistics to those of `batch`."""
    from torch import nn

    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # PyTorch's momentum is the weight of the new batch
    model.train()(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _centre(model: Any, head: Any, batch: Any) -> None:
    """Scale and shift the last layer so that over `batch` the outputs have mean 0 and deviation 1."""
    logits = model(batch)
    mean = logits.mean(0)
    scale = 1.0 / (logits - mean).std()
    head.weight.mul_(scale)
    head.bias.copy_((head.bias - mean) * scale)


def _spread(outputs: np.ndarray) -> float:
    """Return how much an output varies over different inputs: its deviation, relative to its largest value."""
    return float(outputs.std(axis=0).mean() / np.abs(outputs).max())


def _digest() -> str:
    """Return the digest of the two scripts that create the models."""
    texts = [(EXAMPLES / name).read_bytes() for name in ("architectures.py", "make_models.py")]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the frameworks write to stderr, and show it if they fail.

    TensorFlow writes from C++, so this redirects the file descriptor.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except BaseException:
            sys.stderr.flush()
            log.seek(0)
            os.write(kept, log.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def _make(name: str) -> dict[str, float]:
    """Create a model, check that its outputs depend on its inputs, move it into place; return the spreads."""
    file, maker = MODELS[name]
    with tempfile.TemporaryDirectory(dir=DIRECTORY, prefix=f".{name}-") as made:
        with _quiet():
            spreads = {output: _spread(values) for output, values in _without_gradients(maker, Path(made) / file)}
        for output, spread in spreads.items():
            if not spread > SMALLEST_SPREAD:
                raise SystemExit(
                    f"{file}: output {output} hardly depends on the inputs (spread {spread:.1e})\n"
                    f"  scale its weights in {Path(__file__).name}; verifying such a model proves nothing"
                )
        stamp = DIRECTORY / f".{file}.stamp"
        stamp.unlink(missing_ok=True)
        for path in Path(made).iterdir():
            target = DIRECTORY / path.name
            if target.is_dir():
                shutil.rmtree(target)
            path.replace(target)
        stamp.write_text(_digest())
    return spreads


def _without_gradients(maker: Callable[[Path], Outputs], path: Path) -> list[tuple[str, np.ndarray]]:
    """Run a maker, without gradients if it needs PyTorch, since they are not used."""
    if path.suffix not in (".pt", ".pt2"):
        return list(maker(path).items())
    import torch

    with torch.no_grad():
        return list(maker(path).items())


def _present(name: str) -> bool:
    file = MODELS[name][0]
    stamp = DIRECTORY / f".{file}.stamp"
    return (DIRECTORY / file).exists() and stamp.exists() and stamp.read_text() == _digest()


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)


def main() -> None:
    """Create missing models and print one line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=MODELS, default=list(MODELS), help="create only these models")
    parser.add_argument("--force", action="store_true", help="create the models again even if they exist")
    arguments = parser.parse_args()
    # Set before TensorFlow is imported: log only errors, and ignore GPUs, which these small models don't need.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    DIRECTORY.mkdir(exist_ok=True)
    for name in arguments.only:
        path = DIRECTORY / MODELS[name][0]
        if not arguments.force and _present(name):
            print(f"{path.name}: up to date, {_size(path) / 1e6:.1f} MB", flush=True)
            continue
        started = time.monotonic()
        spreads = ", ".join(f"{output} {spread:.2f}" for output, spread in _make(name).items())
        seconds = time.monotonic() - started
        print(f"{path.name}: created in {seconds:.1f} s, {_size(path) / 1e6:.1f} MB, spread {spreads}", flush=True)


if __name__ == "__main__":
    main()
