"""Which environment variables a worker sees. Models are code: a worker must never see a token.

An allow-list, since nobody can list all secrets: GITHUB_TOKEN, ACTIONS_RUNTIME_TOKEN, AWS_*, proxies with passwords.
"""

import os
from collections.abc import Mapping
from pathlib import Path

# Set on the server; tells which processes on the machine are its offspring, even after it was killed.
MARKER = "MODEL_NAVIGATOR_WORKER_SERVER"

_NAMES = frozenset(
    {
        # Finding programs, files, libraries, modules; the user's language and clock.
        *("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LD_LIBRARY_PATH"),
        *("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "GLIBC_TUNABLES"),
        # NVIDIA_* and TF_* by name only: NVIDIA_API_KEY, and Terraform's TF_VAR_password and TF_TOKEN_*, exist too.
        *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_TF32_OVERRIDE", "NVIDIA_REQUIRE_CUDA"),
        *("TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS", "XLA_FLAGS", "TF_DETERMINISTIC_OPS", "TF_CUDNN_DETERMINISTIC"),
        *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_GPU_ALLOCATOR"),
        *(
            "KERAS_BACKEND",
            "PYTORCH_CUDA_ALLOC_CONF",
            "PYTORCH_ALLOC_CONF",
            "TORCH_LOGS",
            "POLYGRAPHY_USE_TENSORRT_RTX",
        ),
    }
)
# Threads, instruction sets and devices: results and speed depend on them.
_PREFIXES = ("LC_", "CUDA_", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "NVPL_")
_SECRET_WORDS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY")

# What a worker gets unless the user says otherwise.
_DEFAULTS = {
    # Threads of OpenMP (torch's) spin while they wait. Beside another worker that takes its cores away: five forward
    # passes of a ResNet-50 took 3 to 15 s spinning and 0.4 to 0.8 s not.
    "OMP_WAIT_POLICY": "PASSIVE",
    # glibc (2.35 and later) asks for huge pages. With a model of 1.3 GB, a plain export and comparison otherwise
    # spends half of its time in the kernel, on single pages: 18 s to 21 s, and 13 s to 15 s with them.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}

# What decides where things are found and how they are said, not what comes out. PYTHONPATH may lead to other modules.
_INDIFFERENT = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ", "LANG", "LANGUAGE", "VIRTUAL_ENV", "GLIBC_TUNABLES"}
)

_FORCED = {
    # Warnings and errors of TensorFlow only: a log must show its reason, not device banners.
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # Python's and C's output is then written at once: a worker that crashes must not take its last lines along.
    "PYTHONUNBUFFERED": "1",
    # Exporters iterate over sets of names: the same model must give the same bytes.
    "PYTHONHASHSEED": "0",
}


def worker_environment(source: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `source` that a worker may see, and those that every worker gets.

    Modules are found where this process found this package, also in a checkout that is not installed.
    """
    allowed = {name: value for name, value in source.items() if _is_allowed(name)}
    package_root = str(Path(__file__).resolve().parents[2])
    # Last: the directory may be site-packages, which must not come before the standard library's own modules.
    paths = [path for path in allowed.get("PYTHONPATH", "").split(os.pathsep) if path]
    if not package_root.endswith(("site-packages", "dist-packages")):
        paths.append(package_root)
    if paths:
        allowed["PYTHONPATH"] = os.pathsep.join(paths)
    return _DEFAULTS | allowed | _FORCED


def result_affecting(source: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `source` that what a worker computes may depend on: threads, precisions, modules."""
    return {
        name: value
        for name, value in source.items()
        if _is_allowed(name) and name not in _INDIFFERENT and not name.startswith("LC_")
    }


def is_secret(name: str) -> bool:
    """Tell whether a variable holds a secret, by its name."""
    return any(word in name.upper() for word in _SECRET_WORDS)


def _is_allowed(name: str) -> bool:
    if is_secret(name):
        return False
    return name in _NAMES or name.startswith(_PREFIXES)
