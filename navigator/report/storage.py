"""Writes convert_results.yaml atomically, and reads it as untrusted input."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import yaml

from navigator.config.paths import instead
from navigator.errors import ConfigurationError, quote
from navigator.plain_data import PlainDataError, line_of, parse_yaml
from navigator.records import InvalidRecordError, Json, Report, from_data, to_data
from navigator.safe_files import half_of, read_file, replace_file

RESULTS = "convert_results.yaml"
SUMMARY = "summary.md"
PAGE = "report.html"
REPORT = (RESULTS, SUMMARY, PAGE)
"""The names of the files of a report."""

FILES = (*REPORT, *(str(half_of(Path(name))) for name in REPORT))
"""The files of a report, and what writing them leaves beside them if it's killed."""

VERSION = 1

# Keeps sentences on one line, so that they can be searched.
_WIDTH = 100_000


# The keys whose lists are as long as the configuration.
_LISTS = ("models", "results", "found", "timeline")

# 10,000 conversions are 40 MiB.
_MOST_BYTES = 64 * 2**20


# Strings that other YAML readers (YAML 1.2) read as numbers.
_NUMBER_ELSEWHERE = re.compile(r"[-+]?(\.?\d[\d_]*(\.\d*)?([eE][-+]?\d+)?|0o[0-7]+|0x[0-9a-fA-F]+)")


class ResultsFile:
    """A convert_results.yaml that a run writes after each step: all that is the same as before is formatted once.

    Otherwise, the time to write it would grow with the square of the conversions.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._texts: dict[tuple[str, int], tuple[object, bytes]] = {}

    def write(self, report: Report) -> None:
        """Write the file atomically: readers see the earlier report or this one.

        Raises:
            OSError: it can't be written.
        """
        texts: list[bytes] = []
        for each in fields(report):
            value = getattr(report, each.name)
            if value and each.name in _LISTS:
                texts.append(f"{each.name}:\n".encode())
                texts += [self._text(each.name, index, item) for index, item in enumerate(value)]
            else:
                texts.append(self._text(each.name, -1, value))
        replace_file(self._path, b"".join(texts))

    def _text(self, key: str, index: int, value: object) -> bytes:
        """Return the value of a key, or one item of its list, as lines."""
        known, text = self._texts.get((key, index), (None, b""))
        if text and (known is value or known == value):
            return text
        data = to_data(value)
        text = _dump({key: data} if index < 0 else [data]).encode()
        self._texts[key, index] = value, text
        return text


def write(report: Report, path: Path) -> None:
    """Write convert_results.yaml atomically.

    Raises:
        OSError: it can't be written.
    """
    ResultsFile(path).write(report)


def read(path: Path) -> Report:
    """Return the report that `write` wrote.

    Raises:
        ConfigurationError: it does not exist, is too large, or is not a report of this version.
    """
    try:
        # A model may have replaced the file with a link, or with a pipe that has no writer.
        content = read_file(path, _MOST_BYTES, trusted=path.parent)
        data = parse_yaml(content)
    except (OSError, PlainDataError) as error:
        what = error.strerror if isinstance(error, OSError) else str(error)
        raise _no_results(path, what or str(error)) from error
    version = data.get("version") if isinstance(data, dict) else None
    if version is None:
        raise ConfigurationError(f"{path}: not a results file: it has no version", f"write the path of a {RESULTS}")
    if version != VERSION:
        told = quote(version) if isinstance(version, str) else version
        raise ConfigurationError(
            f"{path}: this is version {told} of {RESULTS}, not {VERSION}",
            "create it with this version of model-navigator",
        )
    try:
        return from_data(Report, data)
    except InvalidRecordError as error:
        raise _no_results(path, f"line {line_of(content, error.path)}: {error}") from error


def _no_results(path: Path, why: str) -> ConfigurationError:
    return ConfigurationError(f"{path}: not a results file: {why}", "run `model-navigator convert` again")


def found_below(path: Path, *, skip: Path | None = None) -> Iterator[Path]:
    """Yield the results files at or below `path`, except those in the directory `skip`.

    Doesn't follow links: a downloaded artifact may contain any.

    Raises:
        ConfigurationError: there's nothing at `path`.
    """
    if not os.path.lexists(path):
        raise ConfigurationError(f"{path} does not exist", instead(path))
    if not path.is_dir():
        yield path
        return
    for directory, below, files in os.walk(path):
        skipped = skip and skip.resolve()
        below[:] = sorted(name for name in below if (Path(directory) / name).resolve() != skipped)
        file = Path(directory) / RESULTS
        if RESULTS in files and file.is_file() and not file.is_symlink():
            yield file


def _dump(data: Json) -> str:
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)


class _Dumper(yaml.CSafeDumper):
    """Writes text that all YAML readers read in the same way, without anchors."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML passes it
        return True


def _text(dumper: yaml.CSafeDumper, value: str) -> yaml.ScalarNode:
    style = None
    if "\n" in value:
        style = "|"
    elif _NUMBER_ELSEWHERE.fullmatch(value):
        style = "'"
    if not value.isascii():
        # A path may contain bytes that are not UTF-8, which Python represents as surrogates.
        value = value.encode("utf-8", "replace").decode()
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _list(dumper: yaml.CSafeDumper, value: Sequence[Json]) -> yaml.SequenceNode:
    shape = bool(value) and all(type(each) is int for each in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=shape or None)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)
_Dumper.add_representer(tuple, _list)
