"""What is around TensorRT's builder and runtime and needs neither: versions, shapes, layers, progress, measurements."""

import itertools
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from navigator.errors import StepError
from navigator.frameworks.tensorrt import engine_file, profile, progress, timing
from tests.support.builders import a_gpu


def engine(path: Path, version: tuple[int, int, int, int], *, magic: bytes = b"ftrt") -> Path:
    """Write the header of an engine of TensorRT 10, as far as it's read."""
    content = bytearray(64)
    content[:4] = magic
    struct.pack_into("<Q", content, 16, len(content))
    content[24:28] = bytes(version)
    path.write_bytes(content)
    return path


def test_an_engine_that_was_refused_is_blamed_on_its_version_only_if_that_differs(tmp_path: Path) -> None:
    path = engine(tmp_path / "model.plan", (10, 6, 0, 26))

    assert engine_file.another_version(path, "10.6.0", rtx=False) is None
    assert engine_file.another_version(path, "10.6.0", rtx=True) is None
    found = engine_file.another_version(path, "10.15.1.29", rtx=False)
    assert found is not None
    assert (found.message, found.hint) == (
        "TensorRT 10.15.1.29 can't load model.plan, an engine of 10.6.0.26",
        "build the engine again, or install TensorRT 10.6.0.26",
    )
    (tmp_path / "model.plan").write_bytes(b"ft")
    assert engine_file.another_version(path, "10.15.1.29", rtx=False) is None


def test_a_layer_is_described_by_its_types_and_its_kernel() -> None:
    layer = {
        "Name": "conv0",
        "LayerType": "CaskConvolution",
        "Inputs": [{"Format/Datatype": "Float"}, {"Format/Datatype": "Float"}],
        "Outputs": [{"Format/Datatype": "Half"}],
        "TacticName": "sm90_xmma",
    }
    assert engine_file.described(layer) == "conv0: CaskConvolution, Float to Half, sm90_xmma"
    assert engine_file.described("conv0") == "conv0"


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((9, 4), "input x: axis 0 is 9, but the engine was built for 1 to 8"),
        ((0, 4), "input x: axis 0 is 0, but the engine was built for 1 to 8"),
        ((1, 5), "input x: axis 1 is 5, but the engine was built for 4"),
    ],
)
def test_a_shape_that_an_engine_was_not_built_for_is_named(shape: tuple[int, ...], message: str) -> None:
    allowed = {"x": ((1, 4), (8, 4))}

    with pytest.raises(StepError) as refusal:
        profile.require_within({"x": shape}, allowed)

    assert refusal.value.message == message
    profile.require_within({"x": (8, 4), "a shape itself": (3,)}, allowed)


def test_progress_is_that_of_the_whole_and_never_falls() -> None:
    told: list[tuple[str, int]] = []
    phases = progress.Phases(lambda phase, percent: told.append((phase, percent)), clock=itertools.count().__next__)

    phases.start("Building engine", None, 2)
    for graph in range(2):
        phases.start("Timing", "Building engine", 4)
        for step in range(4):
            phases.step("Timing", step)
        phases.finish("Timing")
        if graph == 0:  # TensorRT doesn't tell of the last step of all
            phases.step("Building engine", graph)
    phases.finish("Building engine")
    phases.finish("of another build")

    percents = [percent for _, percent in told]
    assert percents == sorted(percents)
    assert ("Timing", 12) in told
    assert ("Timing", 62) in told
    assert told[-1] == ("Building engine", 100)


def test_progress_is_told_ten_times_a_second_and_at_the_end() -> None:
    """Telling is slower than what TensorRT tells of."""
    told: list[tuple[str, int]] = []
    calls = 0

    def clock() -> float:
        nonlocal calls
        calls += 1
        return calls / 100

    phases = progress.Phases(lambda phase, percent: told.append((phase, percent)), clock)
    phases.start("Building engine", None, 1)
    phases.start("Timing", "Building engine", 1000)
    for step in range(1000):
        phases.step("Timing", step)
    phases.finish("Timing")
    phases.finish("Building engine")

    assert 90 <= len(told) <= 110
    assert told[-1] == ("Building engine", 100)


def test_a_build_tells_in_a_file_and_now_and_then_in_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = progress.Told(tmp_path / "progress")

    for percent in range(101):
        told("Timing", percent)

    assert (tmp_path / "progress").read_text() == "Timing, 100 %"
    assert len(capsys.readouterr().err.splitlines()) == 11


@dataclass
class Measured:
    """Stands for TensorRT's timing cache and its configuration: a set of words."""

    words: set[str] = field(default_factory=set)

    def get_timing_cache(self) -> "Measured":
        return self

    def create_timing_cache(self, content: bytes) -> "Measured | None":
        return None if content == b"damaged" else Measured(set(content.decode().split()))

    def combine(self, other: "Measured", *, ignore_mismatch: bool) -> None:
        assert not ignore_mismatch
        self.words |= other.words

    def serialize(self) -> Any:
        return " ".join(sorted(self.words)).encode()


def test_measurements_of_several_builds_are_kept_together(tmp_path: Path) -> None:
    kept = timing.file_of(tmp_path / "timing", a_gpu("NVIDIA H200"), "tensorrt-10.6.0")
    assert kept is not None
    assert kept.name == "NVIDIA_H200-8.9-580-tensorrt-10.6.0.cache"

    timing.keep(Measured({"one"}), kept)
    timing.keep(Measured({"two"}), kept)
    assert kept.read_text() == "one two"
    kept.write_text("damaged")
    timing.keep(Measured({"three"}), kept)

    assert kept.read_text() == "three"
    assert {each.name for each in kept.parent.iterdir()} == {kept.name, f"{kept.name}.lock"}
    timing.keep(Measured({"four"}), None)


def test_a_library_that_fails_leaves_the_measurements_as_they_were(tmp_path: Path) -> None:
    kept = timing.file_of(tmp_path, a_gpu(), "torch-tensorrt-2.11.0")
    assert kept is not None
    kept.write_text("before")

    def build() -> None:
        with timing.borrowed(tmp_path, a_gpu(), "torch-tensorrt-2.11.0") as copy:
            assert copy is not None
            assert copy.read_text() == "before"
            copy.write_text("half")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        build()
    with timing.borrowed(None, a_gpu(), "torch-tensorrt-2.11.0") as copy:
        assert copy is None

    assert kept.read_text() == "before"
