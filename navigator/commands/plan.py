"""`model-navigator plan`: shows what `convert` would do, and runs nothing."""

import argparse
import json
import sys
import time
from dataclasses import replace

from navigator.commands import subject
from navigator.errors import ConfigurationError, ExitCode
from navigator.records import Format, ModelPlan, Plan, to_data
from navigator.render.streams import write

# Of a configuration with thousands of models, the first ones are looked into.
_LOOK_SECONDS = 0.5

# The formats of torch, and what the list of operators whose export differs calls their exporters.
_EXPORTERS = {Format.TORCH_EXPORT: "torch-export", Format.TORCHSCRIPT: "torchscript"}


def run(namespace: argparse.Namespace, _arguments: list[str]) -> ExitCode:
    """Print the plan as text, as JSON or as a job matrix."""
    from navigator.plan.shards import matrix
    from navigator.render.columns import columns_of
    from navigator.render.plan import plan_text

    loaded = subject.load(namespace)
    plan = subject.chosen(subject.plan_of(loaded, subject.host_of(loaded)), namespace)
    if namespace.matrix:
        text = json.dumps(matrix(plan, namespace.max_shards))
    elif namespace.json:
        text = json.dumps(to_data(_with_export_notes(plan)), indent=2)
    else:
        text = plan_text(_with_export_notes(plan), verbose=loaded.verbose, columns=columns_of(sys.stdout))
    write(f"{text}\n", sys.stdout)
    return ExitCode.OK


def _with_export_notes(plan: Plan) -> Plan:
    """Return a plan with what is known to go wrong in exports, which `convert` notes too."""
    started = time.monotonic()
    return Plan(
        models=tuple(
            replace(model, notes=(*model.notes, *_export_notes(model)))
            if model.source_format in _EXPORTERS and time.monotonic() - started < _LOOK_SECONDS
            else model
            for model in plan.models
        )
    )


def _export_notes(model: ModelPlan) -> tuple[str, ...]:
    from navigator.frameworks.torch.calls import Call
    from navigator.frameworks.torch.differing import notes
    from navigator.models import structure

    source = model.source_format
    if not any(step.source_format is source and step.target_format is Format.ONNX for step in model.steps):
        return ()
    try:
        described = structure.read(model.config.model_path, source)
    except (OSError, ConfigurationError):  # the run tells
        return ()
    return notes([Call(name, None, {}) for name in described.operators], described.inputs or (), _EXPORTERS[source])
