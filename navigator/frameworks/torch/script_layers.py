"""The layers of transformers that torch computes in one operator, taken apart for its TorchScript exporter (2.13).

A trace in evaluation mode without gradients has `_transformer_encoder_layer_fwd` and `_native_multi_head_attention`,
for which the exporter has nothing. Remove it once such a trace of `nn.TransformerEncoder` is exported without it.
"""

import functools
import warnings
from typing import Any

from navigator.frameworks.torch.script_nodes import Graph, constant, nodes

_SOURCE = """
def attention(query: Tensor, key: Tensor, value: Tensor, embed_dim: int, num_head: int, qkv_weight: Tensor,
              qkv_bias: Tensor, proj_weight: Tensor, proj_bias: Tensor, mask: Optional[Tensor], need_weights: bool,
              average_attn_weights: bool, mask_type: Optional[int]) -> Tuple[Tensor, Tensor]:
    width = embed_dim // num_head
    weights = qkv_weight.chunk(3, 0)
    biases = qkv_bias.chunk(3, 0)
    q = torch.nn.functional.linear(query, weights[0], biases[0])
    k = torch.nn.functional.linear(key, weights[1], biases[1])
    v = torch.nn.functional.linear(value, weights[2], biases[2])
    q = q.reshape([q.size(0), q.size(1), num_head, width]).permute(0, 2, 1, 3)
    k = k.reshape([k.size(0), k.size(1), num_head, width]).permute(0, 2, 3, 1)
    v = v.reshape([v.size(0), v.size(1), num_head, width]).permute(0, 2, 1, 3)
    scores = torch.matmul(q * (1.0 / (width ** 0.5)), k)
    if mask is not None:
        hidden = mask.to(torch.bool)
        if mask_type is not None and mask_type == 1:
            hidden = hidden.unsqueeze(1).unsqueeze(1)
        scores = scores.masked_fill(hidden, float("-inf"))
    shares = scores.softmax(-1)
    mixed = torch.matmul(shares, v).permute(0, 2, 1, 3)
    mixed = mixed.reshape([mixed.size(0), mixed.size(1), embed_dim])
    if average_attn_weights:
        shares = shares.mean(1)
    return torch.nn.functional.linear(mixed, proj_weight, proj_bias), shares


def layer(src: Tensor, embed_dim: int, num_heads: int, qkv_weight: Tensor, qkv_bias: Tensor, proj_weight: Tensor,
          proj_bias: Tensor, use_gelu: bool, norm_first: bool, eps: float, norm_weight_1: Tensor, norm_bias_1: Tensor,
          norm_weight_2: Tensor, norm_bias_2: Tensor, ffn_weight_1: Tensor, ffn_bias_1: Tensor, ffn_weight_2: Tensor,
          ffn_bias_2: Tensor, mask: Optional[Tensor], mask_type: Optional[int]) -> Tensor:
    x = src
    if norm_first:
        x = torch.layer_norm(x, [embed_dim], norm_weight_1, norm_bias_1, eps)
    mixed, _ = attention(x, x, x, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, mask, False,
                         True, mask_type)
    x = src + mixed
    if not norm_first:
        x = torch.layer_norm(x, [embed_dim], norm_weight_1, norm_bias_1, eps)
    y = x
    if norm_first:
        y = torch.layer_norm(y, [embed_dim], norm_weight_2, norm_bias_2, eps)
    y = torch.nn.functional.linear(y, ffn_weight_1, ffn_bias_1)
    if use_gelu:
        y = torch.nn.functional.gelu(y)
    else:
        y = torch.relu(y)
    x = x + torch.nn.functional.linear(y, ffn_weight_2, ffn_bias_2)
    if not norm_first:
        x = torch.layer_norm(x, [embed_dim], norm_weight_2, norm_bias_2, eps)
    return x


def without_padding(output: Tensor, mask: Tensor) -> Tensor:
    hidden = mask.to(torch.bool)
    later = hidden[:, :-1].logical_and(hidden[:, 1:].logical_not())
    left_aligned = later.any().logical_not()
    return output.masked_fill(hidden.logical_and(left_aligned).unsqueeze(-1), 0.0)


def gru_cell(x: Tensor, state: Tensor, weight: Tensor, own_weight: Tensor, bias: Optional[Tensor],
             own_bias: Optional[Tensor]) -> Tensor:
    given = torch.nn.functional.linear(x, weight, bias).chunk(3, -1)
    own = torch.nn.functional.linear(state, own_weight, own_bias).chunk(3, -1)
    reset = torch.sigmoid(given[0] + own[0])
    kept = torch.sigmoid(given[1] + own[1])
    new = torch.tanh(given[2] + reset * own[2])
    return new + kept * (state - new)


def tanh_cell(x: Tensor, state: Tensor, weight: Tensor, own_weight: Tensor, bias: Optional[Tensor],
              own_bias: Optional[Tensor]) -> Tensor:
    given = torch.nn.functional.linear(x, weight, bias)
    return torch.tanh(given + torch.nn.functional.linear(state, own_weight, own_bias))


def relu_cell(x: Tensor, state: Tensor, weight: Tensor, own_weight: Tensor, bias: Optional[Tensor],
              own_bias: Optional[Tensor]) -> Tensor:
    given = torch.nn.functional.linear(x, weight, bias)
    return torch.relu(given + torch.nn.functional.linear(state, own_weight, own_bias))
"""

