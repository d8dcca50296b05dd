"""Run what needs a GPU on a machine that is there for minutes, and keep what came out, however it ends.

    python -m tests.gpu.visit WHAT [--minutes N] [--models DIRECTORY] [--out DIRECTORY]

WHAT is `tensorrt` (ONNX, TorchScript, torch.export and, through ONNX, SavedModel to engines), `tensorflow` (SavedModel
to TF-TRT), `again` (the tests named by `--tests`, and what needs a GPU alone) or `benchmark`. Jobs of a stage run side
by side, a few on each GPU: each engine's builder reads 1.4 GB first, and with 18 jobs at once the smallest build took a
minute. Where there are several GPUs, the last one is for jobs that need one alone. At the end of a stage's time, jobs
are interrupted, so that they can still write their results.

What came out is `<WHAT>.tar.gz` in `--out`, by default `$OUT`: results, and the ends of logs, written again and again,
so that a visit that is cut off leaves what it had.
"""

import argparse
import contextlib
import io
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from navigator.host.gpus import find_gpus, visible
from tests.gpu import visit_models
from tests.gpu.programs import MAKE

REPOSITORY = Path(__file__).parents[2]
WORK = Path(os.environ.get("VISIT", "/tmp/visit"))
_PYTHON = (sys.executable, "-m")
_PACK_SECONDS = 20
# Of a log, its end; of everything else that is kept, all of it up to this size.
_LOG_BYTES = 40_000
_KEPT_BYTES = 2_000_000
_KEPT = (".txt", ".log", ".json", ".xml", ".yaml", ".md")
# What tests write, and what runs haven't put in its place.
_LEFT_OUT = {"tmp", ".scratch"}
# How many jobs run on a GPU at a time.
_AT_ONCE = 5
_LAST_WORDS_SECONDS = 12


@dataclass(kw_only=True, slots=True)
class Job:
    """A command with a limit in seconds, which has a GPU for itself if it is to be `alone`."""

    name: str
    command: Sequence[str]
    seconds: float
    alone: bool = False


