"""The rules: which function calls have parameter gradients in closed form, and which.

A rule in `RULES` has the signature of the function that it is for, and answers with a
`Claim` or, where the call is none of its kind, with None.
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

# Squared norms from the input and the gradient at the output of a call, both with
# the samples' rows first, and the number of samples.
Norms = Callable[[Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class Claim:
    """What a rule says about a call: these parameters, in this way.

    Attributes
    ----------
    rule : str
        The name of the rule.
    parts : sequence of (Tensor or None, callable)
        The tensors that may be parameters, each with its squared norms.
    trailing : int or None
        The number of axes at the end of the input that the rule needs in place; the
        samples may lie along any axis before them. None: along the first.
    rows : bool
        Whether a sample may have several rows along the axis of the samples.
    """

    rule: str
    parts: Sequence[tuple[Tensor | None, Norms]]
    trailing: int | None = None
    rows: bool = True


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Claim | None:
    """Claim the parameters of a linear layer."""
    return linear_block(weight, bias, input, weight, bias)


def linear_block(
    whole_weight: Tensor,
    whole_bias: Tensor | None,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
) -> Claim | None:
    """Claim parameters of which a linear layer gets a block."""
    if weight.ndim != 2:  # torch takes a vector too
        return None

    def weight_norms(x: Tensor, gradient: Tensor, n: int) -> Tensor:
        return linear_weight(
            x.reshape(n, -1, x.shape[-1]), gradient.reshape(n, -1, gradient.shape[-1])
        )

    parts = ((whole_weight, weight_norms), (whole_bias, _summed_rows(1)))
    return Claim("linear", parts, trailing=1)


def _summed_rows(n_axes: int) -> Norms:
    """Return the norms of a parameter that is added to the last axes of each row."""

    def norms(x: Tensor, gradient: Tensor, n: int) -> Tensor:
        return row_sums(gradient.reshape(-1, *gradient.shape[-n_axes:]), n)

    return norms


def _summed_positions(x: Tensor, gradient: Tensor, n: int) -> Tensor:
    """Return the norms of a parameter that is added to each channel."""
    return row_sums(_over_positions(gradient), n)


def _over_positions(maps: Tensor) -> Tensor:
    return at_least_float32(maps).flatten(2).sum(dim=2) if maps.ndim > 2 else maps


def _convolution(n_axes: int) -> Callable[..., Claim]:
    def rule(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Claim:
        if padding == "same":
            # torch puts the odd one behind; what lies there is 0 anyhow.
            reach = zip(_per_axis(dilation, n_axes), weight.shape[2:], strict=True)
            padding = [d * (k - 1) // 2 for d, k in reach]
        elif padding == "valid":
            padding = 0
        norms_of = _convolution_weight(
            n_axes, weight, stride, padding, dilation, groups
        )
        parts = (
            (weight, lambda x, gradient, n: norms_of(x, gradient)),
            (bias, _summed_positions),
        )
        return Claim(f"conv{n_axes}d", parts, rows=False)

    return rule


def _transposed_convolution(n_axes: int) -> Callable[..., Claim]:
    def rule(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Claim:
        norms_of = _convolution_weight(
            n_axes, weight, stride, padding, dilation, groups
        )
        parts = (
            # It is the adjoint of a convolution, of which it takes the output.
            (weight, lambda x, gradient, n: norms_of(gradient, x)),
            (bias, _summed_positions),
        )
        return Claim(f"conv_transpose{n_axes}d", parts, rows=False)

    return rule


def _convolution_weight(
    n_axes: int, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return `convolution_weight` with its settings, one per axis."""
    return partial(
        convolution_weight,
        kernel_size=weight.shape[2:],
        stride=_per_axis(stride, n_axes),
        padding=_per_axis(padding, n_axes),
        dilation=_per_axis(dilation, n_axes),
        groups=groups,
    )


