"""Squared norms of per-sample parameter gradients in closed form.

Each function takes the input x of a layer and the gradient at its output, both with
the samples first, and returns the squared norm that each sample's gradient of one
parameter has. No gradient of a weight is kept, of most layers none is even computed.
"""

import torch
from torch import Tensor

from .cotangents import wide
from .model_state import at_least_float32

# Largest temporary, in numbers. A layer that needs more goes through its samples in
# chunks; smaller ones would pay for their number.
CHUNK = 2**24


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
    """Return |g x^T|_F^2 of (m, n_out, t) and (m, n_in, t) by the cheaper way."""
    (_, n_in, t), n_out = x.shape, gradient.shape[1]
    if t == 1:
        return squares(x) * squares(gradient)
    by_grams = t * (n_in + n_out) < n_in * n_out
    step = max(1, CHUNK // (t * t if by_grams else n_in * n_out))
    norms = []
    for a, g in zip(x.split(step), gradient.split(step), strict=True):
        if by_grams:
            norms.append(gram_product(a.transpose(1, 2) @ a, g))
        else:
            norms.append(squares(products(g, a)))
    return torch.cat(norms)


def gram_product(x_gram: Tensor, gradient: Tensor) -> Tensor:
    """Return the sum over p and q of x_gram[p, q] (g_p . g_q)."""
    # The Gram matrix is quadratic in the gradient: unscaled it could underflow.
    scale = gradient.abs().amax(dim=(1, 2), keepdim=True)
    gradient = gradient / torch.where(scale == 0, 1, scale)
    products = x_gram * (gradient.transpose(1, 2) @ gradient)
    dtype = wide(gradient.device)
    norms = products.sum(dim=(1, 2), dtype=dtype) * scale.flatten().to(dtype).square()
    return norms.clamp_min(0)  # rounding may leave a zero sum below zero


def products(gradient: Tensor, x: Tensor) -> Tensor:
    """Return the matrices g x^T."""
    if gradient.shape[1] == x.shape[1] == 1:  # depthwise: too small for a product
        return (gradient * x).sum(dim=2, keepdim=True)
    return gradient @ x.transpose(1, 2)
