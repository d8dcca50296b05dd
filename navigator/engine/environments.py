"""The environments of a run's workers: a fork server per framework in this interpreter, and containers."""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from navigator.converters import CONVERTERS
from navigator.engine.builders import is_built
from navigator.records import ModelConfig, ModelPlan
from navigator.runners import RUNNERS
from navigator.workers.docker.image import framework_of
from navigator.workers.docker.pool import Containers
from navigator.workers.local.pool import ForkServer, Workers
from navigator.workers.sandbox import shortcoming

_BUILDERS = "builders"


class Environments:
    """The environments of some models: a context manager that starts and stops them.

    Args:
        plans: the models with something to run.
        directory: for sockets and logs of servers, and for files sent to containers; exists.
        on_progress: called in any thread with a message about an image that is pulled or built.

    Once started, `notes` are what the report says about this machine.
    """

    def __init__(self, plans: Iterable[ModelPlan], *, directory: Path, on_progress: Callable[[str], None]) -> None:
        self._plans = tuple(plans)
        self._directory = directory
        self._on_progress = on_progress
        self._workers: dict[str, Workers] = {}
        self._running = contextlib.ExitStack()
        self.notes: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        modules: dict[str, dict[str, None]] = {}
        images: dict[str, tuple[str, ModelConfig]] = {}
        for plan in self._plans:
            if any(map(is_built, plan.steps)):
                modules[_BUILDERS] = {}
            for image, preload in _preloads(plan).items():
                if image is None:
                    modules.setdefault(_name(plan, None), {}).update(dict.fromkeys(preload))
                else:
                    images.setdefault(_name(plan, image), (image, plan.config))
        # A container is a sandbox, whatever its kernel offers beside.
        self.notes = tuple(filter(None, [shortcoming()])) if modules else ()
        with contextlib.ExitStack() as started:
            for name, names in modules.items():
                self._workers[name] = started.enter_context(self._fork_server(name, tuple(names)))
            for number, (name, (image, config)) in enumerate(images.items()):
                self._workers[name] = started.enter_context(self._containers(number, image, config))
            self._running = started.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.__exit__(kind, error, trace)

    def workers(self, plan: ModelPlan, image: str | None) -> Workers:
        """Return the workers of a model in `image`, or in this interpreter for None."""
        return self._workers[_name(plan, image)]

    @property
    def has_builders(self) -> bool:
        """Whether there are workers that build engines, and they haven't been ended."""
        return _BUILDERS in self._workers

    @property
    def builders(self) -> Workers:
        """The workers that build engines, of models of every framework: none has to be imported for that."""
        return self._workers[_BUILDERS]

    def end_builders(self) -> None:
        """End the workers that build engines, so that their memory is free."""
        self._workers.pop(_BUILDERS).cancel()

    def cancel(self) -> None:
        """Kill running workers."""
        for workers in self._workers.values():
            workers.cancel()

    def _fork_server(self, name: str, preload: tuple[str, ...]) -> ForkServer:
        directory = self._directory / f"server-{name}"
        directory.mkdir()
        return ForkServer(preload=preload, directory=directory)

    def _containers(self, number: int, image: str, config: ModelConfig) -> Containers:
        assert config.model_format is not None
        return Containers(
            image=image,
            framework=framework_of(config.model_format),
            directory=self._directory / f"containers-{number}",
            rebuild=config.override_conversion_container,
            on_progress=self._on_progress,
        )


def _name(plan: ModelPlan, image: str | None) -> str:
    """Return the name of a model's environment: one per framework in this interpreter, imported once per run.

    Containers of the same image also differ by framework, since that determines which packages are added.
    """
    framework = RUNNERS[plan.source_format].PRELOAD[0]
    return framework if image is None else f"{framework} in {image}"


def _preloads(plan: ModelPlan) -> dict[str | None, tuple[str, ...]]:
    """Return the modules that the workers of a model import, in a fixed order, by image."""
    found: dict[str | None, list[str]] = {plan.image: [*RUNNERS[plan.source_format].PRELOAD]}
    for step in plan.steps:
        names = found.setdefault(step.image, [])
        names += CONVERTERS[step.converter].PRELOAD
        if step.devices:
            names += RUNNERS[step.target_format].PRELOAD
    return {image: tuple(dict.fromkeys(names)) for image, names in found.items()}
