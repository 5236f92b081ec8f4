"""Rules: the function calls whose parameter gradients have norms in closed form.

A rule in `RULES` has the signature of its function. It returns a `Claim`, or None if it
does not hold for the arguments of the call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import index
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from .convolution_norms import convolution_weight
from .gradient_norms import embedding_weight, linear_weight, row_sums
from .model_state import at_least_float32

# Computes squared norms from the input and the gradient at the output of a call, both
# with the rows of the samples along the first axis, and the number of samples.
Norms = Callable[[Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class Claim:
    """The parameters of a call, and how their norms are computed by its ``rule``.

    ``parts`` pairs each tensor that may be a parameter with the function for its norms.
    ``trailing`` is the number of axes at the end of the input that belong to the layer:
    the samples may lie along any axis before them; with None, along the first alone.
    ``rows`` is False if a sample must have a single row along the axis of the samples.
    """

    rule: str
    parts: Sequence[tuple[Tensor | None, Norms]]
    trailing: int | None = None
    rows: bool = True


# Takes the arguments of a call.
Rule = Callable[..., Claim | None]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Claim | None:
    """Return the claim of a linear layer."""
    return linear_block(weight, bias, input, weight, bias)


def linear_block(
    whole_weight: Tensor,
    whole_bias: Tensor | None,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
) -> Claim | None:
    """Return the claim of a linear layer that uses a block of larger parameters."""
    if weight.ndim != 2:  # torch also takes a vector
        return None

    def weight_norms(x: Tensor, gradient: Tensor, n: int) -> Tensor:
        return linear_weight(
            x.reshape(n, -1, x.shape[-1]), gradient.reshape(n, -1, gradient.shape[-1])
        )

    parts = ((whole_weight, weight_norms), (whole_bias, _summed_rows(1)))
    return Claim("linear", parts, trailing=1)


def _product(input: Tensor, other: Tensor) -> Claim | None:
    # The norm of a weight is that of its transpose.
    return linear_block(other, None, input, other)


def _summed_rows(n_axes: int) -> Norms:
    """Make the norms of a parameter that is added to the last axes of each row."""

    def norms(x: Tensor, gradient: Tensor, n: int) -> Tensor:
        return row_sums(gradient.reshape(-1, *gradient.shape[-n_axes:]), n)

    return norms


def _summed_positions(x: Tensor, gradient: Tensor, n: int) -> Tensor:
    """Compute the norms of a parameter that is added to each channel."""
    return row_sums(_over_positions(gradient), n)


def _over_positions(maps: Tensor) -> Tensor:
    return at_least_float32(maps).flatten(2).sum(dim=2) if maps.ndim > 2 else maps


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Claim:
    if padding == "same":
        # Of an odd number torch puts the larger half behind, where all is 0 anyway.
        reach = zip(_per_axis(dilation, weight.ndim - 2), weight.shape[2:], strict=True)
        padding = [d * (k - 1) // 2 for d, k in reach]
    elif padding == "valid":
        padding = 0
    norms_of = _convolution_weight(weight, stride, padding, dilation, groups)
    parts = (
        (weight, lambda x, gradient, n: norms_of(x, gradient)),
        (bias, _summed_positions),
    )
    return Claim(f"conv{weight.ndim - 2}d", parts, rows=False)


def _transposed_convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Claim:
    norms_of = _convolution_weight(weight, stride, padding, dilation, groups)
    parts = (
        # The adjoint of a convolution: its input is the output of that one.
        (weight, lambda x, gradient, n: norms_of(gradient, x)),
        (bias, _summed_positions),
    )
    return Claim(f"conv_transpose{weight.ndim - 2}d", parts, rows=False)


def _convolution_weight(
    weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return `convolution_weight` with the settings of each axis."""
    n_axes = weight.ndim - 2
    return partial(
        convolution_weight,
        kernel_size=weight.shape[2:],
        stride=_per_axis(stride, n_axes),
        padding=_per_axis(padding, n_axes),
        dilation=_per_axis(dilation, n_axes),
        groups=groups,
    )


def _per_axis(value: Any, n_axes: int) -> Sequence[int]:
    values = list(map(index, value if isinstance(value, (tuple, list)) else [value]))
    return values * (n_axes if len(values) == 1 else 1)


def _scaled_channels(normalise: Callable[[Tensor], Tensor]) -> Norms:
    """Make the norms of a normalisation's weight with one entry per channel."""

    def norms(x: Tensor, gradient: Tensor, n: int) -> Tensor:
        # The derivative by the weight is the normalised input, which is computed again
        # instead of being held in memory.
        normal = normalise(at_least_float32(x))
        return row_sums(_over_positions(normal.mul_(gradient)), n)

    return norms