def tests(name: str, files: Sequence[str], seconds: float, *more: str) -> Job:
    """Return a job that runs tests."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-v", "-rA", "--durations=0", "--timeout=480"]
    command += ["-p", "no:cacheprovider", "-W", "default", "-o", "console_output_style=classic"]
    command += [f"--junit-xml={WORK}/{name}/junit.xml", f"--basetemp={WORK}/{name}/tmp"]
    command += [*more, *(f"tests/gpu/{each}" for each in files)]
    return Job(name=name, command=command, seconds=seconds)


def conversions(name: str, document: dict[str, Any], seconds: float) -> Job:
    """Return a job that converts models."""
    directory = WORK / name
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "navigator.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    command = [sys.executable, "-m", "navigator", "convert", "--config-path", f"{directory}/navigator.yaml"]
    command += ["--allow-outside", "--workspace-path", f"{directory}/workspace", "--verbose"]
    return Job(name=name, command=command, seconds=seconds)


def facts(name: str, questions: Sequence[str], seconds: float) -> Job:
    """Return a job that writes down what is here, and what the libraries say."""
    command = [sys.executable, "-m", "tests.gpu.facts", f"{WORK}/{name}", *questions]
    return Job(name=name, command=command, seconds=seconds)


def example_models(*names: str) -> Job:
    """Return a job that makes the examples."""
    return Job(name="make", command=[sys.executable, "examples/make_models.py", "--only", *names], seconds=90)


def programs() -> Job:
    """Return a job that exports examples as programs."""
    directory = REPOSITORY / "examples" / "models"
    script = f"import os\nos.makedirs({str(directory)!r}, exist_ok=True)\nos.chdir({str(directory)!r})\n"
    make = MAKE.format(examples=str(REPOSITORY / "examples"), only=("bert_small.pt2",))
    return Job(name="programs", command=[sys.executable, "-W", "ignore", "-c", script + make], seconds=90)


def stages(what: str, models: Path, left: float, chosen: Sequence[str], *, several: bool) -> list[list[Job]]:
    """Return the stages of a visit, whose jobs share `left` seconds; what needs a GPU alone is in it on `several`."""
    if what == "tensorrt":
        rest = left - 45
        timed = ("machine", "tensorrt", "builder after a fork", "builder after a fork with the kernels")
        others = ("tensorrt without a GPU", "torch", "torch-tensorrt", "onnxruntime")
        documents = visit_models.tensorrt(models)
        return [
            [facts("facts", timed, 45), example_models("conv", "mlp_mixer", "bert_small", "resnet50"), programs()],
            [
                *([alone(rest), benchmark(rest)] if several else []),
                tests("engines", ["test_tensorrt.py", "test_plugin.py"], rest),
                tests("torch", ["test_torch_tensorrt.py"], rest),
                tests("runs", ["test_runs.py"], rest),
                *(conversions(name, document, rest) for name, document in documents.items()),
                tests("onnx", ["test_gpu.py"], rest),
                facts("libraries", others, rest),
                Job(name="plain", command=[*_PYTHON, "tests.gpu.plain", f"{WORK}/plain", str(models)], seconds=rest),
            ],
        ]
    if what == "tensorflow":
        documents = visit_models.tensorflow(models)
        rest = left - 40
        return [
            [facts("facts", ("machine", "tensorflow"), 40), example_models("mobilenetv2")],
            [
                tests("tensorflow", ["test_tf_trt.py"], rest),
                *(conversions(name, document, rest) for name, document in documents.items()),
            ],
        ]
    if what == "benchmark":
        return [[example_models("resnet50")], [benchmark(left - 30)]]
    again = [
        tests(f"again-{place}", [name.removeprefix("tests/gpu/")], left / 2) for place, name in enumerate(chosen, 1)
    ]
    if several:
        jobs = [replace(each, seconds=left - 30) for each in (alone(left), benchmark(left), *again)]
        return [[example_models("resnet50")], jobs]
    return [again, [alone(left / 2)]] if again else [[alone(left)]]


def benchmark(seconds: float) -> Job:
    """Return a job that compares building engines with a plain program."""
    command = [sys.executable, "benchmarks/tensorrt_engines.py", "--out", f"{WORK}/benchmark"]
    return Job(name="benchmark", command=command, seconds=seconds, alone=True)


def alone(seconds: float) -> Job:
    """Return a job that runs the tests that take all of a GPU's memory."""
    return replace(tests("alone", ["test_full_gpu.py"], seconds), alone=True)


