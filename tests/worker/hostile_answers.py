"""Tasks that return what their model says: the bytes of a result, and the files of outputs, forged or not."""

import base64
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def answer(arguments: Mapping[str, Any]) -> Any:
    conversion = arguments.get("conversion", {})
    model = arguments.get("path") or conversion.get("source") or arguments["config"]["model_path"]
    said = json.loads(Path(model).read_text())
    config = arguments.get("config", {})
    if any(config[option] == value for option, value in said.get("crashes_if", {}).items()):
        os.kill(os.getpid(), signal.SIGSEGV)
    if conversion:
        Path(conversion["destination"]).write_bytes(b"converted")
    for name in {"samples", "outputs"} & set(arguments) if "config" in arguments else {"outputs"} & set(arguments):
        Path(arguments[name]).mkdir(parents=True, exist_ok=True)
        for file, content in said["files"].items():
            (Path(arguments[name]) / file).write_bytes(base64.b64decode(content))
    Path("result.json").write_bytes(base64.b64decode(said["result"]))
    os._exit(0)


TASKS = dict.fromkeys(("reference", "convert", "infer"), answer)
