"""Whole runs in containers: a real daemon, an image that stands in for a framework's, and one step that stays here."""
# ruff: noqa: TID253 - the frameworks are what is tested

import subprocess
from pathlib import Path
from typing import Any

import torch

from navigator.runners.torchscript import quiet


def model(path: Path) -> Path:
    """Write a small TorchScript model: x [batch, 8] -> y [batch, 4]."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4)).eval()
    with quiet():
        torch.jit.save(torch.jit.trace(network, torch.zeros(1, 8)), str(path))
    return path


CONFIG = """\
model_name: m
model_path: m.pt
inputs: x__0:-1,8:float32
outputs: y__0:-1,4:float32
target_formats: [torchscript, onnx, trt-rtx]
tensorrt_precisions: [fp16]
fail_on_unverified: false
onnx_opsets: [17]
max_batch_size: 4
launch_mode: docker
framework_docker_image: {image}
"""


def test_one_model_has_steps_in_containers_and_one_here(framework: str, convert: Any, project: Path) -> None:
    model(project / "m.pt")

    code, results = convert(CONFIG.format(image=framework))

    states = {each["conversion"]: each["status"]["state"] for each in results["results"]}
    engine = "onnx_op17/onnx_fp16/trt-rtx_fp16_hierarchy"
    assert states == {
        "torchscript": "passed",
        "onnx_op17": "passed",
        "onnx_op17/onnx_fp16": "passed",
        engine: "unverified",
    }, results["results"]
    assert code == 0
    assert results["environment"]["docker"]
    cells = {each["conversion"]: each for each in results["results"]}
    places = {
        cell: (each["conversion_config"]["tensorrt_config"] or {}).get("container_image")
        for cell, each in cells.items()
    }
    assert (places["onnx_op17/onnx_fp16"], places[engine]) == (framework, None)
    made = cells["onnx_op17"]
    assert Path(made["output_model"]["path"]).is_file()
    assert made["output_model"]["properties"]["exporter"].startswith("torch.onnx")
    assert made["peak_memory_bytes"] > 2**20
    # Process 1 and its children are all that a container has.
    log = (project / "navigator_workspace/logs/m/onnx_op17.convert.log").read_text()
    assert int(log.split("process ")[1].split()[0]) < 20


def test_an_image_that_cannot_be_had_fails_what_needs_it_in_a_sentence(
    convert: Any, project: Path, framework: str
) -> None:
    del framework  # there is a daemon
    model(project / "m.pt")

    code, results = convert(CONFIG.format(image="registry.invalid/nothing:1"))

    assert code == 1
    for each in results["results"]:
        # What needs no samples is tried before the source model is known to be lost.
        assert each["status"]["state"] in ("blocked", "failed")
        assert "can't pull registry.invalid/nothing:1" in each["status"]["message"]
        assert each["remedy"]


def test_a_wrong_weight_made_in_a_container_is_a_mismatch(framework: str, convert: Any, project: Path) -> None:
    """The container's own exporter changes a weight: the comparison is made here, with the source model's outputs."""
    tag = f"{framework.partition(':')[0]}-sabotaged:{framework.partition(':')[2]}"
    (project / "sabotage").mkdir()
    (project / "sabotage" / "sitecustomize.py").write_text(
        "import importlib.abc, importlib.util, sys\n"
        "class Sabotage(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name != 'navigator.converters.torchscript_to_onnx':\n"
        "            return None\n"
        "        sys.meta_path.remove(self)\n"
        "        spec = importlib.util.find_spec(name)\n"
        "        execute = spec.loader.exec_module\n"
        "        def exec_module(module):\n"
        "            execute(module)\n"
        "            clean = module.load_module\n"
        "            def wrong(*arguments):\n"
        "                loaded = clean(*arguments)\n"
        "                next(loaded.parameters()).data[3, 2] += 1.0\n"
        "                return loaded\n"
        "            module.load_module = wrong\n"
        "        spec.loader.exec_module = exec_module\n"
        "        return spec\n"
        "sys.meta_path.insert(0, Sabotage())\n"
    )
    (project / "sabotage" / "Dockerfile").write_text(
        f"FROM {framework}\nCOPY sitecustomize.py /usr/local/lib/python3.11/site-packages/\n"
    )
    subprocess.run(["docker", "build", "-q", "-t", tag, project / "sabotage"], check=True, capture_output=True)
    model(project / "m.pt")

    code, results = convert(CONFIG.format(image=tag).replace("[torchscript, onnx, trt-rtx]", "[onnx]"))

    assert (code, results["results"][0]["status"]["state"]) == (1, "mismatched"), results["results"][0]["status"]
