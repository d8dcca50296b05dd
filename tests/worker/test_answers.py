"""What a worker leaves was written by a model: whatever it is, that step fails with a sentence, and nothing else."""

import base64
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from navigator.engine.conversion import run_convert
from navigator.engine.outcomes import Artifact, Failure, Reference
from navigator.engine.reference import run_reference
from navigator.engine.step_context import StepContext
from navigator.engine.subject import Subject
from navigator.engine.verification import run_verify
from navigator.engine.workspace import Workspace
from navigator.records import Device, Format, Properties, State
from navigator.samples.storage import save
from navigator.workers.local.pool import ForkServer
from tests.support.builders import a_model, a_step

SPEC = {"name": "x", "shape": [2], "dtype": "float32"}
SIGNATURE = {"inputs": [SPEC], "outputs": [{**SPEC, "name": "y"}]}
SAMPLES = [{"name": "min", "shapes": {"x": [2]}}]
ANSWERS: dict[str, dict[str, Any]] = {
    "reference": {"signature": SIGNATURE, "properties": {}, "samples": SAMPLES, "unstable": [], "notes": []},
    "convert": {"exporter": "real"},
    "infer": {"signature": SIGNATURE, "properties": {}, "latencies": []},
}
DEEP = 100_000
NOT_RESULTS: dict[str, bytes] = {
    "empty": b"",
    "NUL": b"\0",
    "no UTF-8": b'{"ok": true, "value": "\xff"}',
    "UTF-16": '{"ok": true, "value": {}}'.encode("utf-16"),
    "no mapping": b"[1]",
    "deep": b'{"ok": true, "value": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "digits": b'{"ok": true, "value": ' + b"9" * 10**6 + b"}",
    "NaN": b'{"ok": true, "value": NaN}',
    "huge": b'{"ok": true, "value": 1e999}',
    "twice": b'{"ok": false, "ok": true, "value": {}}',
    "text for a mapping": b'{"ok": true, "value": "\\ud800"}',
    "null": b'{"ok": true, "value": null}',
    "no message": b'{"ok": false}',
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    directory = tmp_path_factory.mktemp("server")
    with ForkServer(preload=(), directory=directory, tasks_module="hostile_answers", environment=here) as started:
        yield started


@pytest.fixture
def units(server: ForkServer, tmp_path: Path) -> Iterator[dict[str, Callable[[], Any]]]:
    """Return the units of work by their tasks' names; their models are written by `says`."""
    source = tmp_path / "m.onnx"
    model, step = a_model(Format.ONNX, model_path=source), a_step("onnx", devices=(Device.CPU,))
    with Workspace(tmp_path / "workspace", clean=False) as workspace:
        context = StepContext(
            workers=server,
            workspace=workspace,
            timeout_seconds=20,
            memory_bytes=2**32,
            timing_cache=tmp_path / "timing",
            verbose=False,
        )

        def reference() -> Reference | Failure:
            return run_reference(model, context=context)

        def convert() -> Artifact | Failure:
            return run_convert(
                model, step, source=source, reference=None, raise_from=None, calibrates=False, context=context
            )

        def infer() -> Failure | None:
            made = tmp_path / "made" / "model.onnx"
            made.parent.mkdir()
            source.rename(made)
            says(tmp_path, result("reference"))
            known = run_reference(model, context=context)
            assert isinstance(known, Reference)
            artifact = Artifact(path=made, properties=Properties(), seconds=0, peak_memory_bytes=0)
            subject = Subject(model=model, step=step, artifact=artifact, reference=known, origin=made)
            verified = run_verify(subject, Device.CPU, context=context)
            return verified if isinstance(verified, Failure) else verified.failure

        yield {"reference": reference, "convert": convert, "infer": infer}


def result(task: str) -> bytes:
    return json.dumps({"ok": True, "value": ANSWERS[task]}).encode()


def says(root: Path, content: bytes, **files: bytes) -> None:
    """Write the model that makes its worker leave a result and the files of its outputs."""
    save(root / "saved", [("min", {"y": np.zeros(2, np.float32)})])
    written = {each.name: each.read_bytes() for each in (root / "saved").iterdir()}
    shutil.rmtree(root / "saved")
    written |= {"0_0.npy" if name == "array" else "index.json": each for name, each in files.items()}
    encoded = {name: base64.b64encode(each).decode() for name, each in written.items()}
    said = {"result": base64.b64encode(content).decode(), "files": encoded}
    (root / "m.onnx").write_text(json.dumps(said))


def changed(value: Any) -> Iterator[Any]:
    """Yield a value with each of its parts, in turn, replaced by what doesn't belong there."""
    strange: Any
    for strange in (-(2**70), 2**63, "\x1b[31m", None, [], {"a": 1}, [None], True, 1e308):
        if type(strange) is not type(value) or strange != value:
            yield strange
    match value:
        case dict():
            for key, below in value.items():
                yield from ({**value, key: each} for each in changed(below))
                yield {name: each for name, each in value.items() if name != key}
        case list():
            for index, below in enumerate(value):
                yield from ([*value[:index], each, *value[index + 1 :]] for each in changed(below))


@pytest.mark.parametrize("task", ANSWERS)
def test_the_right_answer_is_one(units: dict[str, Callable[[], Any]], tmp_path: Path, task: str) -> None:
    says(tmp_path, result(task))
    assert not isinstance(units[task](), Failure)


@pytest.mark.parametrize("task", ANSWERS)
@pytest.mark.parametrize("content", NOT_RESULTS.values(), ids=NOT_RESULTS)
def test_an_answer_that_is_none_is_a_damaged_result(
    units: dict[str, Callable[[], Any]], tmp_path: Path, task: str, content: bytes
) -> None:
    says(tmp_path, content)
    failure = units[task]()
    assert isinstance(failure, Failure), failure
    assert "left a damaged result" in failure.message
    assert "see " in failure.remedy


@pytest.mark.parametrize("task", ["reference", "convert"])
def test_no_part_of_an_answer_is_trusted(units: dict[str, Callable[[], Any]], tmp_path: Path, task: str) -> None:
    """Each is an answer, or a damaged one; an exception here would end the whole run as an internal error."""
    damaged = 0
    for number, value in enumerate(changed(ANSWERS[task])):
        if number % (5 if task == "reference" else 1):
            continue
        says(tmp_path, json.dumps({"ok": True, "value": value}).encode())
        outcome = units[task]()
        damaged += isinstance(outcome, Failure)
        for directory in (tmp_path / "workspace" / ".scratch", tmp_path / "workspace" / "converted"):
            shutil.rmtree(directory, ignore_errors=True)
    assert damaged > 5


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.ljust(118).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("arr_0.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", bytes(8)))
    return made.getvalue()


FILES: dict[str, bytes] = {
    "pickle": b"\x80\x04N.",
    "empty": b"",
    "archive": zipped(),
    "objects": npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", bytes(16)),
    "text": npy("{'descr': '<U2', 'fortran_order': False, 'shape': (2,), }", bytes(16)),
    "dates": npy("{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (2,), }", bytes(16)),
    "records": npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", bytes(8)),
    "larger than all memory": npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**61},), }}"),
    "beyond 64 bits": npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**80},), }}"),
    "negative": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", bytes(8)),
    "no shape": npy("{'descr': '<f4', 'fortran_order': False, 'shape': ('a',), }", bytes(8)),
    "code": npy("__import__('os')"),
    "no Python": npy("{{{"),
    "nested": npy("(" * 90),
    "width 0": npy("{'descr': '|V0', 'fortran_order': False, 'shape': (2,), }"),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_outputs_that_are_no_arrays_fail_the_conversion(
    units: dict[str, Callable[[], Any]], tmp_path: Path, content: bytes
) -> None:
    says(tmp_path, result("infer"), array=content)
    failure = units["infer"]()
    # An array of another type was compared, and did not pass.
    assert failure is None or failure.message.startswith("converted, but its outputs can't be read: ")


