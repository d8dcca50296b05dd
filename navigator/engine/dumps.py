"""Keeps the inputs and outputs of a verification next to the logs, for people and for Polygraphy."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from navigator import disks
from navigator.engine.step_context import StepContext
from navigator.records import ModelConfig, Step, Verdict
from navigator.verify import polygraphy_json

# 64 MiB of arrays are about 90 MB of Base64 per file: enough to examine a mismatch, small enough to upload.
DUMP_LIMIT_BYTES = 64 * 2**20

Sets = Sequence[tuple[str, Mapping[str, np.ndarray]]]


def kept(
    verdict: Verdict, samples: Sets, runs: Mapping[str, Sets], model: ModelConfig, step: Step, context: StepContext
) -> Verdict:
    """Write the inputs and outputs next to the logs; return the verdict, with a warning if the disk is full."""
    try:
        polygraphy_json.write(
            context.workspace.dump(model.model_name, step.label), samples, runs, limit_bytes=DUMP_LIMIT_BYTES
        )
    except OSError as error:
        # The verdict matters more than a full disk.
        why = disks.reason(error, context.workspace.path)
        note = f"can't save the inputs and outputs of this verification: {why}"
        return replace(verdict, warnings=(*verdict.warnings, note))
    return verdict
