"""torch.export programs that take or return classes of the model's own code, which nothing here can import."""

import subprocess
import sys
from pathlib import Path

import pytest

from navigator.converters import torch_export_to_onnx
from navigator.errors import StepError
from navigator.models import structure
from navigator.records import Format, Signature
from navigator.runners import torch_export
from tests.support.exports import Exports, change_a_weight, floats

# Registering a class where the program is loaded would hide what is tested.
PROGRAMS = """
import sys
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple
import torch
from torch.utils import _pytree

class Scores(NamedTuple):
    logits: torch.Tensor
    nothing: torch.Tensor | None
    labels: torch.Tensor

@dataclass
class Answer:
    logits: torch.Tensor
    labels: torch.Tensor
    nothing: torch.Tensor | None = None

class Output(OrderedDict):
    "The outputs of transformers are registered like this."

class Cache:
    def __init__(self, keys, values):
        self.keys, self.values = keys, values

_pytree._register_namedtuple(Scores, serialized_type_name="own.Scores")
torch.export.register_dataclass(Answer, serialized_type_name="own.Answer")
_pytree.register_pytree_node(
    Output, lambda made: (list(made.values()), list(made)), lambda values, keys: Output(zip(keys, values)),
    serialized_type_name="own.Output",
)
_pytree.register_pytree_node(
    Cache, lambda made: ([made.keys, made.values], None), lambda values, _: Cache(*values),
    serialized_type_name="own.Cache",
    flatten_with_keys_fn=lambda made: (
        [(_pytree.GetAttrKey("keys"), made.keys), (_pytree.GetAttrKey("values"), made.values)], None
    ),
)

class Returning(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.layer = kind, torch.nn.Linear(4, 3)

    def forward(self, x):
        logits = self.layer(x)
        return self.kind(logits=logits, labels=logits.argmax(-1), **({"nothing": None} if self.kind is Scores else {}))

class Caching(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, x, cache):
        return self.layer(x + cache.keys), Cache(cache.keys + x, 2 * cache.values)

batch = {0: torch.export.Dim("batch", max=8)}
one = torch.ones(2, 4)
for kind in (Scores, Answer, Output):
    program = torch.export.export(Returning(kind), (one,), dynamic_shapes=(batch,))
    torch.export.save(program, f"{sys.argv[1]}/{kind.__name__.lower()}.pt2")
program = torch.export.export(Caching(), (one, Cache(one, one)), dynamic_shapes=(batch, [batch, batch]))
torch.export.save(program, f"{sys.argv[1]}/cache.pt2")
"""

NOTHING = Signature(inputs=(), outputs=())


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("programs")
    subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAMS, str(directory)], check=True, timeout=120)
    return directory


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("scores", ["output__0", "output__2"]),  # the file has no names of fields
        ("answer", ["logits", "labels"]),
        ("output", ["logits", "labels"]),
        ("cache", ["output__0", "output__1__0", "output__1__1"]),
    ],
)
def test_what_is_in_them_is_converted(programs: Path, tmp_path: Path, name: str, outputs: list[str]) -> None:
    source = programs / f"{name}.pt2"
    model = torch_export.load(source, declared=NOTHING)
    assert [spec.name for spec in model.signature.outputs] == outputs
    rows = {spec.name: floats((3, 4), number) for number, spec in enumerate(model.signature.inputs)}
    exports = Exports(
        tmp_path,
        source,
        model,
        [("rows", rows)],
        converter="torch_export_to_onnx",
        options=lambda opset: torch_export_to_onnx.Options(opset=opset),
    )
    path, _ = exports.convert(18)
    assert exports.verdict(path).passed
    change_a_weight(path)
    assert not exports.verdict(path).passed


def test_a_file_tells_their_fields_without_running_it(programs: Path) -> None:
    for name in ("answer", "output"):
        described = structure.read(programs / f"{name}.pt2", Format.TORCH_EXPORT)
        assert [spec.name for spec in described.outputs or ()] == ["logits", "labels"]


def test_a_file_that_no_class_is_missing_from_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"nothing")
    with pytest.raises(StepError, match=r"can't be loaded as a torch\.export program"):
        torch_export.load(tmp_path / "m.pt2", declared=NOTHING)
