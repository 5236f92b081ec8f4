"""Scaling of samples, so that squares of tiny values do not underflow."""

import torch
from torch import Tensor

from .model_state import at_least_float32


def widest_float(device: torch.device) -> torch.dtype:
    """Return the widest floating dtype of the device."""
    return torch.float32 if device.type == "mps" else torch.float64


def scale_by_largest(values: Tensor) -> tuple[Tensor, Tensor]:
    """Divide each sample (n_samples, ...) by its largest absolute entry.

    Returns values in [-1, 1] and the divisors (n_samples,), constants for autograd. A
    sample of zeros stays as it is.
    """
    size = values.detach().abs().flatten(1).amax(dim=1)
    size = torch.where(size == 0, 1, size)
    return values / size.view(-1, *[1] * (values.ndim - 1)), size


def unit(values: Tensor) -> Tensor:
    """Bring each sample (n_samples, ...) to Euclidean length 1; zeros stay zeros.

    The result has float32 or wider, and can be differentiated.
    """
    # Scaled by the largest entry first, as the squares of tiny gradients underflow.
    scaled, _ = scale_by_largest(at_least_float32(values))
    lengths = torch.linalg.vector_norm(scaled.flatten(1), dim=1)
    lengths = torch.where(lengths == 0, 1, lengths)
    return scaled / lengths.view(-1, *[1] * (values.ndim - 1))
