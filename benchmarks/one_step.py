"""One step in a process of its own, for benchmarks/by_hand.sh: a conversion, or a comparison with the source model.

python benchmarks/one_step.py convert FILE MODEL ARTIFACT OPSET
python benchmarks/one_step.py compare FILE MODEL ARTIFACT FORMAT
"""

import sys
from pathlib import Path

from baseline import compare, convert, draw, load, raise_opset, run
from matrix import load as load_matrix

from navigator.records import Format


def main() -> int:
    """Do the step; exit code 1 if a comparison fails."""
    verb, file, model, artifact, argument = sys.argv[1:]
    config = load_matrix(Path(file))[model]
    assert config.model_format is not None
    if verb == "convert" and config.model_format is Format.ONNX:
        raise_opset(config.model_path, Path(artifact), int(argument))
        return 0
    source = load(config.model_path, config.model_format, config)
    if verb == "convert":
        convert(source, config, Path(artifact), int(argument))
        return 0
    samples = draw(source, config)
    outputs = run(load(Path(artifact), Format(argument), config), samples)
    passed, error = compare(run(source, samples), outputs, config, names=source.outputs)
    print(f"{model} {Path(artifact).name}: {'passed' if passed else 'MISMATCHED'}, error {error:.1e}", flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
