"""Every library that writes an artifact does something wrong, once in each way: whole runs, nothing may pass.

The model of each format is the same: x, mask [batch, 4] -> y, z [batch, 4], alike in shape and type, so that only
values tell them apart.
"""

import json
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

SOURCE_MODELS = Path(__file__).with_name("source_models.py")

# What is done to an artifact: the state that it must end in, and words that the user reads.
EXPECTED = {
    "right": ("passed", "all outputs within tolerance"),
    "wrong weight": ("mismatched", "output 'y'"),
    "slightly wrong weight": ("mismatched", "1 of 16 elements differ)"),
    "NaN weight": ("mismatched", "NaN or infinite"),
    "another model": ("mismatched", "output 'y'"),
    "outputs swapped": ("mismatched", "output 'y'"),
    "inputs swapped": ("mismatched", "elements differ"),
    "mask dropped": ("mismatched", "elements differ"),
    "dropout active": ("mismatched", "output 'y'"),
    "output renamed": ("mismatched", "missing in sample"),
    "output widened": ("mismatched", "got float64"),
    "one batch size": ("failed", "converted, but can't be run"),
    "another opset": ("failed", "opset"),
    "truncated": ("failed", ""),
    "missing": ("failed", ""),
}

# The converter itself sees that a changed opset changed the names.
SEEN_EARLIER = {
    "mask dropped": ("failed", "it changed the inputs"),
    "output renamed": ("failed", "it changed the outputs"),
}

# Where a conversion takes seconds: what exporters were seen to do.
USUAL = ("wrong weight", "slightly wrong weight", "outputs swapped", "inputs swapped", "mask dropped", "one batch size")

MUTATE = '''
import json, os, pathlib, shutil
import numpy as np

KINDS = json.loads((pathlib.Path(__file__).parent / "kinds.json").read_text())


def kind():
    """A worker's directory is .scratch/<model>/<cell>/convert."""
    model, cell = pathlib.Path.cwd().parts[-3:-1]
    return KINDS.get(f"{model} {cell}", "right")


def mutate(model):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph, what = model.graph, kind()

    def rename(old, new):
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]
        for value in (*graph.input, *graph.output, *graph.value_info):
            value.name = new if value.name == old else value.name

    def behind(name, operator, *more, outputs=1, **attributes):
        rename(name, name + "_before")
        next(value for value in graph.output if value.name == name + "_before").name = name
        graph.node.append(helper.make_node(operator, [name + "_before", *more], [name], **attributes))

    def change_weight(change):
        for holder in (*graph.initializer, *(a.t for node in graph.node for a in node.attribute if a.name == "value")):
            array = numpy_helper.to_array(holder)
            if array.shape == (4, 4):
                holder.CopyFrom(numpy_helper.from_array(change(array.copy()), holder.name))
                return
        raise AssertionError("no weight")

    def one(array, value):
        array[2, 1] = value
        return array

    if what == "wrong weight":
        change_weight(lambda array: one(array, array[2, 1] + 0.5))
    elif what == "slightly wrong weight":
        change_weight(lambda array: one(array, array[2, 1] * 1.00002))
    elif what == "NaN weight":
        change_weight(lambda array: one(array, np.nan))
    elif what == "another model":
        change_weight(lambda array: np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32))
    elif what in ("outputs swapped", "inputs swapped"):
        first, second = ("y", "z") if what == "outputs swapped" else ("x", "mask")
        rename(first, "_"), rename(second, first), rename("_", second)
        for values in (graph.input, graph.output):  # in the order of their names, as they were
            ordered = sorted(values, key=lambda value: ["x", "mask", "y", "z"].index(value.name))
            copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in ordered]
            del values[:]
            values.extend(copies)
    elif what == "mask dropped":
        graph.initializer.append(numpy_helper.from_array(np.ones((1, 4), np.float32), "ones"))
        for node in graph.node:
            node.input[:] = ["ones" if name == "mask" else name for name in node.input]
        del graph.input[[value.name for value in graph.input].index("mask")]
    elif what == "dropout active":
        graph.initializer.append(numpy_helper.from_array(np.float32(0.5), "ratio"))
        graph.initializer.append(numpy_helper.from_array(np.array(True), "training"))
        behind("y", "Dropout", "ratio", "training")
    elif what == "output renamed":
        rename("y", "other")
    elif what == "output widened":
        behind("y", "Cast", to=TensorProto.DOUBLE)
        next(value for value in graph.output if value.name == "y").type.tensor_type.elem_type = TensorProto.DOUBLE
        del graph.value_info[:]
    elif what == "one batch size":
        graph.initializer.append(numpy_helper.from_array(np.array([2, 4], np.int64), "two_rows"))
        behind("y", "Reshape", "two_rows")
    elif what == "another opset":
        entry = next(each for each in model.opset_import if each.domain == "")
        entry.version = 12
    return model


def written(path):
    if kind() == "truncated":
        os.truncate(path, os.path.getsize(path) // 2)
    elif kind() == "missing":
        os.unlink(path)
'''

