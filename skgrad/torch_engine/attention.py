"""Torch's attention between projections that are calls of their own.

Its linear layers are functions inside, where no rule for gradient norms can be put.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .gradient_rules import linear, linear_block

# Runs a linear layer by its rule, on input, weight and bias.
Project = Callable[..., Tensor]


def bound_attention(*args: Any, **kwargs: Any) -> inspect.BoundArguments:
    """Return the arguments of a call of torch's attention by their names."""
    bound = inspect.signature(F.multi_head_attention_forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound


def run_attention(
    bound: inspect.BoundArguments,
    project: Project,
    detached: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor | None]:
    """Return what torch's attention returns for the arguments of a call.

    The projections are computed here, and so is the rest of a plain attention; of any
    other torch's function gets identities in their place. ``project`` takes a rule and
    the arguments of a linear layer, ``detached`` cuts a parameter off the graph.
    """
    given = bound.arguments
    out_weight, out_bias = given["out_proj_weight"], given["out_proj_bias"]
    query, key, value = _projected(given, project, detached)
    extras = [given[name] for name in _EXTRAS]
    if query.ndim == 3 and all(one is None or one is False for one in extras):
        attended = _attend(query, key, value, given["num_heads"])
        return project(linear, attended, out_weight, out_bias), None
    identity = torch.eye(query.shape[-1], dtype=query.dtype, device=query.device)
    given.update(query=query, key=key, value=value, use_separate_proj_weight=False)
    given.update(in_proj_weight=identity.repeat(3, 1), in_proj_bias=None)
    given.update(out_proj_weight=identity, out_proj_bias=None)
    attended, weights = F.multi_head_attention_forward(*bound.args, **bound.kwargs)
    return project(linear, attended, out_weight, out_bias), weights


def _projected(
    given: dict[str, Any], project: Project, detached: Callable[[Tensor], Tensor]
) -> Sequence[Tensor]:
    """Project query, key and value of an attention."""
    inputs = [given[name] for name in ("query", "key", "value")]
    bias = given["in_proj_bias"]
    if given["use_separate_proj_weight"]:
        weights = [given[f"{letter}_proj_weight"] for letter in "qkv"]
        blocks = [detached(weight) for weight in weights]
    else:
        weight = given["in_proj_weight"]
        if inputs[0] is inputs[1] is inputs[2]:
            return project(linear, inputs[0], weight, bias).chunk(3, dim=-1)
        weights, blocks = [weight] * 3, list(detached(weight).chunk(3))
    biases = [None] * 3 if bias is None else list(detached(bias).chunk(3))
    # The norms of the blocks of a parameter add up to its whole norm.
    projections = zip(inputs, weights, blocks, biases, strict=True)
    return [
        project(partial(linear_block, weight, bias), x, block, piece)
        for x, weight, block, piece in projections
    ]


# What an attention may have beside its projections.
_EXTRAS = (
    *("attn_mask", "key_padding_mask", "is_causal", "need_weights", "add_zero_attn"),
    *("bias_k", "bias_v", "static_k", "static_v", "training"),
)


def _attend(query: Tensor, key: Tensor, value: Tensor, n_heads: int) -> Tensor:
    """Return what a plain attention makes of projections (n_positions, n, width)."""

    def split(x: Tensor) -> Tensor:
        return x.unflatten(-1, (n_heads, -1)).permute(1, 2, 0, 3)

    attended = F.scaled_dot_product_attention(split(query), split(key), split(value))
    return attended.permute(2, 0, 1, 3).flatten(2)
