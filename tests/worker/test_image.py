"""Framework images and the conversion images made of them, with real builds; and the sentence for each that fails."""
# ruff: noqa: TID253 - Docker is what is tested

import gc
import gzip
import hashlib
import http.server
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import time
import tomllib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound

import navigator
from navigator.records import Format
from navigator.workers.docker import prepare as preparing
from navigator.workers.docker.connection import CancelledError, ContainerError, connection, refused
from navigator.workers.docker.container import LABEL
from navigator.workers.docker.image import REPOSITORY, REQUIREMENTS, ConversionImage, Framework, framework_of, prepare
from navigator.workers.docker.pool import Containers
from navigator.workers.docker.pull import Progress
from navigator.workers.local.pool import Task, TaskStatus

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BASE = "python:3.11-slim-bookworm"
VARIANT = "model-navigator-test-variant"
SITE_PACKAGES = "/usr/local/lib/python3.11/site-packages"

Client = docker.DockerClient
Vary = Callable[..., str]

_numbers = count()


@pytest.fixture
def vary(client: Client) -> Iterator[Vary]:
    """Make images that differ a little from others; they and what was built of them go with the test."""
    made = []

    def make(
        base: str, *changes: str, files: Mapping[str, str] = {}, run: Sequence[str] = ("true",), tag: str = ""
    ) -> str:
        container = client.containers.create(base, list(run), entrypoint="")
        try:
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as archive:
                for name, text in files.items():
                    member = tarfile.TarInfo(name)
                    member.size, member.mode = len(text), 0o755
                    archive.addfile(member, io.BytesIO(text.encode()))
            container.put_archive("/", buffer.getvalue())
            container.start()
            assert container.wait()["StatusCode"] == 0
            made.append(f"{VARIANT}:{tag or next(_numbers)}")
            container.commit(VARIANT, made[-1].partition(":")[2], changes=list(changes))
        finally:
            container.remove(force=True, v=True)
        return made[-1]

    yield make
    for name in dict.fromkeys(made):
        forget(client, name)


def forget(client: Client, name: str) -> None:
    """Remove an image with all that was built of it, and with what is left of builds that failed."""
    own = str(client.images.get(name).id)

    def above(image: str) -> Iterator[str]:
        with suppress(ImageNotFound):  # other tests remove theirs meanwhile
            while image:
                yield image
                image = client.images.get(image).attrs["Parent"]

    # `images.list` would ask for each image, which may be gone by then.
    listed = (*client.api.images(REPOSITORY), *client.api.images(filters={"dangling": True}))
    built = [str(each["Id"]) for each in listed]
    for image in [each for each in built if own in tuple(above(each))]:
        client.images.remove(image, force=True)
    client.images.remove(name, force=True)


