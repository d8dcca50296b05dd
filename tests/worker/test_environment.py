"""What a worker sees of its parent's environment, and where it finds modules."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from navigator.workers.environment import worker_environment
from navigator.workers.local.pool import ForkServer, Task, TaskStatus

Start = Callable[..., ForkServer]
MakeTask = Callable[..., Task]

SECRETS = {
    "GITHUB_TOKEN": "ghs_token",
    "ACTIONS_RUNTIME_TOKEN": "runtime_token",
    "AWS_SECRET_ACCESS_KEY": "aws_secret",
    "HTTPS_PROXY": "http://user:proxy_password@host",
    "NVIDIA_API_KEY": "nvapi_key",
    "TF_VAR_password": "terraform_password",
    "TF_TOKEN_app_terraform_io": "terraform_token",
    "CUDA_REPOSITORY_TOKEN": "cuda_token",
    "MODEL_REGISTRY": "registry_login",
}


def test_no_secret_reaches_a_worker(start: Start, task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    found: Any = start(environment=None).run(task("surroundings")).value
    found["server /proc"] = Path(f"/proc/{found['server']}/environ").read_text()
    for place in ("environment", "own /proc", "server /proc"):
        text = str(found[place])
        leaked = [name for name, value in SECRETS.items() if name in text or value in text]
        assert not leaked, f"{place}: {leaked}"
        assert "OMP_NUM_THREADS" in text
    assert found["environment"]["PYTHONHASHSEED"] == "0"


def test_workers_get_the_variables_that_the_hardware_needs_and_none_that_change_results() -> None:
    source = {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "0",
        "NVIDIA_VISIBLE_DEVICES": "all",
        "OPENBLAS_CORETYPE": "Haswell",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_USE_LEGACY_KERAS": "1",
        "LD_PRELOAD": "/lib/x.so",
        "TF_CPP_MIN_LOG_LEVEL": "0",
        "PYTHONPATH": "/mine",
    }
    found = worker_environment(source)
    assert {"PATH", "LC_ALL", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "OPENBLAS_CORETYPE"} <= set(found)
    assert found["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert not {"TF_USE_LEGACY_KERAS", "LD_PRELOAD"} & set(found)
    assert found["TF_CPP_MIN_LOG_LEVEL"] == "2"
    assert found["PYTHONPATH"].split(os.pathsep)[0] == "/mine", "the user's modules come first"
    assert not {name for name in worker_environment(SECRETS) if name in SECRETS}


@pytest.mark.parametrize(
    ("name", "default"), [("OMP_WAIT_POLICY", "PASSIVE"), ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")]
)
def test_the_user_may_choose_how_threads_wait_and_what_pages_are(name: str, default: str) -> None:
    assert worker_environment({})[name] == default
    assert worker_environment({name: "other"})[name] == "other"


def test_modules_in_the_working_directory_are_not_imported(
    start: Start, task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "colorsys.py").write_text("raise ImportError('not the standard one')")
    monkeypatch.chdir(tmp_path)
    assert start(preload=("colorsys",)).run(task("echo")).status is TaskStatus.FINISHED
