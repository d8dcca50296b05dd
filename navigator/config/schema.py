"""The options as `navigator.schema.json` describes them.

Names, types, defaults, aliases and limits of options are in the schema and nowhere else. Imports jsonschema only when
a configuration is validated.
"""

import difflib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from navigator.errors import quote

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from jsonschema.validators import Draft202012Validator

RUN = "run"
MODEL = "model"
COMMAND_LINE_ONLY = "command line"

_SCOPES = {"model_options": MODEL, "run_options": RUN, "command_line_options": COMMAND_LINE_ONLY}
_LONGEST_KEY = 64
# How alike two words are, from 0 to 1: one is the other with a typing error, and it may be.
_MISSPELT = 0.8
_SIMILAR = 0.65

AUTO = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One key of the schema.

    `choices` and `choice_aliases` are empty if any value of the type will do. A list with `auto` may be the word
    `auto` instead.
    """

    key: str
    scope: str
    notation: str
    description: str
    group: str
    default: Any
    example: Any
    argument: str
    expects: str
    nullable: bool
    auto: bool
    unused: bool
    choices: tuple[str, ...]
    choice_aliases: Mapping[str, str]
    aliases: tuple[str, ...]
    flags: tuple[str, ...]

    @property
    def flag(self) -> str:
        return flag(self.key)


def flag(key: str) -> str:
    """Return the command-line option for `key`."""
    return "--" + key.replace("_", "-")


def schema_path(name: str) -> Path:
    """Return the path of `schemas/<name>`, in an installed package or in a checkout.

    Raises:
        FileNotFoundError: it is in neither; the installation is damaged.
    """
    package = Path(__file__).resolve().parents[1]
    for directory in (package / "schemas", package.parent / "schemas"):
        if (directory / name).is_file():
            return directory / name
    raise FileNotFoundError(f"schemas/{name} is missing from {package}; reinstall model-navigator")


@cache
def schema() -> dict[str, Any]:
    """Return the schema of navigator.yaml."""
    loaded: dict[str, Any] = json.loads(schema_path("navigator.schema.json").read_text(encoding="utf-8"))
    return loaded


@cache
def options() -> Mapping[str, Option]:
    """Return every option by its key, in the order of the schema: model, run, command line."""
    definitions = schema()["$defs"]
    found: dict[str, Option] = {}
    for section, scope in _SCOPES.items():
        properties = definitions[section]["properties"]
        aliases: dict[str, list[str]] = {}
        for key, described in properties.items():
            if "x-alias-of" in described:
                aliases.setdefault(described["x-alias-of"], []).append(key)
        for key, described in properties.items():
            if "x-alias-of" not in described:
                found[key] = _option(key, scope, described, tuple(aliases.get(key, ())))
    return found


@cache
def spellings() -> Mapping[str, str]:
    """Return the canonical key for every accepted one (canonical, alias, kebab-case)."""
    found = {}
    for option in options().values():
        for key in (option.key, *option.aliases):
            found[key] = option.key
            found[key.replace("_", "-")] = option.key
    return found


def nearest(word: str, candidates: Sequence[str]) -> str | None:
    """Return the candidate that `word` is probably a misspelling of, or else the one that shares a rare part with it.

    `seed` is a part of `random_seed`; of the parts of `opset_version`, fewer options have `opset` than `version`.
    """
    if len(word) > _LONGEST_KEY:
        return None
    plain = {_plain(each): each for each in reversed(candidates)}
    alike = {each: difflib.SequenceMatcher(None, _plain(word), each).ratio() for each in reversed(plain)}
    common = Counter(part for each in plain for part in _parts(each))
    shared = {each: sum(1 / common[part] for part in _parts(word) & _parts(each)) for each in alike}
    close = max(alike, key=lambda each: (alike[each], each), default="")
    related = max(alike, key=lambda each: (shared[each], alike[each]), default="")
    if close and alike[close] < _MISSPELT and shared[related]:
        return plain[related]
    return plain[close] if close and alike[close] >= _SIMILAR else None


def _plain(word: str) -> str:
    return word.lower().replace("-", "_")


def _parts(word: str) -> frozenset[str]:
    return frozenset(part.removesuffix("s") for part in _plain(word).split("_") if len(part) > 2)


def flow(value: Any) -> str:
    """Return a plain value as one line of YAML."""
    match value:
        case Mapping():
            return "{" + ", ".join(f"{flow(key)}: {flow(each)}" for key, each in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(flow(each) for each in value) + "]"
        case str():
            return f'"{value}"' if not value or any(mark in value for mark in ",:=[]{}#") else value
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def broken_limits(section: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield where and how canonical values break the schema's limits.

    Args:
        section: canonical keys and values, as `navigator.config.values` makes them.

    Yields:
        (path from the section's key to the value, the problem).
    """
    # The loader checks which keys are allowed and required, since the command line may set them too.
    for key, value in section.items():
        limits = _limits(key)
        text = repr(value)
        if text in limits.kept:
            continue
        broken = [leaf for error in limits.validator.iter_errors(value) for leaf in _leaves(error)]
        if not broken:
            limits.kept.add(text)
        for leaf in broken:
            yield (key, *leaf.absolute_path), _wording(leaf)


