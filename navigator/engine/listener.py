"""Who is told of the progress of a run."""

from collections.abc import Callable
from dataclasses import dataclass

from navigator.engine.schedule import Unit


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """Callbacks for the progress of a run.

    `on_start` and `on_end` are called in the thread of the run when units start and end, `on_progress` in any thread
    with a message about an image that is pulled or built.
    """

    on_start: Callable[[Unit], None] = lambda _unit: None
    on_end: Callable[[Unit], None] = lambda _unit: None
    on_progress: Callable[[str], None] = lambda _sentence: None
