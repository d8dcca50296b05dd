"""Reads the structure of a file of torch.export: its JSON, without unpickling or importing anything.

See torch/_export/serde/schema.py (torch 2.13). Files of torch up to 2.7 have other names for the same JSON.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import BufferedReader
from pathlib import Path

from navigator.models.archive import Archive
from navigator.models.reading import open_regular
from navigator.models.wire import UnreadableError
from navigator.plain_data import PlainDataError, parse_json
from navigator.records import AxisSpec, Description, Format, Json, TensorSpec

# One to two kilobytes an operator, with where it's from.
_MOST_BYTES = 2**26
_DTYPES = (
    *("unknown", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"),
    *("complex32", "complex64", "complex128", "bool", "bfloat16"),
)
_KNOWN = ("aten", "prims", "prim", "higher_order", "quantized", "quantized_decomposed")
_OPERATOR = re.compile(r"torch\.ops\.(\w+)\.(\w+)")
_SYMBOL = re.compile(r"[A-Za-z_]\w*")
_LONGEST_EXPRESSION = 2000
# A size of this or more has no limit: torch writes its own infinity in several ways.
_UNLIMITED = 2**31


def read(path: Path, _signature_name: str | None, operators: bool) -> Description:
    """See `navigator.models.structure.read`."""
    program = _json(path)
    try:
        return _described(program, operators)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise UnreadableError(f"{type(error).__name__}: {error}") from error


def containers(path: Path) -> Iterator[Json]:
    """Yield what a program takes and returns its tensors in, of torch's JSON: `type`, `context` and `children_spec`.

    Raises:
        UnreadableError: it isn't a file of torch.export.
    """
    try:
        for call in _json(path)["graph_module"]["module_call_graph"]:
            for spec in ("in_spec", "out_spec") if call["signature"] else ():
                yield from _nodes(parse_json(call["signature"][spec])[1])
    except (KeyError, TypeError, IndexError, PlainDataError) as error:
        raise UnreadableError(f"{type(error).__name__}: {error}") from error


def _nodes(tree: Json) -> Iterator[Json]:
    if tree["type"] is not None:
        yield tree
    for child in tree["children_spec"]:
        yield from _nodes(child)


def fields(context: Json, count: int) -> list[str] | None:
    """Return the names of the `count` values in a container, by what torch writes about it; None if it doesn't say.

    Dictionaries have a list of their keys, and so do the outputs of transformers; dataclasses have two lists, of which
    the second are the fields that are None.
    """
    dataclass = isinstance(context, list) and len(context) == 2 and all(isinstance(each, list) for each in context)
    names = context[0] if dataclass else context
    named = isinstance(names, list) and len(names) == count and all(isinstance(each, str | int) for each in names)
    return [str(each) for each in names] if named else None


def _json(path: Path) -> Json:
    with BufferedReader(open_regular(path)) as file:
        archive = Archive(file)
        wanted = ("models/model.json", "serialized_exported_program.json")
        names = [name for name in archive.names if name.endswith(wanted)]
        names = names or [name for name in archive.names if "models/" in name and name.endswith(".json")]
        if not names:
            raise UnreadableError("it holds no program")
        text = archive.read(names[0], _MOST_BYTES)
    if len(text) > _MOST_BYTES:
        raise UnreadableError(f"its program has more than {_MOST_BYTES // 2**20} MiB")
    try:
        return parse_json(text)
    except PlainDataError as error:
        raise UnreadableError(str(error)) from error


def _described(program: Json, operators: bool) -> Description:
    module = program["graph_module"]
    graph, signature = module["graph"], module["signature"]
    values, ranges = graph["tensor_values"], program["range_constraints"]
    inputs = [each["user_input"]["arg"] for each in signature["input_specs"] if "user_input" in each]
    taken = [arg["as_tensor"]["name"] for arg in inputs if "as_tensor" in arg]
    outputs = [each["user_output"]["arg"] for each in signature["output_specs"] if "user_output" in each]
    named = _named_outputs(module, outputs)
    sizes = {name: [_axis(size, ranges) for size in values[node]["sizes"]] for name, node in _pairs(taken, named)}
    described = Description(
        model_format=Format.TORCH_EXPORT,
        inputs=tuple(_spec(name, values[name]) for name in taken),
        outputs=None if named is None else tuple(_spec(name, values[node]) for name, node in named.items()),
        axes={name: tuple(axes) for name, axes in sizes.items() if any(axis.size for axis in axes)},
        producer=f"torch {program['torch_version']}" if program.get("torch_version") else "",
        opsets={str(name): int(version) for name, version in program["opset_version"].items()},
        unknown=() if named is not None else ("the names of its outputs, which torch makes from their containers",),
    )
    return _with_operators(described, graph["nodes"]) if operators else described


def _with_operators(described: Description, nodes: list[Json]) -> Description:
    found = [(_OPERATOR.match(str(node["target"])), node) for node in nodes]
    names = Counter(f"{match[1]}::{match[2]}" for match, _ in found if match)
    return replace(
        described,
        operators=dict(names.most_common()),
        custom_operators=tuple(sorted(name for name in names if name.partition("::")[0] not in _KNOWN)),
        quantized=any(name.startswith("quantized") for name in names),
        training=any(
            each["name"] in ("training", "train") and each["arg"].get("as_bool") is True
            for match, node in found
            if match
            for each in node["inputs"]
        ),
    )


def _pairs(taken: list[str], named: Mapping[str, str] | None) -> Iterator[tuple[str, str]]:
    yield from ((name, name) for name in taken)
    yield from (named or {}).items()


def _spec(name: str, value: Json) -> TensorSpec:
    number = int(value["dtype"])
    dtype = _DTYPES[number] if 0 <= number < len(_DTYPES) else f"type {number}"
    shape = tuple(size.get("as_int", -1) for size in value["sizes"])
    return TensorSpec(name=name, shape=shape, dtype=dtype)


def _axis(size: Json, ranges: Json) -> AxisSpec:
    if "as_int" in size:
        return AxisSpec()
    text = _expression(str(size["as_expr"]["expr_str"]))
    found: dict[str, tuple[int, int | None]] = {}
    for symbol in _SYMBOL.findall(text):
        if symbol in ranges:
            low, high = ranges[symbol].get("min_val"), ranges[symbol].get("max_val")
            limit = None if high is None or high >= _UNLIMITED else int(high)
            # Without a maximum, a minimum of 2 is torch's own default, which isn't checked.
            smallest = 1 if low is None or (limit is None and low <= 2) else max(1, int(low))
            found[symbol] = (smallest, limit)
    return AxisSpec(size=text, ranges=found)


def _expression(written: str) -> str:
    """Return a size as people write it: `past + 1` for `Add(Symbol('past', integer=True), Integer(1))`.

    Older files have it like that already. What can't be read is "".
    """
    if len(written) > _LONGEST_EXPRESSION:
        return ""
    try:
        return _readable(ast.parse(written, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""


def _readable(node: ast.expr) -> str:
    match node:
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name)), *_]):
            return name
        case ast.Call(func=ast.Name(id="Integer"), args=[number]):
            return ast.unparse(number)
        case ast.Call(func=ast.Name(id="Add"), args=terms):
            # Numbers last, as in `past + 1`.
            return " + ".join(sorted(map(_readable, terms), key=lambda term: term.lstrip("-").isdigit()))
        case ast.Call(func=ast.Name(id="Mul"), args=factors):
            return "*".join(f"({text})" if " " in text else text for text in map(_readable, factors))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return f"{name}({', '.join(map(_readable, arguments))})"
        case _:
            return ast.unparse(node)


def _named_outputs(module: Json, outputs: list[Json]) -> Mapping[str, str] | None:
    """Return the nodes of outputs by name: the keys of a flat dictionary, or else `output__<index>`.

    None if they are in other containers, whose fields name them.
    """
    if not all("as_tensor" in each for each in outputs):
        return None
    nodes = [each["as_tensor"]["name"] for each in outputs]
    calls = (each["signature"] for each in module["module_call_graph"] if each["fqn"] == "")
    spec = next((call["out_spec"] for call in calls if call), None)
    tree = parse_json(spec)[1] if spec else None
    if tree is None or any(child["type"] is not None for child in tree["children_spec"]):
        return None
    kind = tree["type"]
    if kind is None or kind in ("builtins.tuple", "builtins.list", "collections.namedtuple"):
        return {f"output__{index}": node for index, node in enumerate(nodes)}
    keys = fields(parse_json(tree["context"]), len(nodes))
    return dict(zip(keys, nodes, strict=True)) if keys else None