@pytest.mark.parametrize(
    "index", [b"", b"{}", b"[1]", b'[{"name": "min"}]', b'[{"name": "min", "files": {"y": 1}}]', b"[" * DEEP, b"\xff"]
)
def test_an_index_that_is_none_fails_the_conversion(
    units: dict[str, Callable[[], Any]], tmp_path: Path, index: bytes
) -> None:
    says(tmp_path, result("infer"), index=index)
    failure = units["infer"]()
    assert isinstance(failure, Failure), failure


@pytest.mark.parametrize("crashes_if", [{"probe": True}, {"search_seconds": "auto"}])
@pytest.mark.parametrize("answer", [result("reference"), b'{"ok": false, "message": "no shapes"}'])
def test_a_model_that_crashes_on_more_than_its_samples_is_run_on_these_alone(
    units: dict[str, Callable[[], Any]], tmp_path: Path, answer: bytes, crashes_if: dict[str, Any]
) -> None:
    """Asking for shapes must not cost a model that runs, nor a search: some runtimes divide by a size."""
    says(tmp_path, answer)
    source = tmp_path / "m.onnx"
    source.write_text(json.dumps({**json.loads(source.read_text()), "crashes_if": crashes_if}))

    outcome = units["reference"]()

    if b"false" in answer:  # what it says without being asked would hide why it wasn't
        assert isinstance(outcome, Failure)
        assert outcome.state is State.CRASHED
    else:
        assert isinstance(outcome, Reference)
        assert any("crashed on inputs besides its samples" in note for note in outcome.notes)
