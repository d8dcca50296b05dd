"""Write down what a GPU machine has and what its libraries say: `python -m tests.gpu.facts DIRECTORY QUESTION ...`.

Each question is asked in a process of its own, since some answers end it. The unit tests' fakes behave as it was seen.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_TENSORRT = """
import time
started = time.perf_counter()
import tensorrt as trt
imported = time.perf_counter()
logger = trt.Logger(trt.Logger.VERBOSE if VERBOSE else trt.Logger.WARNING)
builder = trt.Builder(logger)
built = time.perf_counter()
builder = trt.Builder(logger)
print(json.dumps({
    "version": trt.__version__,
    "import_seconds": imported - started,
    "first_builder_seconds": built - imported,
    "second_builder_seconds": time.perf_counter() - built,
    "flags": [each for each in dir(trt.BuilderFlag) if each.isupper()],
    "config": [each for each in dir(trt.IBuilderConfig) if not each.startswith("_")],
    "inspector": [each for each in dir(trt.ICudaEngine) if "profile" in each or "shape" in each],
    "progress": trt.IProgressMonitor.phase_start.__doc__,
}))
"""

# Whether a library that a server has loaded before it forks is loaded faster by its children.
_FORKED = """
import ctypes, glob, os, time
found = {}
for name in NAMES:
    started = time.perf_counter()
    try:
        ctypes.CDLL(name)
        found[name] = time.perf_counter() - started
    except OSError as error:
        found[name] = str(error)
ends, begins = os.pipe()
if os.fork() == 0:
    started = time.perf_counter()
    import tensorrt as trt
    imported = time.perf_counter()
    trt.Builder(trt.Logger(trt.Logger.WARNING))
    os.write(begins, json.dumps({"import": imported - started, "builder": time.perf_counter() - imported}).encode())
    os._exit(0)
os.wait()
os.set_blocking(ends, False)
try:
    child = json.loads(os.read(ends, 65536))
except Exception as error:
    child = repr(error)
print(json.dumps({"loaded": found, "child": child}))
"""

QUESTIONS: dict[str, str] = {
    "machine": """
from navigator.host.describe import describe
from navigator.records import to_data
from navigator.workers.sandbox import shortcoming
print(json.dumps({**to_data(describe()), "sandbox": shortcoming() or "whole"}))
""",
    "tensorrt": "VERBOSE = False\n" + _TENSORRT,
    "tensorrt without a GPU": "import os\nos.environ['CUDA_VISIBLE_DEVICES'] = ''\nVERBOSE = False\n" + _TENSORRT,
    "builder after a fork": "NAMES = []\n" + _FORKED,
    "builder after a fork with the kernels": (
        "import glob, os\n"
        "found = [each for place in os.environ.get('LD_LIBRARY_PATH', '').split(':') "
        "for each in sorted(glob.glob(place + '/libnvinfer_builder_resource*'))]\n"
        "NAMES = ['libnvinfer.so.10', *found[:1]]\n" + _FORKED
    ),
    "torch": """
import torch
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "gpu": torch.cuda.get_device_name(),
    "free": torch.cuda.mem_get_info()}))
""",
    "torch-tensorrt": """
import inspect, torch, torch_tensorrt
print(json.dumps({"version": torch_tensorrt.__version__,
    "compile": str(inspect.signature(torch_tensorrt.dynamo.compile)),
    "save": str(inspect.signature(torch_tensorrt.save)),
    "features": str(torch_tensorrt.ENABLED_FEATURES) if hasattr(torch_tensorrt, "ENABLED_FEATURES") else ""}))
""",
    "onnxruntime": """
import torch, onnxruntime
print(json.dumps({"version": onnxruntime.__version__, "providers": onnxruntime.get_available_providers()}))
""",
    "tensorflow": """
import tensorflow as tf
from tensorflow.compiler.tf2tensorrt import _pywrap_py_utils as binding
before = binding.is_tensorrt_enabled()
gpus = [each.name for each in tf.config.list_physical_devices("GPU")]
after = binding.is_tensorrt_enabled()
loaded = binding.get_loaded_tensorrt_version()
print(json.dumps({"version": tf.__version__, "linked": binding.get_linked_tensorrt_version(), "gpus": gpus,
    "enabled_before_gpus": before, "enabled_after_gpus": after, "loaded": loaded,
    "enabled_after_version": binding.is_tensorrt_enabled()}))
""",
}


def asked(question: str) -> dict[str, Any]:
    """Return what a script answers, or how it ended."""
    started = time.monotonic()
    try:
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", f"import json\n{question}"],
            capture_output=True,
            text=True,
            timeout=45,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"timed out": True}
    lines = ended.stdout.strip().splitlines()
    answer: dict[str, Any] = {"seconds": round(time.monotonic() - started, 2)}
    try:
        answer |= json.loads(lines[-1])
    except (ValueError, IndexError, TypeError):
        said = (ended.stderr or ended.stdout).strip().splitlines()[-8:]
        answer |= {"exit code": ended.returncode, "said": said}
    return answer


def main() -> None:
    """Ask everything, and write the answers as they come."""
    directory, *names = Path(sys.argv[1]), *sys.argv[2:]
    directory.mkdir(parents=True, exist_ok=True)
    answers: dict[str, Any] = {}
    for name in names or QUESTIONS:
        answers[name] = asked(QUESTIONS[name])
        (directory / "facts.json").write_text(json.dumps(answers, indent=2))
        print(f"{name}: {json.dumps(answers[name])[:600]}", flush=True)


if __name__ == "__main__":
    main()