# What wraps the library of each edge; `mutate` and `written` come before it.
EDGES = {
    "onnx": """
        import onnx.version_converter
        from navigator.frameworks.onnx import streamed
        convert_version, save_from = onnx.version_converter.convert_version, streamed.save_from
        onnx.version_converter.convert_version = lambda model, opset: mutate(convert_version(model, opset))
        def save(source, model, path):
            save_from(source, model, path)
            written(path)
        streamed.save_from = save
        """,
    "tf-savedmodel": """
        import onnx
        save_model = onnx.save_model
        def save(model, path, **options):
            save_model(mutate(model), path, **options)
            written(path)
        onnx.save_model = save
        """,
    "torch": """
        import onnx, torch.onnx
        export, save_model = torch.onnx.export, onnx.save_model
        def sabotaged(model, arguments, path, **options):
            result = export(model, arguments, path, **options)
            save_model(mutate(onnx.load(path)), path)
            written(path)
            return result
        torch.onnx.export = sabotaged
        """,
    "copy": """
        import pathlib, shutil
        def sabotaged(copy):
            def run(source, destination, *more, **options):
                if not pathlib.Path(source).name.startswith("model."):  # a part of a directory
                    return copy(source, destination, *more, **options)
                if kind() != "missing":
                    wrong = pathlib.Path(__file__).with_name("wrong" + pathlib.Path(source).suffix)
                    copy(wrong if kind() == "wrong weight" else source, destination, *more, **options)
                found = pathlib.Path(destination)
                for path in [found, *found.rglob("*")] if kind() == "truncated" else []:
                    if path.is_file():
                        os.truncate(path, path.stat().st_size // 2)
            return run
        shutil.copyfile, shutil.copytree = sabotaged(shutil.copyfile), sabotaged(shutil.copytree)
        """,
}


SIGNATURE = """\
inputs: ["x:-1,4:float32", "mask:-1,4:float32"]
outputs: ["y:-1,4:float32", "z:-1,4:float32"]
"""

SOURCES = {
    "onnx": "model.onnx",
    "torchscript": "model.pt",
    "torch-export": "model.pt2",
    "tf-savedmodel": "model.savedmodel",
}

EVERY = tuple(what for what in EXPECTED if what != "right")

TO_ONNX = [
    ("onnx", "onnx", range(14, 26), EVERY),
    ("torchscript", "torch", range(13, 21), EVERY),
    ("torch-export", "torch", range(18, 24), USUAL),
    ("tf-savedmodel", "tf-savedmodel", range(13, 19), USUAL),
]


def prepared(project: Path, source: str) -> str:
    """Write the model of a format, and one with a wrong weight where workers may read it; return the file's name."""
    name = SOURCES[source]
    right, wrong = project / name, project / "sabotage" / f"wrong{Path(name).suffix}"
    wrong.parent.mkdir()
    # A process of its own: PyTorch and TensorFlow do not get on in one.
    command = [sys.executable, str(SOURCE_MODELS), source, str(right), str(wrong)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return name


def sabotage(project: Path, monkeypatch: pytest.MonkeyPatch, edge: str, kinds: dict[str, str]) -> None:
    directory = project / "sabotage"
    (directory / "kinds.json").write_text(json.dumps(kinds))
    (directory / "sitecustomize.py").write_text(MUTATE + textwrap.dedent(EDGES[edge]))
    monkeypatch.setenv("PYTHONPATH", str(directory))


def check(results: dict[str, Any], kinds: dict[str, str], expected: Mapping[str, tuple[str, str]] = EXPECTED) -> None:
    cells = {f"{each['model_name']} {each['conversion']}": each for each in results["results"]}
    assert cells.keys() == kinds.keys()
    for name, what in kinds.items():
        status = cells[name]["status"]
        state, words = expected[what]
        assert (what, status["state"]) == (what, state), status
        assert words in status["message"], (what, status)
        assert (cells[name]["reproduce"] == "") == (state == "passed")


@pytest.mark.fault(
    "A converter computes something else: wrong weights, swapped inputs, a dropped mask, one batch size only, …",
    "The conversion is a mismatch or fails.",
)
@pytest.mark.parametrize(("source", "edge", "opsets", "wrong"), TO_ONNX, ids=[each[0] for each in TO_ONNX])
def test_no_sabotaged_conversion_to_onnx_passes(
    convert: Any,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    edge: str,
    opsets: Sequence[int],
    wrong: Sequence[str],
) -> None:
    """One opset for each kind, the right one last: a file that passed would be what higher opsets are raised from."""
    path = prepared(project, source)
    kinds: dict[str, str] = {}
    models = []
    size = len(opsets) - 1
    for start in range(0, len(wrong), size):
        name = f"m{start}"
        chunk = [*wrong[start : start + size], "right"]
        models.append(f"  - {{model_name: {name}, onnx_opsets: {list(opsets)[: len(chunk)]}}}\n")
        kinds |= {f"{name} onnx_op{opset}": what for opset, what in zip(opsets, chunk, strict=False)}
    sabotage(project, monkeypatch, edge, kinds)
    defaults = f"model_path: {path}\ntarget_formats: onnx\nmax_batch_size: 8\n"
    if source.startswith("torch"):
        defaults += SIGNATURE

    code, results = convert(f"defaults:\n{textwrap.indent(defaults, '  ')}models:\n{''.join(models)}")

    check(results, kinds, EXPECTED | SEEN_EARLIER if source == "onnx" else EXPECTED)
    assert code == 1


@pytest.mark.fault("A copied model is damaged, truncated or missing", "The conversion is a mismatch or fails.")
@pytest.mark.parametrize("source", SOURCES)
def test_no_sabotaged_copy_passes(convert: Any, project: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    path = prepared(project, source)
    label = "onnx" if source == "onnx" else source
    names = {"right": "right", "wrong weight": "wrong", "truncated": "cut", "missing": "missing"}
    kinds = {f"{name} {label}": what for what, name in names.items()}
    sabotage(project, monkeypatch, "copy", kinds)
    defaults = f"model_path: {path}\ntarget_formats: {source}\nmax_batch_size: 8\n"
    if source.startswith("torch"):
        defaults += SIGNATURE
    models = "".join(f"  - model_name: {name}\n" for name in names.values())

    code, results = convert(f"defaults:\n{textwrap.indent(defaults, '  ')}models:\n{models}")

    check(results, kinds)
    assert code == 1