@dataclass(frozen=True, slots=True)
class _Limits:
    """The rule of an option, and the values that were found to keep it: thousands of models have most in common."""

    validator: "Draft202012Validator"
    kept: set[str]


@cache
def _limits(key: str) -> _Limits:
    from jsonschema import Draft202012Validator

    definitions = schema()["$defs"]
    rules = {**definitions["run_options"]["properties"], **definitions["model_options"]["properties"]}
    # Readers make values of the type, and jsonschema looks up descriptions too.
    checked = Draft202012Validator.VALIDATORS.keys() - {"type"}
    rule = {name: each for name, each in _inlined(rules[key]).items() if name in checked}
    return _Limits(Draft202012Validator(rule), set())


def _inlined(rule: Any) -> Any:
    """Return a rule with the definitions in place of references to them, which jsonschema looks up every time."""
    if isinstance(rule, list):
        return [_inlined(each) for each in rule]
    if not isinstance(rule, dict):
        return rule
    own = {key: _inlined(each) for key, each in rule.items() if key != "$ref"}
    if "$ref" not in rule:
        return own
    found = _inlined(schema()["$defs"][rule["$ref"].removeprefix("#/$defs/")])
    return {**found, **own} if found.keys().isdisjoint(own) else {"allOf": [found], **own}


def _option(key: str, scope: str, described: Mapping[str, Any], aliases: tuple[str, ...]) -> Option:
    return Option(
        key=key,
        scope=scope,
        notation=described["x-notation"],
        description=described["description"],
        group=described["x-group"],
        default=described.get("default"),
        example=described["examples"][0],
        argument=described["x-argument"],
        expects=described.get("x-expects", ""),
        nullable="default" in described and described["default"] is None,
        auto=any(each.get("const") == AUTO for each in described.get("anyOf", ())),
        unused=described.get("x-unused", False),
        choices=_choices(described) if described["x-notation"] in ("choice", "choices") else (),
        choice_aliases=described.get("x-choice-aliases", {}),
        aliases=aliases,
        flags=tuple(described.get("x-flags", ())),
    )


def _choices(described: Mapping[str, Any]) -> tuple[str, ...]:
    if "enum" in described:
        return tuple(described["enum"])
    if "$ref" in described:
        return _choices(schema()["$defs"][described["$ref"].removeprefix("#/$defs/")])
    return _choices(described["anyOf"][0])


def _leaves(error: "ValidationError") -> Iterator["ValidationError"]:
    """Yield the errors worth reporting: those of the alternative that has the value's type."""
    if error.validator not in ("anyOf", "oneOf") or not error.context:
        yield error
        return
    branches: dict[Any, list[ValidationError]] = {}
    for each in error.context:
        branches.setdefault(each.schema_path[0], []).append(each)
    for errors in branches.values():
        if not any(each.validator in ("type", "enum", "const") and not each.path for each in errors):
            for each in errors:
                yield from _leaves(each)
            return
    yield error


def _wording(error: "ValidationError") -> str:
    value, limit = error.instance, error.validator_value
    shown = quote(value) if isinstance(value, str) else flow(value)
    match error.validator:
        case "minimum":
            return f"must be at least {limit}, got {shown}"
        case "exclusiveMinimum":
            return f"must be greater than {limit}, got {shown}"
        case "maximum":
            return f"must be at most {limit}, got {shown}"
        case "minItems" | "minLength":
            return "must not be empty"
        case "maxLength":
            return f"must be at most {limit} characters long, got {len(str(value))}"
        case "pattern":
            return f"invalid value {shown}"
        case _:
            return f"invalid value {shown}: {error.message}"
