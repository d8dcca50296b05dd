"""What a job's status, comment and artifacts are called, so that other jobs of the workflow don't take the names. Pure.

The usual job, with one navigator.yaml and without filters, has the plain names. All names follow from what the workflow
says, and so are the same when it runs again.
"""

import hashlib
import os.path
import re

from navigator.action.inputs import Inputs
from navigator.render.text import clean, shorten

PLAIN = "model-navigator"

_CONFIGURATION = Inputs.__dataclass_fields__["config"].default
_CONTEXT_CHARS = 100
_ARTIFACT_CHARS = 80
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


def configuration(inputs: Inputs) -> str:
    """Return the path of the configuration in its shortest notation, by which two jobs name the same file."""
    return os.path.normpath(inputs.config)


def filters(inputs: Inputs) -> tuple[str, ...]:
    """Return what limits the job to some models or conversions, such as "models bert res*"."""
    given = {"models": inputs.models, "conversions": inputs.conversions}
    return tuple(
        f"{name} {' '.join(sorted(set(globs)))}" for name, globs in given.items() if globs and "*" not in globs
    )


def status_context(inputs: Inputs) -> str:
    """Return the name of the status and the check run."""
    about = (*_about(inputs), *_rehearsal(inputs))
    named = clean(f"{PLAIN} ({', '.join(about)})") if about else PLAIN
    return inputs.status_context or _within(named, _CONTEXT_CHARS)


def title(inputs: Inputs) -> str:
    """Return what a comment says it's about; "" for the usual job, which needs no name."""
    return inputs.status_context or ", ".join(_about(inputs))


def comment_key(inputs: Inputs, workflow: str) -> str:
    """Return what a comment belongs to: a workflow, a configuration, and what else tells its jobs apart."""
    more = [inputs.status_context] if inputs.status_context else [*filters(inputs), *_rehearsal(inputs)]
    return f"{workflow}/{configuration(inputs)}" + (f" ({', '.join(more)})" if more else "")


def results_artifact(inputs: Inputs) -> str:
    """Return the name of the artifact with the results, without the part for a shard.

    That of a rehearsal is told from others: it's no base to compare with, and nothing to release.
    """
    return f"{artifact_prefix(inputs)}-{'rehearsal' if _rehearsal(inputs) else 'results'}"


def artifact_prefix(inputs: Inputs) -> str:
    """Return what the names of the artifacts begin with. A character that they can't have counts in a digest."""
    if inputs.artifact_name:
        return inputs.artifact_name
    about = "-".join(part.replace(" ", "-", 1) for part in _about(inputs))
    plain = _NOT_PLAIN.sub("-", about).strip("-")
    lossless = plain == about and len(plain) <= _ARTIFACT_CHARS
    return "-".join(filter(None, (PLAIN, plain[:_ARTIFACT_CHARS], "" if lossless else digest(about))))


def digest(*facts: str) -> str:
    """Return eight hexadecimal digits that tell facts apart."""
    return hashlib.sha256("\0".join(facts).encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _rehearsal(inputs: Inputs) -> tuple[str, ...]:
    return ("rehearsal",) if inputs.command == "rehearse" else ()


def _about(inputs: Inputs) -> tuple[str, ...]:
    """Return what tells this job from the usual one."""
    path = configuration(inputs)
    return (*(() if path == _CONFIGURATION else (path,)), *filters(inputs))


def _within(name: str, limit: int) -> str:
    return name if len(name) <= limit else f"{shorten(name, limit - 9)} {digest(name)}"
