"""What the command line costs before it does anything."""

import subprocess
import sys


def test_starting_the_command_line_imports_nothing_heavy() -> None:
    heavy = ("numpy", "torch", "tensorflow", "onnx", "onnxruntime", "polygraphy", "jsonschema", "rich")
    code = f"import sys, navigator.cli; print([name for name in {heavy} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