_LAYERS = {
    "aten::_transformer_encoder_layer_fwd": "layer",
    "aten::_native_multi_head_attention": "attention",
    "aten::gru_cell": "gru_cell",
    "aten::rnn_tanh_cell": "tanh_cell",
    "aten::rnn_relu_cell": "relu_cell",
}
_ALIGNED, _PADDED = "aten::_nested_tensor_from_mask_left_aligned", "aten::to_padded_tensor"


def take_apart(graph: Graph) -> None:
    """Replace the operators of whole layers in an inlined graph."""
    import torch

    changed = False
    for node in [*nodes(graph)]:
        kind = node.kind()
        if kind not in _LAYERS:
            continue
        with graph.insert_point_guard(node):
            made = graph.insertGraph(_graph(_LAYERS[kind]), list(node.inputs()))
        made = [*made[0].node().inputs()] if kind.endswith("attention") and len(made) == 1 else made
        for output, new in zip(node.outputs(), made, strict=True):
            output.replaceAllUsesWith(new)
        node.destroy()
        changed = True
    if changed:
        torch._C._jit_pass_inline(graph)
        torch._C._jit_pass_constant_propagation(graph)
        torch._C._jit_pass_dce(graph)


def keep_padding(graph: Graph) -> None:
    """Let an encoder keep its padding instead of nesting its tensors.

    Where torch nests them, which it does if all of the padding is at the end, the padding's outputs are zeros.
    """
    asked, padded = ([node for node in nodes(graph) if node.kind() == kind] for kind in (_ALIGNED, _PADDED))
    for question, last in zip(asked, padded, strict=False):
        branch, valid = last.owningBlock().owningNode(), question.inputsAt(1).node()
        if valid.kind() != "aten::logical_not" or branch.kind() != "prim::If":
            continue
        with graph.insert_point_guard(branch):
            made = graph.insertGraph(_graph("without_padding"), [last.inputsAt(0), valid.inputsAt(0)])
        next(branch.outputs()).replaceAllUsesWith(made[0])
        branch.destroy()
        question.output().replaceAllUsesWith(constant(graph, question, False))
        question.destroy()


@functools.cache
def _graph(name: str) -> Any:
    """Return the graph of a function of the source."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's opinion of TorchScript
        unit = torch.jit.CompilationUnit(_SOURCE)
    graph = getattr(unit, name).graph
    torch._C._jit_pass_inline(graph)
    return graph
