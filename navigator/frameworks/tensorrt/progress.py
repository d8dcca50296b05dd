"""What TensorRT is doing while it builds: the phase, and how much of the whole is done."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# TensorRT's objects; its types differ between versions.
_Trt = Any

# A line of the log for every so many per cent.
_LOGGED_PERCENT = 10
# While TensorRT (10.6) builds 24 convolutions in fp16, for half a minute, it calls 360,000 times.
_PAUSE_SECONDS = 0.1


@dataclass(kw_only=True, slots=True)
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class Phases:
    """The phases of a build, which are nested. Tells how far it is when that has changed, and at the end.

    Args:
        tell: takes a phase and how many per cent of the build are done, which never become fewer.
        clock: returns seconds.
    """

    def __init__(self, tell: Callable[[str, int], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._silent_until = -math.inf
        self._phases: dict[str, _Phase] = {}
        self._last: tuple[str, int] = ("", 0)

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """Begin a phase of some steps."""
        self._phases[name] = _Phase(parent=parent, steps=max(1, steps))
        self._update(name)

    def step(self, name: str, number: int) -> None:
        """Note that a step of a phase is done; the first one is 0."""
        if name in self._phases:
            self._phases[name].done = number + 1
            self._update(name)

    def finish(self, name: str) -> None:
        """End a phase."""
        phase = self._phases.get(name)
        if phase is None:
            return
        if phase.parent is not None and phase.parent in self._phases:
            del self._phases[name]
            self._update(phase.parent)
        else:  # it doesn't tell of its last step
            phase.done = phase.steps
            self._silent_until = -math.inf
            self._update(name)
            del self._phases[name]

    def _update(self, name: str) -> None:
        now = self._clock()
        if now < self._silent_until:
            return
        self._silent_until = now + _PAUSE_SECONDS
        roots = [each for each, phase in self._phases.items() if phase.parent not in self._phases]
        percent = max([self._last[1], *(int(100 * self._fraction(root)) for root in roots)])
        if (name, percent) != self._last:
            self._last = (name, percent)
            self._tell(name, percent)

    def _fraction(self, name: str) -> float:
        phase = self._phases[name]
        within = [self._fraction(each) for each, other in self._phases.items() if other.parent == name]
        return min(1.0, (phase.done + max(within, default=0.0)) / phase.steps)


class Told:
    """Writes what a build is doing into a file for who watches, and now and then into the log of this process."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._logged = -_LOGGED_PERCENT

    def __call__(self, phase: str, percent: int) -> None:
        line = f"{phase}, {percent} %"
        if self._path is not None:
            self._path.write_text(line)
        if percent >= self._logged + _LOGGED_PERCENT:
            self._logged = percent
            print(f"TensorRT: {line}", file=sys.stderr, flush=True)  # noqa: T201 - the worker's log


def monitor(trt: _Trt, path: Path | None) -> _Trt:
    """Return the monitor of a build, for `IBuilderConfig.progress_monitor`; None where TensorRT has none (below 10)."""
    if not hasattr(trt, "IProgressMonitor"):
        return None
    phases = Phases(Told(path))

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.step(phase_name, step)
            return True

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()
