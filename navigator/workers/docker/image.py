"""The images that workers run in: a framework image, and the conversion image that is made of it, once.

A conversion image is a framework image with the part of this package that workers import, and what that needs and
the framework image lacks. It is identified by content: the framework image's id (never its tag), our files, what is
added. Starts no worker.
"""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from navigator.records import Format
from navigator.workers.docker import provision
from navigator.workers.docker.connection import ContainerError, explained, refused
from navigator.workers.docker.pull import Progress
from navigator.workers.own_code import IMPORTED, code_files

if TYPE_CHECKING:
    from docker import APIClient

REPOSITORY = "model-navigator-converter"
HOME = "/opt/model-navigator"

_PYTHON_REMEDY = (
    "choose another container_version (NVIDIA's images have Python 3.12 from 24.12 on) or framework_docker_image"
)


class Framework(StrEnum):
    """Whose image a model's workers run in."""

    PYTORCH = "pytorch"
    TENSORFLOW = "tensorflow"


# What workers import beside the framework: module and requirement, as in pyproject.toml.
_IMPORTED = {"msgspec": "msgspec>=0.18.6", "numpy": "numpy>=1.26", "psutil": "psutil>=5.9"}
_ONNX = {"onnx": "onnx>=1.19", "onnx_ir": "onnx-ir>=0.1.14", "onnxruntime": "onnxruntime>=1.20"}
# TensorFlow up to 2.17 has an older ml-dtypes than onnx 1.19 needs, and 1.19.0 doesn't say so.
_OLD_ML_DTYPES = {"onnx": "onnx>=1.17,!=1.19.0"}
_TRT = {"polygraphy": "polygraphy>=0.49.26"}
REQUIREMENTS: Mapping[Framework, Mapping[str, str]] = {
    Framework.PYTORCH: {**_IMPORTED, **_ONNX, **_TRT, "onnxscript": "onnxscript>=0.5"},
    Framework.TENSORFLOW: {
        **_IMPORTED,
        **_ONNX,
        **_OLD_ML_DTYPES,
        "tf2onnx": "tf2onnx>=1.17",
        "tf_keras": "tf-keras>=2.18",
    },
}

