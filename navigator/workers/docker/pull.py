"""What to say while an image is pulled: a handful of sentences made of the daemon's thousands of lines."""

import time
from collections.abc import Callable, Mapping
from typing import Any

_FIRST_SECONDS = 5.0
_DONE = ("Pull complete", "Already exists")


class Progress:
    """Follows one pull. Each pause is as long as the pull took until then: a pull of half an hour says ten sentences.

    Args:
        image: its name.
        say: called with a sentence.
        clock: seconds, for the pauses.
    """

    def __init__(self, image: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._image = image
        self._say = say
        self._clock = clock
        self._began = clock()
        self._next = _FIRST_SECONDS
        self._layers: dict[str, bool] = {}
        self._fetched: dict[str, int] = {}
        say(f"pulling {image}")

    def take(self, line: Mapping[str, Any]) -> None:
        """Take one line of the daemon's."""
        layer, status = line.get("id"), str(line.get("status", ""))
        if layer and not status.startswith("Pulling from"):
            self._layers[layer] = self._layers.get(layer, False) or status in _DONE
            if status == "Downloading":
                self._fetched[layer] = int(line.get("progressDetail", {}).get("current") or 0)
        elapsed = self._clock() - self._began
        if elapsed >= self._next:
            self._next = 2 * elapsed
            self._say(f"pulling {self._image}: {self._so_far()}")

    def end(self) -> None:
        """Say that it is there."""
        self._say(f"pulled {self._image} in {self._clock() - self._began:.0f} s: {self._so_far()}")

    def _so_far(self) -> str:
        done = sum(self._layers.values())
        return f"{done} of {len(self._layers)} layers, {sum(self._fetched.values()) / 1e9:.2f} GB fetched"
