"""Converts records to plain data and back."""

import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

_PLACE = re.compile(r"\.([^.[]+)|\[(\d+)\]")

T = TypeVar("T")


Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Amount = Annotated[float, msgspec.Meta(ge=0)]
Duration = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
"""Numbers that `from_data` takes only if they can be meant: not negative, finite, at most 30 years of seconds."""

# JSON values: options, properties and messages of workers consist of them.
Json = Any


class InvalidRecordError(ValueError):
    """Plain data isn't what `to_data` makes of a record; `path` has the keys and indexes of what is wrong."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        _, _, place = message.rpartition(" - at `$")
        # A mapping's own keys aren't in the message: "[...]" is one of them.
        known = place.removesuffix("`").split("[...]")[0]
        self.path = tuple(int(index) if index else key for key, index in _PLACE.findall(known))


def to_data(record: object) -> Json:
    """Return `record` as dictionaries, lists, strings and numbers."""
    return msgspec.to_builtins(record, enc_hook=_encode)


def from_data(cls: type[T], data: Json) -> T:
    """Return the record of type `cls` that `to_data` turned into `data`.

    Raises:
        InvalidRecordError: `data` is invalid; the text says where.
    """
    try:
        return msgspec.convert(data, type=cls, dec_hook=_decode)
    # The first is a ValueError in newer versions. The other comes from a lone surrogate where no text belongs.
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidRecordError(str(error)) from error


def _encode(value: object) -> Json:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"no plain form for {type(value).__name__}")


def _decode(cls: type, value: Json) -> Json:
    if cls is Path:
        return value if isinstance(value, Path) else Path(value)
    raise NotImplementedError(f"no record form for {cls.__name__}")