def _scaled_rows(normalise: Callable[[Tensor], Tensor], n_axes: int) -> Norms:
    """Make the norms of a normalisation's weight with one entry per value of a row."""

    def norms(x: Tensor, gradient: Tensor, n: int) -> Tensor:
        scaled = normalise(at_least_float32(x)).mul_(gradient)
        return row_sums(scaled.reshape(-1, *scaled.shape[-n_axes:]), n)

    return norms


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Claim | None:
    # Statistics of the batch would make a sample's gradient depend on the others.
    if training or running_mean is None or running_var is None:
        return None
    mean, var = running_mean.detach(), running_var.detach()

    def normalise(x: Tensor) -> Tensor:
        return F.batch_norm(x, mean.to(x.dtype), var.to(x.dtype), eps=eps)

    parts = ((weight, _scaled_channels(normalise)), (bias, _summed_positions))
    return Claim("batch_norm", parts)


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Claim | None:
    if not use_input_stats:
        claim = _batch_norm(input, running_mean, running_var, weight, bias, eps=eps)
        return claim and replace(claim, rule="instance_norm")
    normalise = partial(F.instance_norm, eps=eps)
    parts = ((weight, _scaled_channels(normalise)), (bias, _summed_positions))
    return Claim("instance_norm", parts)


def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Claim:
    normalise = partial(F.group_norm, num_groups=num_groups, eps=eps)
    parts = ((weight, _scaled_channels(normalise)), (bias, _summed_positions))
    return Claim("group_norm", parts)


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Claim:
    n_axes = len(normalized_shape)
    normalise = partial(F.layer_norm, normalized_shape=normalized_shape, eps=eps)
    parts = ((weight, _scaled_rows(normalise, n_axes)), (bias, _summed_rows(n_axes)))
    return Claim("layer_norm", parts, trailing=n_axes)


def _rms_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Claim:
    n_axes = len(normalized_shape)
    if eps is None:  # torch's default is the precision of the input's type
        eps = torch.finfo(input.dtype).eps
    normalise = partial(F.rms_norm, normalized_shape=normalized_shape, eps=eps)
    parts = ((weight, _scaled_rows(normalise, n_axes)),)
    return Claim("rms_norm", parts, trailing=n_axes)


def _embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Claim | None:
    # max_norm rewrites the table, and scale_grad_by_freq divides by the counts of
    # indices over the whole batch.
    if max_norm is not None or scale_grad_by_freq:
        return None
    if padding_idx is not None and padding_idx < 0:
        padding_idx += len(weight)

    def norms(x: Tensor, gradient: Tensor, n: int) -> Tensor:
        vectors = gradient.reshape(n, -1, gradient.shape[-1])
        return embedding_weight(x.reshape(n, -1), vectors, padding_idx)

    return Claim("embedding", ((weight, norms),), trailing=0)


def _prelu(input: Tensor, weight: Tensor) -> Claim:
    # The derivative by the weight is the input where it is negative, 0 elsewhere.
    def norms(x: Tensor, gradient: Tensor, n: int) -> Tensor:
        terms = at_least_float32(x.clamp(max=0)).mul_(gradient)
        if weight.numel() == 1:
            return row_sums(terms.reshape(n, -1).sum(dim=1), n)
        return row_sums(_over_positions(terms), n)

    return Claim("prelu", ((weight, norms),))


RULES: dict[Callable, Rule] = {
    F.linear: linear,
    torch.matmul: _product,
    Tensor.matmul: _product,
    F.conv1d: _convolution,
    F.conv2d: _convolution,
    F.conv3d: _convolution,
    F.conv_transpose1d: _transposed_convolution,
    F.conv_transpose2d: _transposed_convolution,
    F.conv_transpose3d: _transposed_convolution,
    F.batch_norm: _batch_norm,
    F.layer_norm: _layer_norm,
    F.group_norm: _group_norm,
    F.instance_norm: _instance_norm,
    F.rms_norm: _rms_norm,
    F.embedding: _embedding,
    F.prelu: _prelu,
}


def broadcast(parameter: Tensor, other: Any, rule: str) -> Claim | None:
    """Return the claim of a parameter that is broadcast against the samples.

    ``other`` is what the parameter is added to ("sum"), multiplied with ("product") or
    expanded to ("expand"). None if it is no tensor, or has too few axes.
    """
    if not isinstance(other, Tensor) or other.ndim < max(1, parameter.ndim):
        return None
    shape = parameter.shape
    while shape and shape[0] == 1:  # the samples may lie along such an axis
        shape = shape[1:]

    def norms(x: Tensor, gradient: Tensor, n: int) -> Tensor:
        terms = at_least_float32(gradient)
        if rule == "product":
            terms = terms * x
        # One term per row, summed over the axes along which the parameter is repeated.
        target = (len(terms), *(1,) * (terms.ndim - 1 - len(shape)), *shape)
        return row_sums(terms.sum_to_size(target).reshape(len(terms), *shape), n)

    return Claim(rule, ((parameter, norms),), trailing=len(shape))


# How a parameter enters the results of these functions. Where no rule is named, it is
# expanded to the shape of the result.
BROADCASTS: dict[Callable, str] = {
    torch.add: "sum",
    torch.sub: "sum",
    torch.mul: "product",
    Tensor.add: "sum",
    Tensor.sub: "sum",
    Tensor.mul: "product",
    **dict.fromkeys((torch.div, Tensor.div, torch.pow, Tensor.pow, torch.where), ""),
    **dict.fromkeys((torch.maximum, torch.minimum, torch.addcmul), ""),
    **dict.fromkeys((Tensor.add_, Tensor.sub_, Tensor.mul_, Tensor.addcmul), ""),
}

# Functions in which a parameter is repeated for each sample.
EXPANSIONS = frozenset(
    {Tensor.expand, Tensor.expand_as, Tensor.repeat, Tensor.broadcast_to}
)
