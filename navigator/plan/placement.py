"""Decides where steps run and where artifacts are verified: this environment or a container, which GPUs, or why not.

Pure: uses the description of `navigator.host.describe`, and what converters and runners need.
"""

from collections.abc import Sequence
from dataclasses import replace

from navigator.converters import CONVERTERS
from navigator.converters.protocol import Container, Converter
from navigator.errors import ConfigurationError
from navigator.frameworks.availability import Unavailable, missing
from navigator.frameworks.gpu import no_gpu
from navigator.plan.matrix import formats_of
from navigator.records import Cell, Device, Format, Gpu, Host, LaunchMode, ModelConfig, ModelPlan, State, Step
from navigator.runners import RUNNERS
from navigator.runners.protocol import read_by


def place(tree: ModelPlan, host: Host) -> ModelPlan:
    """Return `tree` with the state of cells that can't run on `host`, and with the place of all other steps.

    Raises:
        ConfigurationError: the option `gpus` lists one that this machine doesn't have.
    """
    model = tree.config
    host = replace(host, gpus=_gpus(model, host))
    steps = {step.label: step for step in tree.steps}
    cells = tuple(_decided(tree, cell, [steps[label] for label in cell.steps], host) for cell in tree.conversions)
    needed = dict.fromkeys(label for cell in cells if cell.state is None for label in cell.steps)
    placed = tuple(_placed(tree, steps[label], host) for label in needed)
    return replace(
        tree,
        steps=placed,
        conversions=cells,
        gpus=host.gpus,
        notes=_idle_gpu(placed, host),
        image=_image(model, tree.source_format) if _in_container(model, None) else None,
    )


def needs_docker(model: ModelConfig) -> bool:
    """Return whether any conversion of `model` may run in a container, so that a plan needs the Docker daemon."""
    return _in_container(model, None) or any(
        _in_container(model, converter)
        for converter in CONVERTERS.values()
        if converter.SOURCE is model.model_format and converter.TARGET in formats_of(model)
    )


def _gpus(model: ModelConfig, host: Host) -> tuple[Gpu, ...]:
    """Return the GPUs of `host` that the option `gpus` selects: indices, UUIDs, or all.

    Raises:
        ConfigurationError: it lists one that this machine doesn't have. Without GPUs, conversions are unavailable.
    """
    if "all" in model.gpus or not host.gpus:
        return host.gpus
    known = {name: gpu for gpu in host.gpus for name in (str(gpu.index), gpu.uuid)}
    unknown = [name for name in model.gpus if name not in known]
    if unknown:
        here = ", ".join(f"{gpu.index} ({gpu.name}, {gpu.uuid})" for gpu in host.gpus)
        raise ConfigurationError(
            f"{model.model_name}: gpus lists {', '.join(unknown)}, but no such GPU is visible",
            f"the visible GPUs are {here}; `gpus: all` uses all of them",
        )
    return tuple(dict.fromkeys(known[name] for name in model.gpus))


def _in_container(model: ModelConfig, converter: Converter | None) -> bool:
    """Return whether a converter (None: the source model) runs in the framework's container."""
    if model.launch_mode is LaunchMode.AUTO:
        return converter is not None and converter.CONTAINER is Container.UNLESS_LOCAL
    in_docker = model.launch_mode is LaunchMode.DOCKER
    return in_docker and (converter is None or converter.CONTAINER is not Container.NEVER)


def _image(model: ModelConfig, source: Format) -> str | None:
    """Return the image of the framework of `source`: the user's, or NVIDIA's of `container_version`."""
    if model.framework_docker_image is not None:
        return model.framework_docker_image
    needs = RUNNERS[source].AS_SOURCE
    return needs.image.format(version=model.container_version) if needs is not None else None


def _decided(tree: ModelPlan, cell: Cell, steps: Sequence[Step], host: Host) -> Cell:
    """Return `cell`, with a state if it can't run on `host`."""
    if cell.state is not None:
        return cell
    target = cell.configuration.target_format
    if Device.CPU not in RUNNERS[target].DEVICES and _is_for_cpus_only(tree.config):
        return replace(
            cell,
            state=State.NOT_APPLICABLE,
            reason=f"{target} needs a GPU, but engine_count_per_device lists only cpu",
            remedy="add gpu to engine_count_per_device, or remove the option",
        )
    lacking = _unavailable(tree, [CONVERTERS[step.converter] for step in steps], host)
    if lacking is None:
        return cell
    return replace(cell, state=State.UNAVAILABLE, reason=lacking.reason, remedy=lacking.remedy)


def _is_for_cpus_only(model: ModelConfig) -> bool:
    return bool(model.engine_count_per_device) and "gpu" not in model.engine_count_per_device


def _unavailable(tree: ModelPlan, converters: Sequence[Converter], host: Host) -> Unavailable | None:
    """Return the first reason why `host` can't run the source model or one of the converters."""
    model, source = tree.config, tree.source_format
    needs = RUNNERS[source].AS_SOURCE
    if needs is None:
        return Unavailable(
            reason=f"a {source} model can't be used as the source model",
            remedy="use the model it was built from",
        )
    reasons: list[Unavailable | None] = []
    if _in_container(model, None):
        reasons.append(_no_docker(host))
    else:
        reasons.append(missing(RUNNERS[source].DISTRIBUTIONS, needs.extra, host))
    for converter in converters:
        if _in_container(model, converter):
            reasons += [no_gpu(host) if converter.NEEDS_GPU else None, _no_docker(host)]
            continue
        reasons.append(converter.unavailable(host))
        reasons.append(missing(RUNNERS[converter.TARGET].DISTRIBUTIONS, needs.extra, host))
    return next((reason for reason in reasons if reason is not None), None)


def _placed(tree: ModelPlan, step: Step, host: Host) -> Step:
    """Return `step` with the place where it runs, and the devices for verification."""
    model, runner = tree.config, RUNNERS[step.target_format]
    image = _image(model, tree.source_format) if _in_container(model, CONVERTERS[step.converter]) else None
    reasons = {}
    for device in runner.DEVICES:
        if image is None:
            reasons[device] = runner.unrunnable(device, host, read_by(runner, step.options))
        else:
            # Only the container knows what its packages support; the GPU is this machine's.
            lacking = "no NVIDIA GPU is visible" if device is Device.CUDA and not host.gpus else ""
            reasons[device] = lacking or runner.CONTAINER_LIMITS.get(device, "")
    if len(reasons) > 1 and _is_for_cpus_only(model):
        reasons[Device.CUDA] = "engine_count_per_device lists only cpu"
    devices = tuple(device for device, reason in reasons.items() if not reason)
    unrunnable = next((reason for reason in reasons.values() if reason), "")
    return replace(step, image=image, devices=devices, unrunnable=unrunnable)


def _idle_gpu(steps: Sequence[Step], host: Host) -> tuple[str, ...]:
    """Return notes about formats that could be verified on this machine's GPU but are not, and why."""
    found: dict[str, None] = {}
    for step in steps:
        if host.gpus and Device.CUDA not in step.devices and step.devices and step.unrunnable:
            found[f"{step.target_format} is verified on the CPU only: {step.unrunnable}"] = None
    return tuple(found)


def _no_docker(host: Host) -> Unavailable | None:
    """Return that the Docker daemon isn't reachable, for steps that run in a container."""
    if host.docker:
        return None
    return Unavailable(
        reason="it runs in a container, but the Docker daemon isn't reachable",
        remedy="start Docker, give this user access to its socket, or set launch_mode: local",
    )
