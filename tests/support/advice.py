"""What the product advises, as its source code has it: a template for each text, with {} for what it's filled with."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

_PACKAGE = Path(__file__).parents[2] / "navigator"

# Callables whose second argument is what to do, besides the classes of errors.
_BY_POSITION = frozenset({"Failure", "Unavailable", "refuse"})
_KEYWORDS = frozenset({"hint", "remedy"})
_CONSTANTS = re.compile(r"_?\w*(ADVICE|INSTEAD|REMEDY|HINT|FAST_PATH)\w*")


def advised(without: tuple[str, ...]) -> dict[str, str]:
    """Return the module of each template; what is passed on from another error is left out.

    Args:
        without: how the paths of modules begin that are left out.
    """
    found: dict[str, str] = {}
    for path in sorted(_PACKAGE.rglob("*.py")):
        module = str(path.relative_to(_PACKAGE))
        if not module.startswith(without):
            found |= dict.fromkeys(_templates(ast.parse(path.read_text(encoding="utf-8"))), module)
    return found


def matches(template: str, text: str) -> bool:
    """Return whether a text has what a template says, filled."""
    return re.search(".*".join(re.escape(part) for part in template.split("{}")), text) is not None


def _templates(tree: ast.Module) -> Iterator[str]:
    constants = {
        target.id: list(_written(node.value, {}))
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for name, texts in constants.items():
        if _CONSTANTS.fullmatch(name):
            yield from filter(_is_advice, texts)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        if "advice" in function.name or function.name in ("instead", "example"):
            yield from filter(_is_advice, _returned(function))
        if function.returns is not None and "tuple[str, str]" in ast.unparse(function.returns):
            yield from filter(_is_advice, _second(function, {**constants, **_assigned(function)}))
    for scope in (*functions, tree):
        known = {**constants, **_assigned(scope)}
        for node in ast.walk(scope):
            if isinstance(node, ast.Call) and (hint := _hint(node)) is not None:
                yield from filter(_is_advice, _written(hint, known))


def _returned(function: ast.FunctionDef) -> Iterator[str]:
    """Yield the texts that a function returns, or adds to a list of them."""
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            yield from _written(node.value, {})
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
            yield from _written(node.args[0], {})


def _second(function: ast.FunctionDef, known: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield what a function says to do that returns or yields pairs: what is wrong, and what to do."""
    for node in ast.walk(function):
        if isinstance(node, ast.Return | ast.Yield | ast.DictComp) and node.value is not None:
            pairs = (each for each in ast.walk(node.value) if isinstance(each, ast.Tuple) and len(each.elts) == 2)
            yield from (text for pair in pairs for text in _written(pair.elts[1], known))


def _assigned(scope: ast.AST) -> dict[str, list[str]]:
    """Return the texts that are assigned to each name within a function."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(scope) if isinstance(scope, ast.FunctionDef) else ():
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, []).extend(_written(node.value, {}))
    return found


def _hint(call: ast.Call) -> ast.expr | None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    for keyword in call.keywords:
        if keyword.arg in _KEYWORDS:
            return keyword.value
    if (name.endswith("Error") or name in _BY_POSITION) and len(call.args) > 1:
        return call.args[1]
    return call.args[2] if name in ("add", "wrong", "stop", "_Rule") and len(call.args) > 2 else None


def _written(node: ast.expr, known: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield the texts that an expression may be."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=values):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            yield from (one + other for one in _written(left, known) for other in _written(right, known))
        case ast.IfExp(body=body, orelse=orelse):
            yield from (*_written(body, known), *_written(orelse, known))
        case ast.BoolOp(values=values):
            yield from (text for each in values for text in _written(each, known))
        case ast.Call(func=ast.Attribute(attr="get"), args=[_, default]):
            yield from _written(default, known)
        case ast.Name(id=name):
            yield from known.get(name, ())
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            yield from (text for each in parts for text in _written(each, known))
        case ast.Dict(values=parts):
            yield from (text for each in parts for text in _written(each, known))
        case _:
            return


def _is_advice(text: str) -> bool:
    """Return whether a text is more than a name or what it's filled with."""
    return len(text.replace("{}", "").split()) > 1
