"""Why a machine cannot run something, and what would change that."""

from dataclasses import dataclass

from navigator.records import Host


@dataclass(frozen=True, kw_only=True, slots=True)
class Unavailable:
    """Why a converter cannot run on a machine, and what would change that."""

    reason: str
    remedy: str


def missing(distributions: tuple[str, ...], extra: str, host: Host) -> Unavailable | None:
    """Return why a converter that needs `distributions` cannot run on `host`, or None.

    Args:
        distributions: PyPI names.
        extra: the extra of this project that installs them.
        host: the machine.
    """
    absent = [name for name in distributions if name not in host.versions]
    if not absent:
        return None
    return Unavailable(
        reason=f"not installed: {', '.join(absent)}",
        remedy=f"pip install 'model-navigator[{extra}]'",
    )
