"""Changes the opset of ONNX files.

The only module that calls `onnx.version_converter`. `navigator.verify.compare` checks the numbers of what it makes.
"""

import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from navigator.errors import StepError
from navigator.frameworks.onnx import file as onnx_file
from navigator.frameworks.onnx import names as onnx_names
from navigator.frameworks.onnx import streamed
from navigator.frameworks.onnx import weights as onnx_weights
from navigator.frameworks.onnx.file import DEFAULT_DOMAINS
from navigator.frameworks.onnx.weights import Proto
from navigator.records import Properties

# At these opsets operators got another meaning and nothing but an attribute with a default.
_OTHER_MEANING = {"GroupNormalization": 21, "RoiAlign": 16}

# From this version of the format on, weights needn't be inputs.
_WEIGHTS_ALONE_IR = 4

log = logging.getLogger(__name__)


def change(source: Path, destination: Path, opset: int) -> str:
    """Write the model at `source` to `destination` with another opset of the default domain, checked and read back.

    Keeps the names of inputs, outputs and axes, metadata and the opsets of other domains. Copies external data without
    loading it, so that models over 2 GiB work. Where an opset is lowered, its number alone changes if all operators are
    the same in both; otherwise `onnx.version_converter` tries, and usually fails.

    Args:
        source: an ONNX file.
        destination: the file to write, in another directory, with external data next to it.
        opset: the opset to reach.

    Returns:
        How the opset was changed, for the report.

    Raises:
        StepError: `onnx.version_converter` failed, or its result is invalid. Then no file is left.
    """
    import onnx

    known = onnx.defs.onnx_opset_version()
    if not 1 <= opset <= known:
        raise StepError(
            f"onnx {onnx.__version__} doesn't support opset {opset}", f"set onnx_opsets to {known} or lower"
        )
    # With its weights, the version converter would serialize it several times over: six times their size. It passes on
    # tensors whose values are elsewhere (1.23).
    model = onnx_file.structure(source)
    before, lying = onnx_file.opset_of(model), onnx_weights.lying(model, source)
    if before is None or (opset < before and _is_same(model, before, opset)):
        changed, how = _declaring(model, opset), f"declared as opset {opset}"
        how += f" instead of {before}: its operators are the same in both" if before is not None else ""
    else:
        changed, how = _converted(model, before, opset), f"{_verb(before, opset)} by onnx.version_converter"
    try:
        _require_same_interface(onnx_file.structure(source), changed)
        _require_opset(changed, opset)
        _require_weights(lying, onnx_weights.lying(changed, source))
        with tempfile.TemporaryDirectory(dir=destination.parent) as scratch:
            made = Path(scratch) / destination.name
            onnx_weights.copy_external(changed, source, made)
            streamed.save_from(source, changed, made)
            onnx_file.check(made, made_of=source)
            for path in made.parent.iterdir():
                shutil.move(path, destination.parent / path.name)
    except StepError as error:
        raise _failure(before, opset, error.message) from error
    return how


def raised_or_exported(
    raise_from: Path | None, destination: Path, opset: int, export: Callable[[], Properties]
) -> Properties:
    """Raise the opset of a file if there is one, which is cheaper than exporting again, or else export.

    Args:
        raise_from: an ONNX file of the same model at a lower opset, or None.
        destination: the file to write.
        opset: the opset to reach.
        export: exports to `destination` and returns its properties.

    Returns:
        The properties of the file.
    """
    if raise_from is None:
        return export()
    try:
        how = change(raise_from, destination, opset)
    except StepError as error:
        log.warning("%s; exporting instead", error.message)
        return export()
    return Properties(onnx_opset=opset, exporter=how)


def _converted(model: Proto, before: int, opset: int) -> Proto:
    """Return `model` at another opset, made by `onnx.version_converter`."""
    import onnx
    import onnx.inliner
    import onnx.version_converter

    try:
        # The converter silently drops model-local functions (onnx 1.23).
        inlined = onnx.inliner.inline_local_functions(model) if model.functions else model
        _densify(inlined)
        # Below version 4, it misses weights that aren't inputs, too, which ONNX Runtime allows.
        inlined.ir_version = max(inlined.ir_version, _WEIGHTS_ALONE_IR)
        written = {name for graph in onnx_weights.graphs(inlined) for node in graph.node for name in node.output}
        converted = onnx.version_converter.convert_version(inlined, opset)
    except Exception as error:
        raise _failure(before, opset, onnx_file.sentence(error)) from error
    onnx_names.separate(converted, written)
    lowest = onnx.helper.find_min_ir_version_for(converted.opset_import, ignore_unknown=True)
    converted.ir_version = max(converted.ir_version, lowest)
    return converted