@pytest.fixture
def collected() -> Iterator[None]:
    """Where it cannot connect, the SDK (7.2.0) leaves its socket to the garbage collector, which warns of that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def until(condition: Callable[[], object], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def nothing() -> None:
    """Stop nobody."""


def prepared(
    image: str,
    framework: Framework = Framework.PYTORCH,
    *,
    rebuild: bool = False,
    said: list[str] | None = None,
    log: io.BytesIO | None = None,
) -> ConversionImage:
    sentences = [] if said is None else said
    with connection() as api:
        return prepare(
            api,
            image,
            framework,
            rebuild=rebuild,
            log=log or io.BytesIO(),
            on_progress=sentences.append,
            check=nothing,
        )


@pytest.mark.parametrize("source", Format)
def test_savedmodels_are_converted_in_tensorflows_image_and_all_others_in_pytorchs(source: Format) -> None:
    assert (framework_of(source) is Framework.TENSORFLOW) == (source is Format.TF_SAVEDMODEL)


def test_requirements_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = {*project["dependencies"], *(each for extra in project["optional-dependencies"].values() for each in extra)}
    assert {each for wanted in REQUIREMENTS.values() for each in wanted.values()} <= known


def test_an_image_is_built_once_unless_a_rebuild_is_asked_for(framework: str, client: Client, vary: Vary) -> None:
    framework = vary(framework, "LABEL a=built-once")  # other processes run containers of what is built of `framework`
    one = prepared(framework)
    said, anew = list[str](), list[str]()
    assert prepared(framework, said=said) == one
    assert said == []
    log = io.BytesIO()
    other = prepared(framework, said=anew, rebuild=True, log=log)
    assert anew == [f"building the conversion image of {framework}", f"built {REPOSITORY}:{one.key}"]
    assert (other.key, other.framework_id) == (one.key, one.framework_id)
    assert other.id != one.id
    assert other.framework_id == client.images.get(framework).id
    assert b"model-navigator: nothing is missing\n" in log.getvalue()
    assert b"pip" not in log.getvalue(), "nothing asked the network for anything"


def test_all_that_the_image_holds_of_our_source_can_be_imported(framework: str, client: Client) -> None:
    script = (
        "import importlib, pkgutil, navigator\n"
        "for each in pkgutil.walk_packages(navigator.__path__, 'navigator.'):\n"
        "    if not each.name.endswith('__main__'): print(importlib.import_module(each.name).__name__)"
    )
    container = client.containers.create(prepared(framework).id, ["python3", "-P", "-c", script], network_mode="none")
    try:
        container.start()
        status, said = container.wait()["StatusCode"], container.logs().decode()
    finally:
        container.remove(force=True, v=True)
    assert status == 0, said
    assert {"navigator.workers.tasks", "navigator.workers.docker.init"} <= {*said.split()}
    assert "navigator.render" not in said


def test_another_image_of_the_same_name_is_another(framework: str, vary: Vary) -> None:
    name = vary(framework, "LABEL a=1", tag="same")
    one = prepared(name)
    assert vary(framework, "LABEL a=2", tag="same") == name
    other = prepared(name)
    assert one.framework_image == other.framework_image
    assert one.framework_id != other.framework_id
    assert one.key != other.key
    assert one.id != other.id


def test_another_version_of_our_source_is_another(framework: str, client: Client, tmp_path: Path) -> None:
    one = prepared(framework)
    source = tmp_path / "navigator"
    shutil.copytree(Path(navigator.__file__).parent, source, ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import io; from navigator.workers.docker.image import *\n"
        "from navigator.workers.docker.connection import connection\n"
        "with connection() as api: print(prepare(api, sys.argv[1], Framework.PYTORCH, rebuild=False, log=io.BytesIO(),"
        " on_progress=print, check=lambda: None).key)"
    )

    def lines() -> list[str]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-P", "-c", f"import sys; {script}", framework]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split("\n")

    assert lines()[0] == one.key, "the same files elsewhere are the same"
    with (source / "render" / "markdown.py").open("r+") as file:
        file.seek(0, os.SEEK_END)
        file.write("# changed\n")
    assert lines()[0] == one.key, "no worker renders anything"
    with (source / "converters" / "copy.py").open("a") as file:
        file.write("# changed\n")
    *said, key, _ = lines()
    assert said[0].startswith("building")
    assert key != one.key
    client.images.remove(f"{REPOSITORY}:{key}", force=True)


def test_what_the_image_lacks_is_added_and_nothing_else_changes(framework: str, client: Client, vary: Vary) -> None:
    """The image has another user, entry point and PYTHONPATH, and says that it has a TensorFlow of long ago."""
    info = f"{SITE_PACKAGES}/tensorflow-2.17.1.dist-info"
    name = vary(
        framework,
        "ENV PYTHONPATH=/their/own",
        "USER 1000",
        'ENTRYPOINT ["/bin/false"]',
        files={
            f"{info}/METADATA": "Metadata-Version: 2.1\nName: tensorflow\nVersion: 2.17.1\n",
            f"{info}/top_level.txt": "tensorflow\n",
            f"{SITE_PACKAGES}/tensorflow/__init__.py": "",
        },
        run=("sh", "-c", f"rm -rf {SITE_PACKAGES}/psutil*"),
    )
    log = io.BytesIO()
    try:
        made = prepared(name, Framework.TENSORFLOW, log=log)
    except ContainerError as error:
        if "pip can't install" in error.message and any(word in log.getvalue() for word in (b"Retrying", b"resolve")):
            pytest.skip(f"no package index can be reached from a build: {error.message}")
        raise

    def packages(image: str) -> dict[str, str]:
        command = ["python3", "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"]
        container = client.containers.create(image, entrypoint=command, user="root", network_mode="none")
        try:
            container.start()
            assert container.wait()["StatusCode"] == 0
            return dict(line.split("==") for line in container.logs(stderr=False).decode().splitlines())
        finally:
            container.remove(force=True, v=True)

    before, after = packages(name), packages(made.id)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"psutil", "tf_keras"}
    assert after["tf_keras"].startswith("2.17."), "each release fits one of TensorFlow"
    environment = client.images.get(made.id).attrs["Config"]["Env"]
    assert "PYTHONPATH=/opt/model-navigator/source:/their/own" in environment


def test_an_image_whose_tensorflow_excludes_onnx_ir_goes_without(framework: str, client: Client, vary: Vary) -> None:
    """TensorFlow 2.17 pins an ml-dtypes that onnx-ir refuses; only fp16 and int8 ONNX files need that."""
    tensorflow = f"{SITE_PACKAGES}/tensorflow-2.17.1.dist-info"
    older = (
        f"cd {SITE_PACKAGES} && rm -rf onnx_ir* onnxscript* && mv ml_dtypes-*.dist-info ml_dtypes-0.4.1.dist-info"
        " && sed -i 's/^Version: .*/Version: 0.4.1/' ml_dtypes-0.4.1.dist-info/METADATA"
    )
    name = vary(
        framework,
        files={
            f"{tensorflow}/METADATA": "Metadata-Version: 2.1\nName: tensorflow\nVersion: 2.17.1\n",
            f"{tensorflow}/top_level.txt": "tensorflow\n",
            f"{SITE_PACKAGES}/tensorflow/__init__.py": "",
        },
        run=("sh", "-c", older),
    )
    log = io.BytesIO()

    made = prepared(name, Framework.TENSORFLOW, log=log)

    assert b"goes without onnx-ir>=0.1.14: " in log.getvalue()
    script = "from navigator.frameworks.onnx import graph; graph.read('model.onnx')"
    with pytest.raises(docker.errors.ContainerError, match="fp16 and int8 ONNX files need onnx-ir, which isn"):
        client.containers.run(made.id, ["python3", "-c", script], remove=True, network_mode="none")


def test_python_that_is_too_old(vary: Vary) -> None:
    """A script stands in for an old Python: it tells that version of itself, to what it runs too."""
    pretend = (
        "import sys, platform; sys.version_info = (3, 8, 13); platform.python_version = lambda: '3.8.13'; "
        "sys.argv = sys.argv[1:]; exec(open(sys.argv[0]).read())"
    )
    script = f'#!/bin/sh\nexec /usr/local/bin/python3.11 -c "{pretend}" "$@"\n'
    name = vary(BASE, files={"/usr/local/bin/python3": script})
    with pytest.raises(ContainerError) as error:
        prepared(name)
    assert error.value.message == (f"{name} can't run workers: it has Python 3.8.13; workers need 3.11 or newer")
    assert error.value.hint == (
        "choose another container_version (NVIDIA's images have Python 3.12 from 24.12 on) or framework_docker_image"
    )


def test_the_check_of_the_version_can_be_read_by_an_old_python() -> None:
    """Up to there, nothing may be newer than what the oldest Python in use can parse."""
    import ast

    text = (ROOT / "navigator" / "workers" / "docker" / "provision.py").read_text()
    ast.parse(text, feature_version=(3, 6))


class Registry(http.server.BaseHTTPRequestHandler):
    """An image registry with one image of three layers, none of which is a Python; it may want a password."""

    blobs: dict[str, bytes]
    manifest: bytes
    locked: bool

    def do_GET(self) -> None:
        status, content, headers = 404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}', {}
        if self.locked:
            status, headers = 401, {"WWW-Authenticate": 'Basic realm="secret"'}
        elif self.path == "/v2/":
            status, content = 200, b"{}"
        elif "/there/manifests/" in self.path:
            kind = "application/vnd.docker.distribution.manifest.v2+json"
            status, content, headers = 200, self.manifest, {"Content-Type": kind}
        elif "/there/blobs/" in self.path:
            status, content = 200, self.blobs[self.path.rpartition("/")[2]]
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815 - their names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def registry(client: Client) -> Iterator[str]:
    """Return the address of a registry, which Docker trusts since it is on this machine."""
    layers = []
    for number in range(3):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            member = tarfile.TarInfo(f"file{number}")
            member.size = 100_000
            archive.addfile(member, io.BytesIO(os.urandom(member.size)))
        layers.append(buffer.getvalue())
    packed = [gzip.compress(layer) for layer in layers]
    root = {"type": "layers", "diff_ids": [digest(layer) for layer in layers]}
    description = json.dumps({"architecture": client.version()["Arch"], "os": "linux", "rootfs": root}).encode()
    kind = "application/vnd.docker"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.distribution.manifest.v2+json",
        "config": {
            "mediaType": f"{kind}.container.image.v1+json",
            "size": len(description),
            "digest": digest(description),
        },
        "layers": [
            {"mediaType": f"{kind}.image.rootfs.diff.tar.gzip", "size": len(each), "digest": digest(each)}
            for each in packed
        ],
    }
    Registry.blobs = {digest(each): each for each in (description, *packed)}
    Registry.locked = False
    Registry.manifest = json.dumps(manifest).encode()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_pull_of_an_image_without_python(registry: str, client: Client) -> None:
    name, said = f"{registry}/there:1", list[str]()
    try:
        with pytest.raises(ContainerError) as error:
            prepared(name, said=said)
    finally:
        forget(client, name)
    assert error.value.message == f"{name} can't run workers: it has no python3"
    assert said[0] == f"pulling {name}"
    assert said[1].startswith(f"pulled {name} in ")
    assert "3 of 3 layers" in said[1]


@pytest.mark.parametrize(
    ("locked", "reason", "remedy"),
    [
        (False, "manifest unknown", "fix container_version or framework_docker_image"),
        (True, "no basic auth credentials", "check the image name, and log in to its registry with 'docker login'"),
    ],
)
def test_image_that_the_registry_does_not_give(registry: str, locked: bool, reason: str, remedy: str) -> None:
    Registry.locked = locked
    with pytest.raises(ContainerError) as error:
        prepared(f"{registry}/absent:1")
    assert error.value.message.startswith(f"can't pull {registry}/absent:1: ")
    assert reason in error.value.message
    assert error.value.hint == remedy


@pytest.mark.parametrize(
    ("name", "words", "remedy"),
    [
        ("127.0.0.1:1/framework:1", "connection refused", "check Docker's network and proxy"),
        ("Not a name", "invalid reference format", "fix container_version or framework_docker_image"),
    ],
)
def test_image_that_cannot_be_asked_for(framework: str, name: str, words: str, remedy: str) -> None:
    with pytest.raises(ContainerError, match=words) as error:
        prepared(name)
    assert error.value.hint.startswith(remedy)


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("write /var/lib/docker/tmp/GetImageBlob1: no space left on device", "free up space on Docker's disk"),
        ('Get "https://nvcr.io/v2/": dial tcp: lookup nvcr.io: no such host', "check Docker's network and proxy"),
        (
            "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1",
            "install the NVIDIA driver",
        ),
        ("pull access denied for a/b, repository does not exist or may require 'docker login'", "check the image name"),
        ("something new", "make sure 'docker info' works"),
    ],
)
def test_each_refusal_of_docker_has_its_remedy(reason: str, remedy: str) -> None:
    error = refused("do it", f"{reason}\nand a second line")
    assert error.message == f"can't do it: {reason}"
    assert error.hint.startswith(remedy)


def test_progress_says_little() -> None:
    """A pull of half an hour, told by Docker in 60 000 lines."""
    said, now = list[str](), [0.0]
    progress = Progress("nvcr.io/nvidia/pytorch:25.02-py3", said.append, lambda: now[0])
    progress.take({"status": "Pulling from nvidia/pytorch", "id": "25.02-py3"})
    for layer in range(60):
        progress.take({"status": "Pulling fs layer", "id": f"layer{layer}", "progressDetail": {}})
    for layer in range(60):
        for part in range(1000):
            now[0] += 0.03
            detail = {"current": (part + 1) * 150_000, "total": 150_000_000}
            progress.take({"status": "Downloading", "id": f"layer{layer}", "progressDetail": detail})
        progress.take({"status": "Pull complete", "id": f"layer{layer}", "progressDetail": {}})
    progress.end()
    assert len(said) < 15
    assert said[0] == "pulling nvcr.io/nvidia/pytorch:25.02-py3"
    assert said[1] == "pulling nvcr.io/nvidia/pytorch:25.02-py3: 0 of 60 layers, 0.03 GB fetched"
    assert said[-1] == "pulled nvcr.io/nvidia/pytorch:25.02-py3 in 1800 s: 60 of 60 layers, 9.00 GB fetched"


def some_task(tmp_path: Path, name: str = "task") -> Task:
    return Task(
        name="echo",
        arguments={},
        directory=tmp_path / name,
        log_path=tmp_path / f"{name}.log",
        timeout_seconds=10,
        memory_limit_bytes=2**30,
    )


@pytest.mark.parametrize(("listening", "words"), [(False, "no such file or directory"), (True, "connection refused")])
@pytest.mark.usefixtures("collected")
def test_without_a_daemon_the_task_fails_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listening: bool, words: str
) -> None:
    path = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with socket.socket(socket.AF_UNIX) as dead:
        if listening:
            dead.bind(str(path))  # as after a daemon that was killed
        with Containers(image="a:1", framework=Framework.PYTORCH, directory=tmp_path) as containers:
            result = containers.run(some_task(tmp_path))
    assert result.status is TaskStatus.FAILED
    assert result.message == f"the Docker daemon at unix://{path} isn't reachable: {words}"
    assert result.remedy == "start Docker, set DOCKER_HOST to its address, or set launch_mode: local"


@pytest.mark.usefixtures("collected")
def test_user_who_may_not_use_docker(framework: str) -> None:
    if os.getuid() != 0 or os.environ.get("DOCKER_HOST"):
        pytest.skip("needs to be root, and Docker's usual socket")
    os.seteuid(65534)
    try:
        with pytest.raises(ContainerError) as error, connection():
            pass
    finally:
        os.seteuid(0)
    assert error.value.message == "this user isn't allowed to use the Docker daemon at unix:///var/run/docker.sock"
    assert error.value.hint == "add the user to the docker group, or set launch_mode: local"


def test_sdk_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with Containers(image="a:1", framework=Framework.PYTORCH, directory=tmp_path) as containers:
        result = containers.run(some_task(tmp_path))
    assert result.message == "launch_mode is docker, but a Python package isn't installed: docker"
    assert result.remedy == "pip install docker, or set launch_mode: local"


def test_pip_that_cannot_add_is_found_out_once(vary: Vary, tmp_path: Path) -> None:
    name = vary(BASE, "ENV PIP_NO_INDEX=1")
    with Containers(image=name, framework=Framework.PYTORCH, directory=tmp_path / "image") as containers:
        first = containers.run(some_task(tmp_path, "one"))
        began = time.monotonic()
        again = containers.run(some_task(tmp_path, "two"))
        assert time.monotonic() - began < 0.5
        with pytest.raises(ContainerError, match="can't run workers"):
            containers.image()
    assert first == again
    assert first.status is TaskStatus.FAILED
    lacking = ", ".join(REQUIREMENTS[Framework.PYTORCH].values())
    assert first.message == (
        f"{name} can't run workers: it lacks {lacking}, and pip can't install them: "
        "Could not find a version that satisfies the requirement msgspec>=0.18.6 (from versions: none)"
    )
    assert first.remedy.startswith("check the network and proxy of Docker builds")
    for log in ("one.log", "two.log", "image/image.log"):
        assert "No matching distribution found" in (tmp_path / log).read_text(), "each log says it all"


def test_closing_ends_a_build(vary: Vary, client: Client, tmp_path: Path) -> None:
    """A build that says nothing for long is ended too, and Docker goes on with nothing."""
    name = vary(BASE, "VOLUME /data", files={"/usr/local/bin/python3": "#!/bin/sh\nexec sleep 1000\n"})

    def building() -> set[str]:
        """Return the volumes of the containers that Docker builds in."""
        found = client.api.containers(filters={"ancestor": name})
        return {str(mount["Name"]) for each in found for mount in client.api.inspect_container(each["Id"])["Mounts"]}

    containers = Containers(image=name, framework=Framework.PYTORCH, directory=tmp_path)
    assert until(building)
    volumes = building()
    threading.Timer(0.5, containers.cancel).start()
    result = containers.run(some_task(tmp_path))
    assert (result.status, result.message) == (TaskStatus.CANCELLED, "cancelled")
    began = time.monotonic()
    containers.close()
    assert time.monotonic() - began < 5
    with pytest.raises(CancelledError):
        containers.image()
    assert until(lambda: not building())
    assert until(lambda: not volumes & {str(volume.id) for volume in client.volumes.list()})


def test_containers_that_were_never_started_are_buried(
    framework: str, client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One is left where its maker was killed between creating and starting it."""
    stillborn = client.containers.create(framework, ["true"], labels={LABEL: "0"})

    def left() -> bool:
        with Containers(image=framework, framework=Framework.PYTORCH, directory=tmp_path) as containers:
            containers.image()
        return bool(client.api.containers(all=True, filters={"id": stillborn.id}))

    assert left(), "it may be about to be started"
    monkeypatch.setattr(preparing, "_STILLBORN_SECONDS", 0)
    assert not left()