class Visit:
    """Runs jobs on `gpus` (UUIDs) and keeps their results in the archive `packed`, in the folder that comes back."""

    def __init__(self, packed: Path, gpus: Sequence[str]) -> None:
        self._packed = packed
        self._shared = list(gpus[:-1] or gpus) * _AT_ONCE
        self._alone = list(gpus[-1:])
        self._ended: dict[str, dict[str, Any]] = {}
        self._begun = time.monotonic()
        self._date = datetime.now(UTC).date().isoformat()
        self._over = threading.Event()
        self._packer = threading.Thread(target=self._pack_regularly, daemon=True)

    def run(self, planned: list[list[Job]]) -> None:
        """Run stages one after another, the jobs of each side by side."""
        self._packer.start()
        try:
            for stage in planned:
                end = time.monotonic() + max(job.seconds for job in stage)
                jobs = {False: queue.SimpleQueue[Job](), True: queue.SimpleQueue[Job]()}
                for job in stage:
                    jobs[job.alone].put(job)
                places = [*((gpu, jobs[False]) for gpu in self._shared), *((gpu, jobs[True]) for gpu in self._alone)]
                with ThreadPoolExecutor(len(places)) as threads:
                    list(threads.map(self._work, *zip(*places, strict=True), [end] * len(places)))
        finally:
            self._over.set()
            self._packer.join()
            self._pack()

    def _work(self, gpu: str, jobs: queue.SimpleQueue[Job], end: float) -> None:
        """Run jobs on a GPU, until there are no more."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._run(jobs.get_nowait(), gpu, end)

    def _run(self, job: Job, gpu: str, end: float) -> None:
        """Run a job for its seconds, but not beyond the end of its stage; the tests of several GPUs see all of them."""
        if time.monotonic() > end - _LAST_WORDS_SECONDS:
            self._ended[job.name] = {"code": None, "seconds": 0, "stopped": "never begun"}
            return
        directory = WORK / job.name
        directory.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        with (directory / "output.txt").open("wb") as output:
            environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
            if job.name != "onnx":
                environment["CUDA_VISIBLE_DEVICES"] = gpu
            environment["PYTHONPATH"] = f"{REPOSITORY}:{environment.get('PYTHONPATH', '')}"
            process = subprocess.Popen(
                job.command, cwd=REPOSITORY, env=environment, stdout=output, stderr=output, start_new_session=True
            )
            late = ""
            for number, patience in (
                (signal.SIGINT, min(job.seconds, end - time.monotonic())),
                (signal.SIGKILL, _LAST_WORDS_SECONDS),
            ):
                try:
                    process.wait(patience)
                    break
                except subprocess.TimeoutExpired:
                    late = number.name
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, number)
            code = process.wait()
        seconds = time.monotonic() - started
        self._ended[job.name] = {"code": code, "seconds": round(seconds, 1), "stopped": late}
        print(f"{time.monotonic() - self._begun:6.1f} s  {job.name}: {code} after {seconds:.0f} s {late}", flush=True)
        for line in (directory / "output.txt").read_text(errors="replace").splitlines()[-25:]:
            print(f"          {line[:300]}", flush=True)

    def _pack_regularly(self) -> None:
        while not self._over.wait(_PACK_SECONDS):
            with contextlib.suppress(OSError, tarfile.TarError):
                self._pack()

    def _pack(self) -> None:
        """Pack logs and results; models, engines and measurements stay."""
        (WORK / "visit.json").write_text(json.dumps({"date": self._date, "jobs": self._ended}, indent=2))
        half = self._packed.with_suffix(".half")
        with tarfile.open(half, "w:gz") as packed:
            for path in sorted(WORK.rglob("*")):
                kept = path.suffix in _KEPT and not _LEFT_OUT.intersection(path.relative_to(WORK).parts)
                if kept and path.is_file() and not path.is_symlink():
                    _add(packed, path)
        half.replace(self._packed)


def _add(packed: tarfile.TarFile, path: Path) -> None:
    content = path.read_bytes()
    content = content[-_LOG_BYTES:] if path.suffix in (".log", ".txt") else content
    if len(content) <= _KEPT_BYTES:
        entry = tarfile.TarInfo(str(path.relative_to(WORK)))
        entry.size = len(content)
        packed.addfile(entry, io.BytesIO(content))


def main() -> None:
    """Run a visit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["tensorrt", "tensorflow", "again", "benchmark"])
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--models", type=Path, default=REPOSITORY / ".gpu" / "models")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "build/visit")))
    parser.add_argument("--tests", nargs="*", default=[], help="tests to run again, as pytest names them")
    arguments = parser.parse_args()
    # What a shell starts in the background ignores it, and so would everything that starts here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if WORK.exists():
        shutil.rmtree(WORK)
    WORK.mkdir(parents=True)
    left = 60 * arguments.minutes - _LAST_WORDS_SECONDS
    gpus = [each.uuid for each in visible(find_gpus()[0], os.environ.get("CUDA_VISIBLE_DEVICES"))]
    planned = stages(arguments.what, arguments.models.resolve(), left, arguments.tests, several=len(gpus) > 1)
    Visit(arguments.out / f"{arguments.what}.tar.gz", gpus or [""]).run(planned)


if __name__ == "__main__":
    main()
