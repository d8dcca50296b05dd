"""JSON's types, read from YAML and JSON that others wrote: what was written comes back, all else is a sentence."""

import json
import math
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from navigator.plain_data import PlainDataError, line_of, parse_json, parse_yaml
from navigator.report.storage import _dump

TEXTS = st.text(st.characters(codec="utf-8"))
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    SCALARS.filter(lambda each: not isinstance(each, float) or math.isfinite(each)),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(TEXTS, below, max_size=4),
    max_leaves=12,
)


@given(VALUES)
@example({"<<": {"a": 1}, "=": "=", "y": "no", "1e5": "0x1F", "": ".nan", "~": "1:30", "0o7": "1_000"})
def test_what_was_written_comes_back(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value
    assert repr(parse_yaml(_dump(value).encode())) == repr(value)


@given(st.binary(max_size=200) | st.text("[]{}:,-?!&*|>'\"\\%@#~ \n\t\x00\x85\u2028\ufeff0x.eainf").map(str.encode))
def test_any_bytes_are_data_or_a_sentence(content: bytes) -> None:
    for parse in (parse_yaml, parse_json):
        with suppress(PlainDataError):
            json.dumps(parse(content), allow_nan=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[NaN]", "'NaN' isn't a finite number"),
        ("[-Infinity]", "'-Infinity' isn't a finite number"),
        ("[1e999]", "'1e999' isn't a finite number"),
        ("[18446744073709551616]", "the number '18446744073709551616' has more than 64 bits"),
        ('{"a": 1, "b": 2, "b": 3}', "the key 'b' is there twice"),
        ("[" * 100_000, "nested too deeply"),
        ("", "Expecting value"),
        (b"\xff", "can't decode byte 0xff"),
    ],
)
def test_json_that_is_refused(text: str | bytes, said: str) -> None:
    with pytest.raises(PlainDataError) as refused:
        parse_json(text)
    assert said in str(refused.value)


def test_a_value_has_a_line() -> None:
    content = b"a: 1\nb:\n- x: 1\n- x: 2\n  y:\n    z: [1,\n      2]\n"
    assert parse_yaml(content)["b"][1]["y"]["z"][1] == 2
    lines = {path: line_of(content, path) for path in ((), ("a",), ("b", 1, "y", "z", 1), ("b", 1, "w"), ("b", 0, "x"))}
    assert lines == {(): 1, ("a",): 1, ("b", 1, "y", "z", 1): 7, ("b", 1, "w"): 4, ("b", 0, "x"): 3}


HOSTILE = {
    "sexagesimal": b"a: 1" + b":59" * 100_000,
    "sexagesimal float": b"a: 1" + b":59" * 100_000 + b".5",
    "decimal": b"a: " + b"9" * 300_000,
    "hexadecimal": b"a: 0x" + b"f" * 300_000,
    "float": b"a: " + b"9" * 300_000 + b".0",
    "exponent": b"a: 1e" + b"9" * 300_000,
    "nested lists": b"[" * 300_000,
    "nested mappings": b"{a: " * 100_000,
    "nested blocks": b"- " * 300_000,
    "laughs": b"a: &a [x, x]\nb: &b [*a, *a]\n" * 10_000,
    "keys": b"? " * 100_000,
    "quotes": b"'" * 300_001,
    "one key": b"a" * 300_000 + b": 1",
    "directives": b"%YAML 1.1\n" * 10_000,
    "comments": b"#" * 300_000,
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_no_text_takes_long(content: bytes) -> None:
    with suppress(PlainDataError):
        parse_yaml(content)


def test_the_scalars_are_those_of_the_core_schema() -> None:
    texts = {each: each for each in ("yes", "1_0", "0b1", "2001-01-01", "1:30", "<<", "=")}
    others = {"017": 17, "0x1F": 31, "+1.5E3": 1500, "-.5": -0.5, "~": None, "": None, "TRUE": True, "'1'": "1"}
    for written, meant in {**texts, **others}.items():
        assert parse_yaml(f"a: {written}".encode()) == {"a": meant}, written
    with pytest.raises(PlainDataError, match="line 1: a YAML tag isn't allowed here"):
        parse_yaml(b"! 1")
    assert yaml.safe_load("a: yes") == {"a": True}, "what PyYAML has for these is YAML 1.1's"
