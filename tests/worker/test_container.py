"""Workers in containers, with real ones: what they cannot do, how they end, and that nothing of them stays behind."""
# ruff: noqa: TID253 - Docker is what is tested

import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import docker
import numpy as np
import pytest

from navigator.converters import torchscript_to_onnx
from navigator.converters.protocol import Conversion
from navigator.records import Format, ModelConfig, TensorSpec, to_data
from navigator.samples import storage as arrays
from navigator.workers.docker.container import LABEL, PROCESSES
from navigator.workers.docker.image import REPOSITORY, Framework
from navigator.workers.docker.pool import Containers
from navigator.workers.local.pool import Task, TaskResult, TaskStatus, Workers

HERE = Path(__file__).parent
GIBIBYTE = 2**30

Client = docker.DockerClient
MakeTask = Callable[..., Task]
Run = Callable[..., TaskResult]
Ours = Callable[[], list[str]]
Volumes = Callable[[], set[str]]
Beside = Callable[[Workers, Task], list[TaskResult]]

_numbers = count()


@pytest.fixture(scope="module")
def containers(framework: str, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """Return containers that all tests share; the test of each also shows that they outlived those before."""
    directory = tmp_path_factory.mktemp("image")
    environment = {**os.environ, "GITHUB_TOKEN": "ghs_token", "CUDA_REPOSITORY_TOKEN": "cuda_token"}
    environment |= {"CUDA_HOME": "/host/cuda", "LD_LIBRARY_PATH": "/host/lib", "OMP_NUM_THREADS": "2"}
    made = Containers(
        image=framework,
        framework=Framework.PYTORCH,
        directory=directory,
        tasks_module="unruly",
        environment=environment,
    )
    with made:
        current = made.image()
        yield made
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    # `images.list` would ask for each image, which another test may have removed by then.
    for image in client.api.images(REPOSITORY, filters={"label": f"model-navigator.framework-image={framework}"}):
        if image["Id"] != current.id and datetime.fromtimestamp(image["Created"], UTC) < an_hour_ago:
            client.images.remove(str(image["Id"]), force=True)  # of an earlier state of the source


@pytest.fixture
def task(tmp_path: Path) -> MakeTask:
    """Make a task in directories of its own."""

    def make(
        name: str,
        *,
        timeout: float = 30.0,
        memory: int = GIBIBYTE,
        variables: Mapping[str, str] = {},
        reads: tuple[Path, ...] = (),
        writes: tuple[Path, ...] = (),
        gpu: str = "",
        **arguments: Any,
    ) -> Task:
        number = next(_numbers)
        return Task(
            name=name,
            arguments=arguments,
            directory=tmp_path / f"task{number}",
            log_path=tmp_path / f"task{number}.log",
            timeout_seconds=timeout,
            memory_limit_bytes=memory,
            variables=variables,
            reads=reads,
            writes=writes,
            gpu=gpu,
        )

    return make


@pytest.fixture
def run(containers: Containers, task: MakeTask) -> Run:
    return lambda name, **arguments: containers.run(task(name, **arguments))


def listed(client: Client) -> list[Mapping[str, Any]]:
    """Return the containers with tasks of these tests: others may run on the same daemon.

    Listed and not inspected, for which Docker lets us wait while it unpacks what is sent.
    """
    found = client.api.containers(all=True, filters={"label": LABEL})
    return [each for each in found if "navigator.workers.docker.init unruly" in each["Command"]]


@pytest.fixture
def ours(client: Client) -> Ours:
    """List the ids of our containers."""
    return lambda: [str(each["Id"]) for each in listed(client)]


@pytest.fixture
def volumes(client: Client) -> Volumes:
    """List the volumes of our containers: the image declares one, so that each of them gets one."""

    def held() -> set[str]:
        names = {str(mount["Name"]) for each in listed(client) for mount in each["Mounts"]}
        assert names
        return names

    return held


def until(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(autouse=True)
def nothing_stays(ours: Ours) -> Iterator[None]:
    yield
    assert until(lambda: not ours())


def none_of(volumes: set[str], client: Client) -> bool:
    return not volumes & {str(volume.id) for volume in client.volumes.list()}


@pytest.fixture
def beside() -> Iterator[Beside]:
    """Run a task in a thread; the list gets its result."""
    threads = []

    def begin(workers: Workers, made: Task) -> list[TaskResult]:
        results: list[TaskResult] = []
        thread = threading.Thread(target=lambda: results.append(workers.run(made)))
        threads.append(thread)
        thread.start()
        return results

    yield begin
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_torchscript_to_onnx_and_verified(
    framework: str, tmp_path: Path, task: MakeTask, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The three tasks of a real conversion, which find their files at the paths that they have here."""
    import torch

    model = tmp_path / "models" / "größe 1" / "mlp.pt"
    model.parent.mkdir(parents=True)
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3)).eval()
    with pytest.warns(Warning, match="deprecated"):
        torch.jit.save(torch.jit.trace(module, torch.rand(2, 4)), model)
    work = tmp_path / "work"
    samples, outputs, artifact = work / "samples", work / "outputs", work / "artifact"
    aside = {name: work / name for name in ("calibration", "noise")}
    artifact.mkdir(parents=True)
    declared = (TensorSpec(name="x", shape=(-1, 4), dtype="float32"),)
    config = ModelConfig(
        model_name="mlp",
        model_path=model,
        model_format=Format.TORCHSCRIPT,
        inputs=declared,
        outputs=(TensorSpec(name="y", shape=(-1, 3), dtype="float32"),),
        max_batch_size=4,
    )
    with Containers(
        image=framework, framework=Framework.PYTORCH, directory=tmp_path_factory.mktemp("image")
    ) as containers:
        reference = containers.run(
            task(
                "reference",
                config=to_data(config),
                memory_bytes=GIBIBYTE,
                samples=str(samples),
                outputs=str(outputs),
                reads=(model,),
                writes=(samples, outputs, *aside.values()),
                **{name: str(path) for name, path in aside.items()},
            )
        )
        assert reference.status is TaskStatus.FINISHED, reference
        signature: Any = reference.value and reference.value["signature"]
        conversion = Conversion(
            source=model,
            destination=artifact / "model.onnx",
            options=torchscript_to_onnx.Options(opset=17),
            samples=samples,
            signature=None,
        )
        converted = containers.run(
            task(
                "convert",
                converter="torchscript_to_onnx",
                conversion=to_data(conversion) | {"signature": signature},
                reads=(model, samples),
                writes=(artifact,),
            )
        )
        assert converted.status is TaskStatus.FINISHED, converted
        verified = containers.run(
            task(
                "infer",
                format="onnx",
                path=str(artifact / "model.onnx"),
                declared=signature,
                signature_name=None,
                device="cpu",
                options={},
                samples=str(samples),
                outputs=str(tmp_path / "work" / "again"),
                reads=(artifact, samples),
                writes=(tmp_path / "work" / "again",),
            )
        )
        assert verified.status is TaskStatus.FINISHED, verified
    expected, actual = arrays.load(outputs), arrays.load(tmp_path / "work" / "again")
    assert [name for name, _ in expected] == [name for name, _ in actual]
    for (_, ours_), (_, theirs) in zip(expected, actual, strict=True):
        assert ours_.keys() == theirs.keys() == {"y"}
        np.testing.assert_allclose(theirs["y"], ours_["y"], 1e-4, 1e-5)
    assert 0 < reference.seconds < 60
    assert 2**27 < reference.peak_memory_bytes < GIBIBYTE, "PyTorch alone holds more than 128 MiB"


def test_framework_that_the_image_lacks(framework: str, tmp_path: Path, task: MakeTask) -> None:
    (tmp_path / "model").mkdir()
    config = ModelConfig(model_name="m", model_path=tmp_path / "model", model_format=Format.TF_SAVEDMODEL)
    made = task(
        "reference",
        config=to_data(config),
        memory_bytes=1,
        samples=str(tmp_path / "a"),
        outputs=str(tmp_path / "b"),
        reads=(tmp_path / "model",),
    )
    with Containers(image=framework, framework=Framework.PYTORCH, directory=tmp_path) as containers:
        result = containers.run(made)
    assert result.status is TaskStatus.FAILED
    assert result.message == "ModuleNotFoundError: No module named 'tensorflow'"
    assert result.remedy == f"use a framework_docker_image that includes it; this one was {framework}"


def test_what_surrounds_a_task(run: Run, containers: Containers, client: Client) -> None:
    found: Any = run("inside", variables={"CUDA_VISIBLE_DEVICES": "GPU-1"}).value
    text = str(found)
    assert not [word for word in ("ghs_token", "GITHUB_TOKEN", "cuda_token", "/host/") if word in text]
    own = dict(each.split("=", 1) for each in client.images.get(containers.image().id).attrs["Config"]["Env"])
    environment = found["environment"]
    assert {name: environment[name] for name in own} == own, "the image's own environment stays as it is"
    assert environment["PYTHONPATH"] == "/opt/model-navigator/source"
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["PYTHONHASHSEED"] == "0"
    assert environment["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert found["user"] == [65534, 65534, 65534, [65534]]
    assert found["capabilities"] == [0] * 5
    assert found["no new privileges"] == "1"
    assert found["writable"] == []
    assert found["sockets"] == []
    assert found["interfaces"] == ["lo"]
    assert found["first process"] == [], "it tells how the task ended: the task cannot speak for it"
    assert found["stdin"] == "/dev/null"
    of_disks = [line.split()[4] for line in found["mounts"].splitlines() if " /dev/" in line.partition(" - ")[2]]
    # Docker's own three, and the volume that the image declares.
    assert sorted(of_disks) == ["/data", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"]


def test_a_container_has_no_network(run: Run, client: Client) -> None:
    bridge = client.networks.get("bridge").attrs["IPAM"]["Config"][0].get("Gateway", "172.17.0.1")
    for host in (bridge, "1.1.1.1"):
        result = run("connect", host=host, port=53)
        assert result.status is TaskStatus.FAILED
        assert re.search("Network is unreachable|Permission denied", result.message)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("segfault", {}, "crashed with SIGSEGV (segmentation fault); last output: loading weights"),
        ("abort", {}, "crashed with SIGABRT (aborted)"),
        ("exit_without_result", {"code": 0}, "ended with exit code 0 without a result"),
        ("exit_without_result", {"code": 3}, "ended with exit code 3 without a result"),
        ("half_result", {}, "ended with exit code 0 without a result"),
        ("foreign_result", {}, "left a damaged result (ended with exit code 0)"),
        ("kill_self", {}, "killed by signal 9, most likely out of memory (peak 0.0"),
    ],
)
def test_crashes_in_a_container_are_named_as_elsewhere(
    run: Run, name: str, arguments: Mapping[str, Any], words: str
) -> None:
    if name == "half_result":
        words = "left a damaged result (ended with exit code 0)"
    result = run(name, **arguments)
    assert result.status is TaskStatus.CRASHED
    assert result.message.startswith(words)
    assert "see /" in result.remedy
    assert result.value is None


def test_result_is_the_only_proof(run: Run) -> None:
    assert run("segfault_after_result").value == "written before"


def test_volume_goes_with_a_task_that_ends(
    containers: Containers, task: MakeTask, client: Client, beside: Beside, volumes: Volumes
) -> None:
    made = task("allocate", bytes=1, seconds=0.5)
    results = beside(containers, made)
    assert until(lambda: made.log_path.exists() and made.log_path.read_text())
    held = volumes()
    assert until(lambda: results)
    assert results[0].status is TaskStatus.FINISHED
    assert none_of(held, client)


def test_error_of_a_step(run: Run) -> None:
    result = run("step_error")
    assert (result.status, result.message) == (TaskStatus.FAILED, "the model has a string input 'text'")
    assert result.remedy == "convert the part after the lookup table"


def test_a_container_that_needs_more_than_its_limit_is_killed(run: Run) -> None:
    result = run("allocate", bytes=GIBIBYTE, memory=GIBIBYTE // 4)
    assert result.status is TaskStatus.CRASHED
    assert result.message == "out of memory: used 0.25 GiB of 0.25 GiB allowed"
    assert "memory_limit_bytes" in result.remedy
    assert result.seconds < 10
    assert GIBIBYTE // 5 < result.peak_memory_bytes < GIBIBYTE // 3


def test_too_little_memory_is_said_before_the_kernel_kills(run: Run) -> None:
    result = run("require", bytes=GIBIBYTE // 2, memory=GIBIBYTE // 4)
    assert result.status is TaskStatus.FAILED
    assert re.fullmatch(r"the test needs about 0\.5 GB of memory, but only 0\.[123] GB is available", result.message)
    assert "memory_limit_bytes" in result.remedy


def test_memory_limit_counts_everything(run: Run) -> None:
    """What a descendant is killed for is named as the cause where the task fails of it."""
    result = run("share_with_forks", bytes=GIBIBYTE // 4, memory=GIBIBYTE // 2)
    assert result.status is TaskStatus.FINISHED, "shared pages count once"
    assert result.peak_memory_bytes < GIBIBYTE // 2
    result = run("fail_with_grandchild", bytes=GIBIBYTE, memory=GIBIBYTE // 4)
    assert result.message == "out of memory: used 0.25 GiB of 0.25 GiB allowed"


def test_sending_files_has_a_deadline(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(10**12)
    monkeypatch.setattr("navigator.workers.docker.pool._START_SECONDS", 0.5)
    result = run("echo", reads=(tmp_path / "large",), timeout=0.1)
    assert (result.status, result.remedy) == (TaskStatus.FAILED, "increase timeout_seconds")
    assert result.message == "sending the files to the container took longer than 0.5 s"


def test_a_container_is_stopped_at_the_deadline_with_its_log(run: Run, task: MakeTask, containers: Containers) -> None:
    made = task("write_while_sleeping", text="so far", timeout=1)
    result = containers.run(made)
    assert (result.status, result.message) == (TaskStatus.TIMED_OUT, "stopped after 1 s")
    assert result.remedy == "increase timeout_seconds"
    assert 1 <= result.seconds < 2
    assert made.log_path.read_text().splitlines()[-1] == "so far"
    assert run("echo", timeout=0.3).status is TaskStatus.FINISHED, "the time of the start is not the task's"


def test_processes_are_bounded(run: Run) -> None:
    result = run("multiply", processes=40, threads=128, memory=8 * GIBIBYTE)
    assert result.status is TaskStatus.FINISHED, result.message
    found: Any = result.value
    assert PROCESSES - 10 < found["count"] < PROCESSES
    assert found["problems"] == ["", "can't start new thread"]
    assert run("echo").status is TaskStatus.FINISHED


def test_the_first_process_cannot_be_killed_from_inside(run: Run) -> None:
    assert run("attack_first_process").value == "sent"


def test_the_log_of_a_container_is_appended_and_its_end_is_shown(containers: Containers, task: MakeTask) -> None:
    made = task("shout", bytes=20_000_000, crash=True)
    made.log_path.write_text("of an earlier task\n")
    result = containers.run(made)
    assert result.status is TaskStatus.CRASHED
    assert result.message.endswith("last output: node 17 is not supported " + "." * 175 + "…")
    with made.log_path.open("rb") as log:
        assert log.readline() == b"of an earlier task\n"
        assert log.readline().startswith(b"=== shout, ")
    assert made.log_path.stat().st_size > 20_000_000


def test_files_there_and_back(run: Run, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    names = ["plain", "größe 模型", f"{'d' * 200}/{'e' * 200}"]
    for name in names:
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_bytes(os.urandom(3_000_000))
        (tree / name).chmod(0o600)
    with (tree / "sub" / "sparse").open("wb") as file:
        file.seek(64 * 2**20)
        file.write(b"end")
    names.append("sub/sparse")
    out, alone = tmp_path / "out", tmp_path / "alone" / "file"
    copies = [(str(tree / name), str(out / name)) for name in names] + [(str(tree / "plain"), str(alone))]
    result = run("copy", copies=copies, tree=str(tree), reads=(tree,), writes=(out, alone, tmp_path / "not made"))
    assert result.value == sorted(str(path) for path in tree.rglob("*"))
    for name in names:
        assert (out / name).read_bytes() == (tree / name).read_bytes()
    assert alone.read_bytes() == (tree / "plain").read_bytes()
    assert not (tmp_path / "not made").exists()


def test_what_is_read_cannot_be_changed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model").write_text("weights")
    result = run("alter", path=str(tmp_path / "model"), reads=(tmp_path / "model",), writes=(tmp_path / "x" / "y",))
    assert result.value == "Permission denied"


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("leave_link", {}, "the worker left 'out/index.json', which is a symbolic link"),
        ("be_a_link", {}, "the worker left 'out', which is a symbolic link"),
        ("leave_pipe", {}, "the worker left 'out/pipe', which is a pipe"),
        ("leave_hole", {"bytes": 2**43}, "the worker left 'out', which is too large for the free disk space"),
        ("forge_result", {}, "the worker left 'result.json', which is a symbolic link"),
    ],
)
def test_nothing_but_files_of_allowed_size_comes_out_of_a_container(
    containers: Containers, task: MakeTask, tmp_path: Path, name: str, arguments: Mapping[str, Any], words: str
) -> None:
    made = task(name, path=str(tmp_path / "out"), writes=(tmp_path / "out",), **arguments)
    result = containers.run(made)
    assert result.status is TaskStatus.FAILED
    if "Permission denied" in result.message:  # where the kernel has Landlock, it wasn't even made
        assert "link" in words or "pipe" in words
        assert not os.path.lexists(tmp_path / "out" / "index.json")
        return
    assert result.message.startswith(words)
    assert result.remedy.startswith("it was discarded")
    assert not os.path.lexists(tmp_path / "out")
    assert sorted(path.name for path in made.directory.iterdir()) == ["request.json"]


def test_gpu_that_docker_cannot_give(run: Run, client: Client) -> None:
    if "nvidia" in client.info()["Runtimes"]:
        pytest.skip("this Docker has the NVIDIA runtime")
    result = run("echo", gpu="GPU-00000000-0000-0000-0000-000000000000")
    assert result.status is TaskStatus.FAILED
    assert result.message == (
        "can't start a container with the GPU GPU-00000000-0000-0000-0000-000000000000: "
        'could not select device driver "" with capabilities: [[gpu]]'
    )
    assert result.remedy.startswith("install the NVIDIA driver and the NVIDIA Container Toolkit")


def test_source_that_is_not_there(run: Run, tmp_path: Path) -> None:
    result = run("echo", reads=(tmp_path / "absent",))
    assert result.status is TaskStatus.FAILED
    assert result.message == f"can't send {tmp_path}/absent: No such file or directory"


def test_arguments_that_are_not_json(run: Run) -> None:
    result = run("echo", value={1, 2})
    assert result.status is TaskStatus.FAILED
    assert "aren't JSON" in result.message


def test_tasks_module_that_cannot_be_imported(framework: str, task: MakeTask, tmp_path: Path) -> None:
    with Containers(
        image=framework, framework=Framework.PYTORCH, directory=tmp_path, tasks_module="no_such_module"
    ) as containers:
        result = containers.run(task("echo"))
    assert result.status is TaskStatus.FAILED
    assert result.message == ("can't import no_such_module: ModuleNotFoundError: No module named 'no_such_module'")


def test_container_killed_from_outside(
    containers: Containers, task: MakeTask, client: Client, beside: Beside, ours: Ours, volumes: Volumes
) -> None:
    made = task("write_while_sleeping", text="so far")
    results = beside(containers, made)
    assert until(lambda: made.log_path.exists() and "so far" in made.log_path.read_text())
    held = volumes()
    client.api.kill(ours()[0])
    assert until(lambda: results)
    assert none_of(held, client)
    assert results[0].status is TaskStatus.CRASHED
    assert results[0].message.startswith("killed by signal 9")
    assert results[0].message.endswith("last output: so far")


@pytest.mark.parametrize("moment", ["running", "sending", "starting"])
def test_a_cancelled_container_leaves_nothing(
    framework: str,
    task: MakeTask,
    tmp_path: Path,
    moment: str,
    client: Client,
    beside: Beside,
    ours: Ours,
    volumes: Volumes,
) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(20 * GIBIBYTE)
    made = task("write_while_sleeping", text="so far", reads=(large,) if moment == "sending" else ())
    with Containers(
        image=framework, framework=Framework.PYTORCH, directory=tmp_path / "image", tasks_module="unruly"
    ) as containers:
        results = beside(containers, made)
        if moment == "running":
            assert until(lambda: made.log_path.exists() and "so far" in made.log_path.read_text())
        elif moment == "sending":
            assert until(ours)
            time.sleep(0.5)
        held = volumes() if moment != "starting" else set()
        began = time.monotonic()
        containers.cancel()
        assert until(lambda: results)
        assert time.monotonic() - began < 3
        assert (results[0].status, results[0].message) == (TaskStatus.CANCELLED, "cancelled")
        assert not ours()
        assert none_of(held, client)
        assert containers.run(task("echo")).status is TaskStatus.CANCELLED


def test_cancel_in_a_signal_handler(framework: str, task: MakeTask, tmp_path: Path) -> None:
    """Ctrl-C comes while the main thread waits for a task."""
    with Containers(
        image=framework, framework=Framework.PYTORCH, directory=tmp_path, tasks_module="unruly"
    ) as containers:
        containers.image()
        before = signal.signal(signal.SIGALRM, lambda *_: containers.cancel())
        try:
            signal.setitimer(signal.ITIMER_REAL, 1.5)
            result = containers.run(task("write_while_sleeping", text="so far"))
        finally:
            signal.signal(signal.SIGALRM, before)
    assert result.status is TaskStatus.CANCELLED


def test_close_ends_everything(
    framework: str,
    task: MakeTask,
    tmp_path: Path,
    client: Client,
    beside: Beside,
    ours: Ours,
    volumes: Volumes,
) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    threads = threading.active_count()
    containers = Containers(image=framework, framework=Framework.PYTORCH, directory=tmp_path, tasks_module="unruly")
    made = [task("write_while_sleeping", text="so far") for _ in range(2)]
    results = [beside(containers, each) for each in made]
    assert until(lambda: all(each.log_path.exists() and "so far" in each.log_path.read_text() for each in made))
    held = volumes()
    assert len(held) == 2
    containers.close()
    assert not ours()
    assert none_of(held, client)
    assert until(lambda: all(results))
    assert [each[0].status for each in results] == [TaskStatus.CANCELLED] * 2
    containers.close()
    assert until(lambda: threading.active_count() == threads)
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208 - a count


PARENT = """
import sys
from pathlib import Path
from navigator.workers.docker.pool import Containers
from navigator.workers.docker.image import Framework
from navigator.workers.local.pool import Task
image, directory, reads = sys.argv[1], Path(sys.argv[2]), tuple(Path(path) for path in sys.argv[3:])
with Containers(image=image, framework=Framework.PYTORCH, directory=directory, tasks_module="unruly") as containers:
    task = Task(name="write_while_sleeping", arguments={"text": "so far"}, directory=directory / "task", reads=reads,
                log_path=directory / "log", timeout_seconds=60, memory_limit_bytes=2**30)
    result = containers.run(task)
    print(result.status, result.message)
"""


@pytest.mark.parametrize("moment", ["running", "sending"])
def test_nothing_outlives_a_killed_parent(
    containers: Containers, framework: str, tmp_path: Path, client: Client, ours: Ours, volumes: Volumes, moment: str
) -> None:
    containers.image()
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(20 * GIBIBYTE)
    arguments = [framework, str(tmp_path), *([str(large)] if moment == "sending" else [])]
    with subprocess.Popen([sys.executable, "-c", PARENT, *arguments], cwd=HERE.parents[1]) as parent:
        assert until(ours)
        if moment == "running":
            assert until(lambda: (tmp_path / "log").exists() and "so far" in (tmp_path / "log").read_text())
        else:
            time.sleep(0.5)
            assert not (tmp_path / "log").read_text()
        held = volumes()
        parent.kill()
    assert until(lambda: not ours(), 5)
    assert until(lambda: none_of(held, client), 5)


def test_from_inside_another_container(containers: Containers, framework: str, tmp_path: Path, client: Client) -> None:
    """All that is shared is Docker's socket: no disk, and so no path that would have to be translated."""
    packages = Path(docker.__file__).parents[1]
    sent = tmp_path / "sdk.tar"
    with tarfile.open(sent, "w") as archive:
        for name in ("docker", "requests", "urllib3", "certifi", "idna", "charset_normalizer"):
            archive.add(packages / name, f"sdk/{name}")
    script = PARENT.replace("write_while_sleeping", "inside")
    outer = client.containers.create(
        containers.image().id,
        ["python3", "-c", script, framework, "/tmp/inner"],
        volumes=["/var/run/docker.sock:/var/run/docker.sock"],
        environment={"PYTHONPATH": "/opt/model-navigator/source:/sdk", "GITHUB_TOKEN": "ghs_token"},
        network_mode="none",
    )
    try:
        with sent.open("rb") as data:
            outer.put_archive("/", data)
        outer.start()
        status = outer.wait()["StatusCode"]
        assert (status, outer.logs().decode()) == (0, "finished \n")
    finally:
        outer.remove(force=True, v=True)
