"""The NVIDIA GPUs, as nvidia-smi lists them."""

import contextlib
import os
import signal
import subprocess

from navigator.records import Gpu

_GPU_FIELDS = ("index", "uuid", "name", "compute_cap", "memory.total", "driver_version")


_GPU_TIMEOUT_SECONDS = 5.0


# What it writes, in brackets, for a field that it cannot tell.
_UNKNOWN = ("N/A", "Not Supported", "Unknown Error", "Insufficient Permissions", "GPU requires reset")


def visible(gpus: tuple[Gpu, ...], selection: str | None) -> tuple[Gpu, ...]:
    """Return those of `gpus` that CUDA_VISIBLE_DEVICES leaves, in its order; None is no selection.

    As CUDA reads it: indices or the beginnings of UUIDs, and what follows an unknown one does not count.
    """
    if selection is None:
        return gpus
    found: dict[str, Gpu] = {}
    for entry in filter(None, (each.strip() for each in selection.split(","))):
        matching = [gpu for gpu in gpus if entry == str(gpu.index) or (len(entry) > 4 and gpu.uuid.startswith(entry))]
        if not matching:
            break
        found[matching[0].uuid] = matching[0]
    return tuple(found.values())


def find_gpus() -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
    """Return the NVIDIA GPUs, and sentences about what could not be found out; none without nvidia-smi."""
    try:
        code, output = _query(_GPU_FIELDS)
        old_driver = code != 0 and "compute_cap" in output
        if old_driver:  # before 510 it does not know this field
            code, output = _query(tuple(field for field in _GPU_FIELDS if field != "compute_cap"))
    except FileNotFoundError:
        return (), ()
    except subprocess.TimeoutExpired:
        return (), (f"nvidia-smi didn't answer within {_GPU_TIMEOUT_SECONDS:g} s: running without GPUs",)
    except OSError as error:
        return (), (f"can't run nvidia-smi ({error.strerror}): running without GPUs",)
    if code != 0:
        said = next(iter(output.strip().splitlines()), f"exit code {code}")
        return (), (f"nvidia-smi failed ({said.strip()}): running without GPUs",)
    gpus, notes = [], []
    for line in output.strip().splitlines():
        try:
            gpus.append(_gpu(line, compute_capability=not old_driver))
        except ValueError:
            notes.append(f"ignored a line of nvidia-smi that describes no GPU: {line.strip()!r}")
    if old_driver and gpus:
        notes.append(f"driver {gpus[0].driver_version} doesn't report the GPU's compute capability: update the driver")
    return tuple(gpus), tuple(notes)


def _query(fields: tuple[str, ...]) -> tuple[int, str]:
    """Return exit code and output. Unlike subprocess.run, waits for no process that hangs in the driver."""
    process = subprocess.Popen(
        ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"],  # noqa: S607 - where it is varies
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    with process.stdout:
        try:
            output, _ = process.communicate(timeout=_GPU_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
            raise
    return process.returncode, output


def _gpu(line: str, *, compute_capability: bool) -> Gpu:
    """Return the GPU of one line.

    Raises:
        ValueError: it is not a line of the fields that were asked for.
    """
    fields = ["" if field.strip().strip("[]") in _UNKNOWN else field.strip() for field in line.split(",")]
    if not compute_capability:
        fields.insert(3, "")
    index, uuid, name, capability, mebibytes, driver = fields
    return Gpu(
        index=int(index),
        uuid=uuid,
        name=name,
        compute_capability=capability,
        # Integrated GPUs share the machine's memory and have none of their own to tell.
        memory_bytes=int(mebibytes) * 2**20 if mebibytes else 0,
        driver_version=driver,
    )
