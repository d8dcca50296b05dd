"""Workarounds for torch's ONNX exporters (2.13). Each one says what it fixes and when to remove it.

They apply within a `with` block.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from navigator.frameworks.torch.script_containers import resolve_containers
from navigator.frameworks.torch.script_facts import decide
from navigator.frameworks.torch.script_in_place import copy_inputs
from navigator.frameworks.torch.script_layers import take_apart
from navigator.frameworks.torch.script_lists import split_tuples, turn_lists
from navigator.frameworks.torch.script_numbers import convert_numbers
from navigator.frameworks.torch.script_sequences import measure_sequences
from navigator.frameworks.torch.script_spectra import pair_spectra
from navigator.frameworks.torch.translations.arithmetic import atan2

# A torch object; the types of the package differ between supported versions.
_Torch = Any


@contextlib.contextmanager
def plain_graphs() -> Iterator[None]:
    """Let the TorchScript exporter see graphs whose numbers and containers are as it needs them, of modules that ran.

    See `navigator.frameworks.torch.script_numbers`, `script_in_place`, `script_containers`, `script_lists`,
    `script_sequences` and `script_spectra`, which say when to remove them.
    """
    try:
        from torch.onnx._internal.torchscript_exporter import utils
    except ImportError:  # torch before 2.9
        from torch.onnx import utils

    optimize = utils._optimize_graph

    def optimized(graph: _Torch, *arguments: Any, **options: Any) -> _Torch:
        import torch

        torch._C._jit_pass_inline(graph)
        copy_inputs(graph)
        split_tuples(graph)
        decide(graph, options.get("params_dict") or {})
        take_apart(graph)
        resolve_containers(graph)
        turn_lists(graph)
        measure_sequences(graph)
        pair_spectra(graph)
        convert_numbers(graph)
        return optimize(graph, *arguments, **options)

    create, run = utils._create_jit_graph, utils._get_example_outputs
    ran: list[_Torch] = []

    def created(model: _Torch, arguments: Any) -> _Torch:
        # Before the exporter puts its own operators into the module, not all of which torch runs: __interpolate.
        ran[:] = [run(model, arguments)]
        return create(model, arguments)

    utils._optimize_graph, utils._create_jit_graph = optimized, created
    utils._get_example_outputs = lambda *_: ran[0]
    try:
        yield
    finally:
        utils._optimize_graph, utils._create_jit_graph, utils._get_example_outputs = optimize, create, run


@contextlib.contextmanager
def exact_constants() -> Iterator[None]:
    """Let the rules that simplify an exported graph take only 0 for 0 and 1 for 1.

    onnxscript (0.7.2) compares with a tolerance. It removes the epsilon of `x + 1e-8`, so that zeros give NaN,
    and the factor of `x * 1.000008`. Remove once `onnxscript.rewriter` compares neutral elements exactly.
    """
    try:
        from onnxscript.rewriter._matcher import SimplePatternMatcher
        from onnxscript.rewriter._pattern_ir import Constant
    except ImportError:  # parts of onnxscript that another version may lack: the verification finds what it does
        yield
        return
    match = SimplePatternMatcher._match_constant

    def matched(self: _Torch, wanted: _Torch, value: _Torch) -> bool:
        neutral = wanted.value in (0, 1)
        return bool(match(self, Constant(wanted.value, rel_tol=0, abs_tol=0) if neutral else wanted, value))

    SimplePatternMatcher._match_constant = matched
    try:
        yield
    finally:
        SimplePatternMatcher._match_constant = match


@contextlib.contextmanager
def reshaped_views() -> Iterator[None]:
    """Let the exporter of programs reshape where a program views.

    After its decompositions, it runs the graph on values without numbers, whose strides aren't those that the program
    was made with: the attention of T5 "cannot view a tensor with shape ... and strides". ONNX knows no strides. Remove
    once such a program can be exported.
    """
    try:
        from torch.onnx._internal.exporter import _fx_passes
    except ImportError:  # torch with another exporter
        yield
        return
    insert = _fx_passes.insert_type_promotion_nodes

    def inserted(module: _Torch) -> None:
        import torch

        for part in module.modules():
            for node in part.graph.nodes:
                if node.target is torch.ops.aten.view.default:
                    node.target = torch.ops.aten.reshape.default
        insert(module)

    _fx_passes.insert_type_promotion_nodes = inserted
    try:
        yield
    finally:
        _fx_passes.insert_type_promotion_nodes = insert


@contextlib.contextmanager
def right_angles() -> Iterator[None]:
    """Let angles and logarithms of complex numbers be those of torch where the imaginary part is 0.

    onnxscript (0.7.2) has -pi for pi. Remove once `torch.angle` of -1 + 0j is exported as pi.
    """
    from onnxscript.function_libs.torch_lib.ops import core

    own = core._atan2
    core._atan2 = lambda y, x, dtype=None: atan2(y, x)  # noqa: ARG005 - as it's called
    try:
        yield
    finally:
        core._atan2 = own


def forget_computed_sizes(program: _Torch) -> None:
    """Remove the ranges of sizes that are computed from others, such as `past + 1`, from a loaded program.

    The exporter expects symbols only ("expected sympy.Symbol"), but `torch.export.load` keeps expressions beside them.
    Their symbols keep their ranges. Remove once a saved program with `Dim("past") + 1` can be exported.
    """
    for node in program.graph.nodes:
        mode = getattr(node.meta.get("val"), "fake_mode", None)
        ranges = getattr(getattr(mode, "shape_env", None), "var_to_range", {})
        for size in [size for size in ranges if not size.is_Symbol]:
            del ranges[size]
