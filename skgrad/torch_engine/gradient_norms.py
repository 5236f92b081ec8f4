"""Squared norms of per-sample parameter gradients in closed form.

Each function takes the input x of a layer and the gradient at its output, both with
the samples first, and returns the squared norm that each sample's gradient of one
parameter has. No gradient of a weight is kept, and of most layers none is computed.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from .model_state import at_least_float32
from .scaling import scale_by_largest, widest_float

# Largest temporary, in numbers. A layer that needs more goes through its samples in
# chunks. Smaller chunks would cost more calls than they save memory.
CHUNK = 2**24
# A sum that is this small beside its terms has lost too many of its float32 digits.
_CANCELLED = 3e-3
# Beside numbers of this size, what is too small for float32 is nothing but rounding.
_UNDERFLOW = 1e-24
# Lengths of float32 vectors whose squares neither underflow nor overflow in float32.
_SAFE_LENGTHS = 1e-12, 1e18
# A float32 sum of more numbers than this is made of sums of rows.
_LONG = 2**16
# So few numbers are widened in less time than it takes to look whether they must be.
_FEW = 2**15


def linear_weight(x: Tensor, gradient: Tensor) -> Tensor:
    """Compute ``|sum_t g_t x_t^T|_F^2``, for the weight of a linear layer.

    Its input x is (n_samples, n_positions, n_in), the gradient (n_samples, n_positions,
    n_out).
    """
    x, gradient = at_least_float32(x), at_least_float32(gradient)
    return outer_norms(x.transpose(1, 2), gradient.transpose(1, 2))


def row_sums(terms: Tensor, n_samples: int) -> Tensor:
    """Compute squared norms of a gradient that is a sum over rows.

    The terms (n_samples * n_rows, *parameter_shape) have all rows of the first sample
    first.
    """
    terms = at_least_float32(terms).reshape(n_samples, -1, *terms.shape[1:])
    return squares(terms.squeeze(1) if terms.shape[1] == 1 else terms.sum(dim=1))


def embedding_weight(x: Tensor, gradient: Tensor, padding_idx: int | None) -> Tensor:
    """Compute squared norms for the table of an embedding.

    The indices x are (n_samples, n_positions), the gradient (n_samples, n_positions,
    n_dimensions). The row ``padding_idx`` of the table is never trained.
    """
    n_samples, n_positions = x.shape
    owner = torch.arange(n_samples, device=x.device)[:, None].expand_as(x)
    gradient = at_least_float32(gradient).reshape(n_samples * n_positions, -1)
    # The gradients at equal indices of a sample add up before they are squared.
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
    """Return the squared norm of each row, in float64, as small squares underflow."""
    rows, dtype = gradients.reshape(len(gradients), -1), widest_float(gradients.device)
    narrow_pays = rows.device.type == "cpu" and rows.numel() > _FEW
    if not narrow_pays or rows.dtype != torch.float32:
        return torch.linalg.vector_norm(rows, dim=1, dtype=dtype).square()
    # On a CPU widening is slow, and seldom needed.
    lengths, (low, high) = _narrow_lengths(gradients, dtype), _SAFE_LENGTHS
    # Few calls: for small parameters they are the whole price. Of NaN, both are NaN.
    least, most = lengths.aminmax()
    if not (low < least.item() and most.item() < high):
        unsafe = ~((lengths > low) & (lengths < high))
        lengths[unsafe] = torch.linalg.vector_norm(rows[unsafe].to(dtype), dim=1)
    return lengths.square()


def whole_squares(gradients: Sequence[Tensor]) -> Tensor:
    """Return the squared norm (n_gradients,) of each of several tensors, as `squares`.

    They may lie on several devices; the result is on that of the first.
    """
    device = gradients[0].device
    lengths = [_length(gradient).to(device) for gradient in gradients]
    squared = torch.stack(lengths).square()
    low, high = (length**2 for length in _SAFE_LENGTHS)
    # Few calls for many small tensors: they are the price of a single input.
    for place in ((squared <= low) | (squared >= high)).nonzero().flatten().tolist():
        squared[place] = squares(gradients[place].reshape(1, -1)).to(device)[0]
    return squared


def _length(gradient: Tensor) -> Tensor:
    """Return the Euclidean length of a tensor in the widest float."""
    dtype = widest_float(gradient.device)
    if gradient.device.type != "cpu" or gradient.dtype != torch.float32:
        return torch.linalg.vector_norm(gradient, dtype=dtype)
    return _narrow_lengths(gradient[None], dtype)[0]


def _narrow_lengths(gradients: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the length of each row in a dtype, computed in its own.

    Of large rows those inside come first, because long sums lose digits.
    """
    if gradients.ndim > 2 and gradients[0].numel() > _LONG:
        lengths = torch.linalg.vector_norm(gradients.flatten(2), dim=2)
        return torch.linalg.vector_norm(lengths.to(dtype), dim=1)
    rows = gradients.reshape(len(gradients), -1)
    return torch.linalg.vector_norm(rows, dim=1).to(dtype)


