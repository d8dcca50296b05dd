"""Which regressions a configuration accepts: `accept`, with the change that it comes with. Pure.

An entry that the base has too was for an earlier change. It accepts nothing more, so that what is accepted once
doesn't hide the next regression.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from navigator.errors import quote
from navigator.records import Regression, Rules


class Accepted:
    """The entries of `accept` that apply, and which of them have matched something."""

    def __init__(self, base: Rules | None, run: Rules | None) -> None:
        earlier = base.accept if base is not None else {}
        self._reasons = run.accept if run is not None else {}
        self._earlier = [key for key, reason in self._reasons.items() if earlier.get(key) == reason]
        self._matched = {key: False for key in self._reasons if key not in self._earlier}

    def reason(self, what: Regression, names: Iterable[str], of: str) -> str:
        """Return why a regression is accepted, "" if it isn't.

        Args:
            what: what happened.
            names: what the model is called: it may have had another name. "" for the whole run.
            of: the label of the conversion, or the option.
        """
        found = [key for key in self._matched if _matches(key, what, names, of)]
        self._matched.update(dict.fromkeys(found, True))
        return "; ".join(dict.fromkeys(self._reasons[key] for key in found))

    def notes(self, *, everything: bool) -> tuple[str, ...]:
        """Return what to tell of entries that accept nothing.

        Args:
            everything: whether everything is compared; else an entry may be for what isn't.
        """
        unmatched = [key for key, matched in self._matched.items() if not matched] if everything else []
        return (
            *(f"accept: there is no {quote(key)} here, so remove that entry" for key in unmatched),
            *(f"accept: {quote(key)} is in the base too, and done: remove that entry" for key in self._earlier),
        )


def _matches(key: str, what: Regression, names: Iterable[str], of: str) -> bool:
    accepted, _, place = key.partition(" ")
    model, _, name = place.partition("/")
    return accepted == what and fnmatchcase(of, name or "*") and any(fnmatchcase(each, model) for each in names)
