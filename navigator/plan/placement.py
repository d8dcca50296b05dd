"""Where a step runs and what its artifact is verified on: this environment or a container, which GPUs, or why not.

Pure: asks what `navigator.host.describe` found out, and converters and runners for what they need. Plans no step.
"""

from collections.abc import Sequence
from dataclasses import replace

from navigator.converters import CONVERTERS
from navigator.converters.protocol import Converter
from navigator.errors import ConfigurationError
from navigator.frameworks.availability import Unavailable, missing
from navigator.frameworks.gpu import no_gpu
from navigator.plan.matrix import formats_of
from navigator.records import Device, Format, Gpu, Host, LaunchMode, ModelConfig, Step
from navigator.runners import RUNNERS

# Formats that are made for a GPU; as a source, none of them can be the reference.
GPU_FORMATS = (Format.TRT, Format.TRT_RTX, Format.TORCH_TRT, Format.TF_TRT)

# Which extra of this project installs what a source format needs.
_EXTRAS = {
    Format.TF_SAVEDMODEL: "tensorflow",
    Format.TORCHSCRIPT: "torch",
    Format.TORCH_EXPORT: "torch",
    Format.ONNX: "onnx",
}


def gpus_of(model: ModelConfig, host: Host) -> tuple[Gpu, ...]:
    """Return the GPUs of `host` that the option `gpus` selects: indices, UUIDs, or all.

    Raises:
        ConfigurationError: one is named that is not there. Where there is no GPU at all, the cells say so.
    """
    if "all" in model.gpus or not host.gpus:
        return host.gpus
    known = {name: gpu for gpu in host.gpus for name in (str(gpu.index), gpu.uuid)}
    unknown = [name for name in model.gpus if name not in known]
    if unknown:
        here = ", ".join(f"{gpu.index} ({gpu.name}, {gpu.uuid})" for gpu in host.gpus)
        raise ConfigurationError(
            f"{model.model_name}: gpus names {', '.join(unknown)}, which is not visible here",
            f"the GPUs here are {here}; `gpus: all` takes them all",
        )
    return tuple(dict.fromkeys(known[name] for name in model.gpus))


def needs_docker(model: ModelConfig) -> bool:
    """Tell whether any conversion of `model` lives in a container, so that a plan asks for the Docker daemon."""
    return in_container(model, None) or any(
        in_container(model, converter)
        for converter in CONVERTERS.values()
        if converter.SOURCE is model.model_format and converter.TARGET in formats_of(model)
    )


def framework_image(model: ModelConfig, source: Format) -> str:
    """Return the image of the framework that `source` comes from: the user's, or NVIDIA's of `container_version`."""
    if model.framework_docker_image is not None:
        return model.framework_docker_image
    name, suffix = ("tensorflow", "tf2-py3") if source is Format.TF_SAVEDMODEL else ("pytorch", "py3")
    return f"nvcr.io/nvidia/{name}:{model.container_version}-{suffix}"


def in_container(model: ModelConfig, converter: Converter | None) -> bool:
    """Tell whether a converter (None: the source model) runs in the framework's container.

    `launch_mode: docker` runs everything there but TensorRT for RTX, which no framework's container has; `auto` only
    what this environment cannot have.
    """
    if model.launch_mode is LaunchMode.AUTO:
        return converter is not None and converter.IN_CONTAINER
    return model.launch_mode is LaunchMode.DOCKER and (converter is None or converter.TARGET is not Format.TRT_RTX)


def placed(model: ModelConfig, source: Format, step: Step, host: Host) -> Step:
    """Return `step` with where it runs and what its artifact is verified on."""
    image = framework_image(model, source) if in_container(model, CONVERTERS[step.converter]) else None
    runner = RUNNERS[step.target_format]
    reasons = {device: runner.unrunnable(device, host, step.options) for device in runner.DEVICES}
    if image is not None:
        # What the container's packages can run on is known there; the GPU is this machine's.
        reasons = {device: "no GPU here" if device is Device.CUDA and not host.gpus else "" for device in reasons}
        if step.target_format is Format.ONNX and host.gpus:
            # What is added to an image runs with whatever CUDA it has: ONNX Runtime's GPU build needs its own.
            reasons[Device.CUDA] = "the container's ONNX Runtime has no CUDA provider"
    if len(reasons) > 1 and model.engine_count_per_device and "gpu" not in model.engine_count_per_device:
        reasons[Device.CUDA] = "engine_count_per_device names only the CPU"
    devices = tuple(device for device, reason in reasons.items() if not reason)
    unrunnable = next((reason for reason in reasons.values() if reason), "")
    return replace(step, image=image, devices=devices, unrunnable=unrunnable)


def idle_gpu(steps: tuple[Step, ...], host: Host) -> tuple[str, ...]:
    """Say of which formats artifacts could be verified on the GPU that is here, and why they are not."""
    found: dict[str, None] = {}
    for step in steps:
        if host.gpus and Device.CUDA not in step.devices and step.devices and step.unrunnable:
            found[f"{step.target_format} is verified on the CPU only: {step.unrunnable}"] = None
    return tuple(found)


def unavailable(model: ModelConfig, source: Format, converters: Sequence[Converter], host: Host) -> Unavailable | None:
    """Return the first reason why `host` cannot run the source model or one of the converters."""
    extra = _EXTRAS.get(source, "onnx")
    if source not in RUNNERS or source in GPU_FORMATS:
        return Unavailable(
            reason=f"nothing here can run a {source} model as the reference",
            remedy="give the model that it was built from",
        )
    reasons: list[Unavailable | None] = []
    if in_container(model, None):
        reasons.append(_no_docker(host))
    else:
        reasons.append(missing(RUNNERS[source].DISTRIBUTIONS, extra, host))
    for converter in converters:
        if in_container(model, converter):
            reasons += [no_gpu(host) if converter.NEEDS_GPU else None, _no_docker(host)]
            continue
        reasons.append(converter.unavailable(host))
        if converter.TARGET in RUNNERS:
            reasons.append(missing(RUNNERS[converter.TARGET].DISTRIBUTIONS, extra, host))
    return next((reason for reason in reasons if reason is not None), None)


def _no_docker(host: Host) -> Unavailable | None:
    """Return that no Docker daemon answers, for what runs in a container."""
    if host.docker:
        return None
    return Unavailable(
        reason="it runs in the framework's container, and no Docker daemon answers here",
        remedy="start Docker, give this user access to its socket, or set launch_mode: local",
    )