def _per_axis(value: Any, n_axes: int) -> Sequence[int]:
    values = (
        [index(v) for v in value]
        if isinstance(value, (tuple, list))
        else [index(value)]
    )
    return values * (n_axes if len(values) == 1 else 1)


def _scaled_channels(normalise: Callable[[Tensor], Tensor]) -> Norms:
    """Return the norms of the weight of a normalisation with one per channel."""

    def norms(x: Tensor, gradient: Tensor, n: int) -> Tensor:
        normal = normalise(at_least_float32(x))
        return row_sums(_over_positions(normal.mul_(gradient)), n)

    return norms


def _scaled_rows(normalise: Callable[[Tensor], Tensor], n_axes: int) -> Norms:
    """Return the norms of the weight of a normalisation with one per entry."""

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
    parts = (
        (weight, _scaled_channels(partial(F.instance_norm, eps=eps))),
        (bias, _summed_positions),
    )
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
    if eps is None:  # torch's default is that of the type it computes in
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
    # The first rewrites the table, the second divides by counts over the batch.
    if max_norm is not None or scale_grad_by_freq:
        return None
    if padding_idx is not None and padding_idx < 0:
        padding_idx += len(weight)

    def norms(x: Tensor, gradient: Tensor, n: int) -> Tensor:
        vectors = gradient.reshape(n, -1, gradient.shape[-1])
        return embedding_weight(x.reshape(n, -1), vectors, padding_idx)

    return Claim("embedding", ((weight, norms),), trailing=0)


def _prelu(input: Tensor, weight: Tensor) -> Claim:
    def norms(x: Tensor, gradient: Tensor, n: int) -> Tensor:
        terms = at_least_float32(x.clamp(max=0)).mul_(gradient)
        if weight.numel() == 1:
            return row_sums(terms.reshape(n, -1).sum(dim=1), n)
        return row_sums(_over_positions(terms), n)

    return Claim("prelu", ((weight, norms),))


RULES: dict[Callable, Callable[..., Claim | None]] = {
    F.linear: linear,
    F.conv1d: _convolution(1),
    F.conv2d: _convolution(2),
    F.conv3d: _convolution(3),
    F.conv_transpose1d: _transposed_convolution(1),
    F.conv_transpose2d: _transposed_convolution(2),
    F.conv_transpose3d: _transposed_convolution(3),
    F.batch_norm: _batch_norm,
    F.layer_norm: _layer_norm,
    F.group_norm: _group_norm,
    F.instance_norm: _instance_norm,
    F.rms_norm: _rms_norm,
    F.embedding: _embedding,
    F.prelu: _prelu,
}


def broadcast(parameter: Tensor, other: Any, rule: str) -> Claim | None:
    """Claim a parameter that is broadcast against a tensor with the samples.

    Parameters
    ----------
    parameter : Tensor
        The parameter.
    other : Tensor
        What it is added to, multiplied with, or expanded to.
    rule : {"sum", "product", "expand"}
        Which.

    Returns
    -------
    Claim or None
        None if the other is no tensor, has no axis, or fewer than the parameter.
    """
    if not isinstance(other, Tensor) or other.ndim < max(1, parameter.ndim):
        return None
    shape = parameter.shape
    while shape and shape[0] == 1:  # there the samples may lie
        shape = shape[1:]

    def norms(x: Tensor, gradient: Tensor, n: int) -> Tensor:
        terms = at_least_float32(gradient)
        if rule == "product":
            terms = terms * x
        # One term per row, summed over the axes along which the parameter is repeated.
        target = (len(terms), *(1,) * (terms.ndim - 1 - len(shape)), *shape)
        return row_sums(terms.sum_to_size(target).reshape(len(terms), *shape), n)

    return Claim(rule, ((parameter, norms),), trailing=len(shape))


BROADCASTS: dict[Callable, str] = {
    torch.add: "sum",
    torch.sub: "sum",
    torch.mul: "product",
    Tensor.add: "sum",
    Tensor.sub: "sum",
    Tensor.mul: "product",
}