def outer_norms(x: Tensor, gradient: Tensor) -> Tensor:
    """Compute |g x^T|_F^2 of x (m, n_in, t) and g (m, n_out, t), the cheaper way.

    The matrix g x^T has n_in n_out entries. Its norm is also the sum of the products of
    two matrices x^T x and g^T g of t^2 entries.
    """
    (_, n_in, t), n_out = x.shape, gradient.shape[1]
    if t == 1:
        return squares(x) * squares(gradient)
    if t * (n_in + n_out) < n_in * n_out:
        by_grams = partial(norms_by_grams, gram_of=position_gram)
        return in_chunks(by_grams, x, gradient, t * t)
    return in_chunks(
        lambda x, g: squares(g @ x.transpose(1, 2)), x, gradient, n_in * n_out
    )


def in_chunks(
    norms: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    gradient: Tensor,
    largest: int,
    chunk: int | None = None,
) -> Tensor:
    """Compute norms for as many samples at a time as a chunk holds, by default CHUNK.

    ``largest`` is the size of the largest temporary of one sample, in numbers.
    """
    step = max(1, (chunk or CHUNK) // largest)
    if len(x) <= step:
        return norms(x, gradient)
    chunks = zip(x.split(step), gradient.split(step), strict=True)
    return torch.cat([norms(*chunk) for chunk in chunks])


def position_gram(maps: Tensor) -> Tensor:
    """Return the products (m, t, t) of the positions of maps (m, n, t)."""
    return maps.transpose(1, 2) @ maps


def norms_by_grams(
    x: Tensor, gradient: Tensor, *, gram_of: Callable[[Tensor], Tensor]
) -> Tensor:
    """Compute ``sum_{p,q} gram_of(x)[p, q] (g_p . g_q)``.

    The terms are quadratic in x and the gradient. Where those are tiny or huge they
    leave the range of float32, and where terms cancel they have half the digits. Such
    samples are scaled, and computed again in float64. ``gram_of`` returns the Gram
    matrices (m, n_positions, n_positions) of x.
    """
    dtype = widest_float(x.device)
    if x.dtype == dtype:
        return _norms_by_scaled_grams(x, gradient, gram_of)
    grams = gram_of(x), position_gram(gradient.flatten(2))
    terms = grams[0] * grams[1]
    norms = terms.sum(dim=(1, 2), dtype=dtype)
    # The largest entry of a Gram matrix is on its diagonal.
    sizes = [terms.abs_().sum(dim=(1, 2)), *(gram.amax(dim=(1, 2)) for gram in grams)]
    rows = zip(*torch.stack([norms, *sizes]).tolist(), strict=True)
    lost = [place for place, row in enumerate(rows) if not _has_digits(*row)]
    if lost:
        precise = x[lost].to(dtype), gradient[lost].to(dtype)
        norms[lost] = _norms_by_scaled_grams(*precise, gram_of)
    return norms


def _has_digits(norm: float, size: float, x_size: float, gradient_size: float) -> bool:
    """Return True if float32 is enough for a sum of terms and those of its size.

    ``x_size`` and ``gradient_size`` are the largest entries of the Gram matrices.
    """
    # What underflowed in one Gram matrix was multiplied by entries of the other.
    least = _UNDERFLOW * max(1, x_size, gradient_size)
    return norm >= _CANCELLED * size and least < size < math.inf


def _norms_by_scaled_grams(
    x: Tensor, gradient: Tensor, gram_of: Callable[[Tensor], Tensor]
) -> Tensor:
    (x, x_size), (gradient, size) = scale_by_largest(x), scale_by_largest(gradient)
    terms = gram_of(x) * position_gram(gradient.flatten(2))
    # Rounding may leave a zero sum below zero.
    return terms.sum(dim=(1, 2)).clamp_min(0) * (x_size * size).square()
