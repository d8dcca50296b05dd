"""Converts records to plain data and back."""

from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


# JSON values: options, properties and messages of workers consist of them.
Json = Any


def to_data(record: object) -> Json:
    """Return `record` as dictionaries, lists, strings and numbers."""
    return msgspec.to_builtins(record, enc_hook=_encode)


def from_data(cls: type[T], data: Json) -> T:
    """Return the record of type `cls` that `to_data` turned into `data`.

    Raises:
        msgspec.ValidationError: `data` is invalid; the text says where.
    """
    return msgspec.convert(data, type=cls, dec_hook=_decode)


def _encode(value: object) -> Json:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"no plain form for {type(value).__name__}")


def _decode(cls: type, value: Json) -> Json:
    if cls is Path:
        return Path(value)
    raise NotImplementedError(f"no record form for {cls.__name__}")
