"""Says what is missing if the configuration isn't there: the checkout, or the right path."""

import os
from collections.abc import Iterator
from pathlib import Path

from navigator.action.job import Job
from navigator.errors import ConfigurationError, listed, quote

_NAMES = ("navigator.yaml", "navigator.yml")
# A repository with more has other troubles.
_MOST_DIRECTORIES = 20_000


def check_configuration(job: Job) -> None:
    """Raise ConfigurationError if the file that the input `config` names isn't there."""
    path = job.workspace / job.inputs.config
    if os.path.lexists(path):
        return
    there = sorted(_configurations(job.workspace))
    if there:
        hint = f"set the input `config` to a file that exists: {listed(there)}"
    elif os.path.lexists(job.workspace / ".git"):
        hint = "add the file, or set the input `config` to its path; the repository has no navigator.yaml"
    else:
        raise ConfigurationError(
            f"{quote(job.inputs.config)} doesn't exist: the repository isn't checked out",
            "add a step with `uses: actions/checkout@v5` before this one",
        )
    raise ConfigurationError(f"the input `config`: {quote(job.inputs.config)} doesn't exist", hint)


def _configurations(root: Path) -> Iterator[str]:
    for number, (directory, below, files) in enumerate(os.walk(root)):
        below[:] = [name for name in below if not name.startswith(".") and name != "node_modules"]
        yield from (str(Path(directory, name).relative_to(root)) for name in _NAMES if name in files)
        if number == _MOST_DIRECTORIES:
            return
