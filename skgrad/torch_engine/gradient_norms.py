"""Squared norms of per-sample parameter gradients in closed form.

Each function takes the input x of a layer and the gradient at its output, both with
the samples first, and returns the squared norm that each sample's gradient of one
parameter has. No gradient of a weight is kept, of most layers none is even computed.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from .cotangents import wide
from .model_state import at_least_float32

# Largest temporary, in numbers. A layer that needs more goes through its samples in
# chunks; smaller ones would pay for their number.
CHUNK = 2**24
# A sum this small beside its terms has lost too many of its float32 digits.
_CANCELLED = 3e-3


def linear_weight(x: Tensor, gradient: Tensor) -> Tensor:
    """Squared norms for the weight of a linear layer.

    Parameters
    ----------
    x : Tensor of shape (n_samples, n_positions, n_in)
        The layer's input.
    gradient : Tensor of shape (n_samples, n_positions, n_out)
        The gradient at its output.

    Returns
    -------
    Tensor of shape (n_samples,)
        ``|sum_t g_t x_t^T|_F^2``.
    """
    x, gradient = at_least_float32(x), at_least_float32(gradient)
    return outer_norms(x.transpose(1, 2), gradient.transpose(1, 2))


def row_sums(terms: Tensor, n_samples: int) -> Tensor:
    """Squared norms of a gradient that is a sum over rows.

    Parameters
    ----------
    terms : Tensor of shape (n_samples * n_rows, *parameter_shape)
        The terms of the sum, all rows of the first sample first.
    n_samples : int
        Number of samples.

    Returns
    -------
    Tensor of shape (n_samples,)
        Squared norms of the sums.
    """
    terms = at_least_float32(terms).reshape(n_samples, -1, *terms.shape[1:])
    return squares(terms.squeeze(1) if terms.shape[1] == 1 else terms.sum(dim=1))


def embedding_weight(x: Tensor, gradient: Tensor, padding_idx: int | None) -> Tensor:
    """Squared norms for the table of an embedding.

    Parameters
    ----------
    x : Tensor of int of shape (n_samples, n_positions)
        The indices.
    gradient : Tensor of shape (n_samples, n_positions, n_dimensions)
        The gradient at the vectors looked up.
    padding_idx : int or None
        The row of the table that is never trained.

    Returns
    -------
    Tensor of shape (n_samples,)
        The gradients at equal indices of a sample add up before they are squared.
    """
    n_samples, n_positions = x.shape
    owner = torch.arange(n_samples, device=x.device)[:, None].expand_as(x)
    gradient = at_least_float32(gradient).reshape(n_samples * n_positions, -1)
    cells, cell_of = torch.unique(
        torch.stack([owner, x]).flatten(1), dim=1, return_inverse=True
    )
    sums = gradient.new_zeros(cells.shape[1], gradient.shape[1])
    sums.index_add_(0, cell_of, gradient)
    per_cell = squares(sums)
    if padding_idx is not None:
        per_cell = per_cell.masked_fill(cells[1] == padding_idx, 0)
    return per_cell.new_zeros(n_samples).index_add_(0, cells[0], per_cell)


def squares(gradients: Tensor) -> Tensor:
    """Return the squared norm of each row, in float64: small squares underflow."""
    rows, dtype = gradients.reshape(len(gradients), -1), wide(gradients.device)
    if rows.device.type != "cpu" or rows.dtype != torch.float32:
        return torch.linalg.vector_norm(rows, dim=1, dtype=dtype).square()
    # On a CPU widening is slow, and seldom needed.
    lengths = torch.linalg.vector_norm(rows, dim=1).to(dtype)
    redo = unsafe(lengths)
    if redo.any():
        lengths[redo] = torch.linalg.vector_norm(rows[redo].to(dtype), dim=1)
    return lengths.square()


def unsafe(lengths: Tensor) -> Tensor:
    """Tell which lengths of float32 vectors may suffer from over- or underflow."""
    return ~((lengths > 1e-12) & (lengths < 1e18))


def outer_norms(x: Tensor, gradient: Tensor) -> Tensor:
    """Return |g x^T|_F^2 of x (m, n_in, t) and g (m, n_out, t) by the cheaper way."""
    (_, n_in, t), n_out = x.shape, gradient.shape[1]
    if t == 1:
        return squares(x) * squares(gradient)
    way: Callable[[Tensor, Tensor], Tensor]
    if t * (n_in + n_out) < n_in * n_out:
        way, largest = partial(norms_by_grams, gram_of=position_gram), t * t
    else:
        way, largest = _norms_by_product, n_in * n_out
    return in_chunks(way, x, gradient, largest)


def in_chunks(
    way: Callable[[Tensor, Tensor], Tensor], x: Tensor, gradient: Tensor, largest: int
) -> Tensor:
    """Compute norms for as many samples at a time as CHUNK allows.

    ``largest`` is the size of the largest temporary of one sample, in numbers.
    """
    step = max(1, CHUNK // largest)
    pieces = zip(x.split(step), gradient.split(step), strict=True)
    return torch.cat([way(*piece) for piece in pieces])


def position_gram(maps: Tensor) -> Tensor:
    """Return the products (m, t, t) of the positions of maps (m, n, t)."""
    return maps.transpose(1, 2) @ maps


def norms_by_grams(
    x: Tensor, gradient: Tensor, *, gram_of: Callable[[Tensor], Tensor]
) -> Tensor:
    """Add up the products of two Gram matrices over positions.

    They are quadratic in x and the gradient: where those are tiny or huge they would
    leave the range of float32, and where terms cancel they have half the digits. So
    both are scaled first, and samples whose terms cancel are computed in float64.

    Parameters
    ----------
    x : Tensor of shape (m, n_in, *spatial)
        The layer's input.
    gradient : Tensor of shape (m, n_out, *positions)
        The gradient at its output.
    gram_of : callable
        Gives the Gram matrices (m, n_positions, n_positions) of x.

    Returns
    -------
    Tensor of shape (m,)
        ``sum_{p,q} gram_of(x)[p, q] (g_p . g_q)``.
    """
    (x, x_size), (gradient, size) = _scaled(x), _scaled(gradient)

    def terms(x: Tensor, gradient: Tensor) -> Tensor:
        return gram_of(x) * position_gram(gradient.flatten(2))

    every, dtype = terms(x, gradient), wide(x.device)
    norms = every.sum(dim=(1, 2), dtype=dtype)
    if x.dtype != dtype:
        cancelled = norms < _CANCELLED * every.abs_().sum(dim=(1, 2), dtype=dtype)
        if cancelled.any():
            precise = terms(x[cancelled].to(dtype), gradient[cancelled].to(dtype))
            norms[cancelled] = precise.sum(dim=(1, 2))
    # Rounding may leave a zero sum below zero.
    return norms.clamp_min(0) * (x_size.to(dtype) * size.to(dtype)).square()


def _scaled(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return maps divided by each sample's largest entry, and that."""
    size = maps.abs().flatten(1).amax(dim=1)
    size = torch.where(size == 0, 1, size)
    return maps / size.view(-1, *[1] * (maps.ndim - 1)), size


def _norms_by_product(x: Tensor, gradient: Tensor) -> Tensor:
    return squares(matrix_products(gradient, x))


def matrix_products(gradient: Tensor, x: Tensor) -> Tensor:
    """Return the matrices g x^T."""
    if gradient.shape[1] == x.shape[1] == 1:  # depthwise: too small for a product
        return (gradient * x).sum(dim=2, keepdim=True)
    return gradient @ x.transpose(1, 2)
