"""Runs inside a framework image while a conversion image is built from it: adds what workers import and it lacks.

Stands alone, and must be readable by the Python of any image up to the check of its version. Never changes a package
that the image has: its framework is what the user chose.

Run as `python3 provision.py FILE`, whose lines are a module and the requirement that brings it. What it says on a line
that begins with `model-navigator: ` is for the user.
"""

import importlib.util
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

TOO_OLD = 86
CANNOT_ADD = 87
SAYS = "model-navigator: "

# What only fp16 and int8 ONNX files need. TensorFlow up to 2.17 has an ml-dtypes that is too old for it.
OPTIONAL = ("onnx_ir",)

if sys.version_info < (3, 11):  # noqa: UP036 - this Python is not ours but the image's
    print(f"{SAYS}it has Python {platform.python_version()}; workers need 3.11 or newer")  # noqa: T201
    sys.exit(TOO_OLD)


def main() -> int:
    """Return the exit code."""
    wanted = dict(line.split() for line in Path(sys.argv[1]).read_text().splitlines())
    missing = {module: requirement for module, requirement in wanted.items() if not _has(module)}
    if not missing:
        _say("nothing is missing")
        return 0
    names = ", ".join(missing.values())
    _say(f"adding {names}")
    problem = _install(missing)
    importlib.invalidate_caches()
    absent = [module for module in missing if not _has(module) and module not in OPTIONAL]
    if problem or absent:
        _say(f"it lacks {names}, and pip can't install them: {problem or 'no module ' + ', '.join(absent)}")
        return CANNOT_ADD
    return 0


def _install(missing: dict[str, str]) -> str:
    """Install what is missing; return why that failed, or ""."""
    others = [requirement for module, requirement in missing.items() if module not in ("tf_keras", *OPTIONAL)]
    steps = []
    if "tf_keras" in missing:
        # Each release fits one of TensorFlow, and would bring that one along, under another name or version.
        minor = ".".join(_version_of("tensorflow").split(".")[:2])
        steps.append(["--no-deps", f"tf-keras=={minor}.*" if minor else missing["tf_keras"]])
    code, listed = _pip("list", "--format=freeze")
    if code != 0:
        return _error(listed)
    # Versions that are none by today's rules cannot be constraints.
    pins = [line for line in listed if re.fullmatch(r"[A-Za-z0-9._-]+==\d[A-Za-z0-9.!+]*", line)]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(pins))
        constraints.flush()
        if others:
            steps.insert(0, ["--constraint", constraints.name, *others])
        for arguments in steps:
            code, said = _pip("install", *arguments)
            if code != 0:
                return _error(said)
        for requirement in (missing[module] for module in OPTIONAL if module in missing):
            code, said = _pip("install", "--constraint", constraints.name, requirement)
            if code != 0:
                _say(f"goes without {requirement}: {_error(said)}")
    return ""


def _pip(*arguments: str) -> tuple[int, list[str]]:
    """Run pip, show what it says, and return its exit code and lines."""
    options = {
        "PIP_BREAK_SYSTEM_PACKAGES": "1",  # the image is ours alone
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_NO_INPUT": "1",
        "PIP_PROGRESS_BAR": "off",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    ran = subprocess.run(
        [sys.executable, "-m", "pip", *arguments],
        env={**os.environ, **options},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(ran.stdout, end="", flush=True)  # noqa: T201 - the build's log
    return ran.returncode, ran.stdout.splitlines()


def _error(lines: list[str]) -> str:
    """Return the line of pip's that says most."""
    errors = [line.partition("ERROR: ")[2] for line in lines if line.startswith("ERROR: ")]
    return (errors or lines or ["no reason given"])[0].strip()


def _version_of(module: str) -> str:
    """Return the version of the distribution that holds a module, or ""."""
    from importlib import metadata

    names = metadata.packages_distributions().get(module, ())
    return metadata.version(names[0]) if names else ""


def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _say(sentence: str) -> None:
    print(f"{SAYS}{sentence}", flush=True)  # noqa: T201 - the build's log


if __name__ == "__main__":
    sys.exit(main())