# Packages before source: a change of ours doesn't install them again.
_DOCKERFILE = """\
FROM {framework_id}
USER 0:0
WORKDIR /
COPY provision.py requirements.txt {home}/
RUN ["python3", "{home}/provision.py", "{home}/requirements.txt"]
COPY source {home}/source
RUN ["python3", "-m", "compileall", "-q", "{home}/source"]
ENV PYTHONPATH={home}/source${{PYTHONPATH:+:$PYTHONPATH}}
ENTRYPOINT []
CMD []
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversionImage:
    """A conversion image that is there.

    Args:
        framework_image: the name that the user knows.
        framework_id: what that name meant when this was made.
        id: the conversion image's own.
        key: what it is identified by: equal keys mean equal content.
    """

    framework_image: str
    framework_id: str
    id: str
    key: str


def framework_of(source_format: Format) -> Framework:
    """Return whose image the workers of models of a source format run in."""
    return Framework.TENSORFLOW if source_format is Format.TF_SAVEDMODEL else Framework.PYTORCH


def prepare(
    api: "APIClient",
    image: str,
    framework: Framework,
    *,
    rebuild: bool,
    log: BinaryIO,
    on_progress: Callable[[str], None],
    check: Callable[[], None],
) -> ConversionImage:
    """Return the conversion image of a framework image; pull the one and build the other where they are absent.

    Args:
        api: connection to the daemon.
        image: name or id of the framework image.
        framework: whose it is.
        rebuild: build the conversion image even if it exists.
        log: what the build prints.
        on_progress: called with a sentence now and then.
        check: called often; may raise to stop.

    Raises:
        ContainerError: there is no daemon, no such image, no access, no room, or the build failed.
    """
    framework_id = _local_id(api, image)
    if framework_id is None:
        _pull(api, image, on_progress, check)
        framework_id = _local_id(api, image)
        if framework_id is None:  # another process removed it
            raise ContainerError(f"{image} was pulled, but Docker doesn't list it", "run again")
    files = _context(framework, framework_id)
    key = _key(files)
    tag = f"{REPOSITORY}:{key}"
    found = None if rebuild else _local_id(api, tag)
    if found is None:
        on_progress(f"building the conversion image of {image}")
        _build(api, image, tag, files, rebuild=rebuild, log=log, check=check)
        on_progress(f"built {tag}")
        found = _local_id(api, tag)
        if found is None:
            raise ContainerError(f"{tag} was built, but Docker doesn't list it", "run again")
    return ConversionImage(framework_image=image, framework_id=framework_id, id=found, key=key)


def _local_id(api: "APIClient", image: str) -> str | None:
    from docker.errors import ImageNotFound

    with explained(f"look for the image {image}"):
        try:
            return str(api.inspect_image(image)["Id"])  # type: ignore[no-untyped-call]
        except ImageNotFound:
            return None


def _pull(api: "APIClient", image: str, on_progress: Callable[[str], None], check: Callable[[], None]) -> None:
    progress = Progress(image, on_progress)
    with explained(f"pull {image}"):
        for line in api.pull(image, stream=True, decode=True):
            check()
            if "error" in line:
                raise refused(f"pull {image}", line["error"])
            progress.take(line)
    progress.end()


def _build(
    api: "APIClient",
    image: str,
    tag: str,
    files: Mapping[str, bytes],
    *,
    rebuild: bool,
    log: BinaryIO,
    check: Callable[[], None],
) -> None:
    """Build with the classic builder, which every daemon has and which needs no registry."""
    said = ""
    with explained(f"build the conversion image of {image}"):
        lines = api.build(
            fileobj=io.BytesIO(_tar(files)),
            custom_context=True,
            tag=tag,
            rm=True,
            forcerm=True,
            nocache=rebuild,
            buildargs=_proxies(),
            labels={"model-navigator.framework-image": image},
            decode=True,
        )
        for line in lines:
            check()
            text = str(line.get("stream") or line.get("error") or "")
            log.write(text.encode())
            log.flush()
            for each in text.splitlines():
                if each.startswith(provision.SAYS):
                    said = each.removeprefix(provision.SAYS)
            if "error" in line:
                raise _unfit(image, line, said)


def _unfit(image: str, line: Mapping[str, object], said: str) -> ContainerError:
    """Say why a conversion image could not be built."""
    detail = line.get("errorDetail")
    code = detail.get("code") if isinstance(detail, dict) else None
    text = str(line["error"])
    if code == provision.TOO_OLD:
        return ContainerError(f"{image} can't run workers: {said}", _PYTHON_REMEDY)
    if code == provision.CANNOT_ADD:
        remedy = "check the network and proxy of Docker builds, or use a framework_docker_image that includes them"
        return ContainerError(f"{image} can't run workers: {said}", remedy)
    if 'exec: "python3"' in text:
        return ContainerError(f"{image} can't run workers: it has no python3", _PYTHON_REMEDY)
    return refused(f"build the conversion image of {image}", text)


def _context(framework: Framework, framework_id: str) -> dict[str, bytes]:
    """Return the build's files by name: all that decides what the conversion image holds."""
    requirements = "".join(f"{module} {wanted}\n" for module, wanted in REQUIREMENTS[framework].items())
    files = {
        "Dockerfile": _DOCKERFILE.format(framework_id=framework_id, home=HOME).encode(),
        "provision.py": Path(provision.__file__).read_bytes(),
        "requirements.txt": requirements.encode(),
    }
    return files | {
        f"source/{name}": path.read_bytes() for name, path in code_files(("__init__.py", *IMPORTED)).items()
    }


def _key(files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        for part in (name.encode(), content):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:32]


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _proxies() -> dict[str, str]:
    """Return this process's proxies, which Docker hands to pip and leaves out of the image and its history."""
    names = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
    return {name: os.environ[name] for name in names if os.environ.get(name)}