def _densify(model: Proto) -> None:
    """Store sparse weights as all others, since the converter doesn't know them (onnx 1.23)."""
    from onnx import numpy_helper

    for graph in onnx_weights.graphs(model):
        for sparse in graph.sparse_initializer:
            values, places = (numpy_helper.to_array(each) for each in (sparse.values, sparse.indices))
            dense = np.zeros(tuple(sparse.dims), values.dtype)
            dense[np.unravel_index(places, dense.shape) if places.ndim == 1 else tuple(places.T)] = values
            graph.initializer.append(numpy_helper.from_array(dense, sparse.values.name))
        del graph.sparse_initializer[:]


def _declaring(model: Proto, opset: int) -> Proto:
    """Return `model` with another number for its default domain."""
    for part in (model, *model.functions):
        others = [entry for entry in part.opset_import if entry.domain not in DEFAULT_DOMAINS]
        del part.opset_import[:]
        part.opset_import.extend(others)
        part.opset_import.add(domain="", version=opset)
    return model


def _is_same(model: Proto, before: int, opset: int) -> bool:
    """Return whether all operators of the default domain that `model` has are the same at two opsets."""
    return all(
        _means_the_same(node.op_type, before, opset, frozenset(attribute.name for attribute in node.attribute))
        for graph in onnx_weights.graphs(model)
        for node in graph.node
        if node.domain in DEFAULT_DOMAINS
    )


@cache
def _means_the_same(operator: str, newer: int, older: int, given: frozenset[str]) -> bool:
    """Return whether an operator with the attributes `given` is the same at two opsets, but for the types it takes.

    It is if its inputs, outputs and attributes with their defaults are, and if no attribute is given that came later.
    """
    import onnx

    if older < _OTHER_MEANING.get(operator, 0) <= newer:
        return False
    try:
        one, other = (onnx.defs.get_schema(operator, opset, "") for opset in (newer, older))
    except onnx.defs.SchemaError:
        return False
    if one.since_version == other.since_version:
        return True
    now, then = _attributes(one), _attributes(other)
    later = now.keys() - then.keys()
    return _places(one) == _places(other) and now.items() >= then.items() and not later & given


def _attributes(schema: Any) -> Mapping[str, tuple[str, str, bool]]:
    return {
        name: (str(attribute.type), str(attribute.default_value), attribute.required)
        for name, attribute in schema.attributes.items()
    }


def _places(schema: Any) -> list[tuple[str, str]]:
    """Return names and kinds of inputs and outputs."""
    return [(place.name, str(place.option)) for place in (*schema.inputs, *schema.outputs)]


def _require_same_interface(before: Proto, after: Proto) -> None:
    """Raise `StepError` if the converter renamed or lost an input or output."""
    for kind in ("input", "output"):
        expected = [value.name for value in getattr(before.graph, kind)]
        actual = [value.name for value in getattr(after.graph, kind)]
        if expected != actual:
            raise StepError(f"it changed the {kind}s from {expected} to {actual}")


def _require_opset(model: Proto, asked: int) -> None:
    written = onnx_file.opset_of(model)
    if written != asked:
        raise StepError(f"it wrote opset {written} instead")


def _require_weights(before: set[str], after: set[str]) -> None:
    if lost := len(before - after):
        raise StepError(f"it lost {lost} weights")


def _verb(before: int, after: int) -> str:
    return f"{'raised' if after > before else 'lowered'} from opset {before}"


def _failure(before: int | None, after: int, why: str) -> StepError:
    if before is None:
        return StepError(f"the model can't be declared as opset {after}: {why}", "use the file as it is: target onnx")
    keep = f"set onnx_opsets: [{before}]"
    hint = f"lowering an opset rarely works: export the model at opset {after}, or {keep}" if after < before else keep
    return StepError(f"onnx.version_converter can't change opset {before} to {after}: {why}", hint)
