"""The lowest and highest valid values of inputs."""

import numpy as np
import torch

from .._messages import brief


def check_bounds(bounds, shape, place):
    """Return the bounds as two tensors that broadcast with one sample."""
    try:
        low, high = (_as_tensor(bound, place) for bound in bounds)
        fits = torch.broadcast_shapes(low.shape, high.shape, shape) == shape
    except (TypeError, ValueError, RuntimeError):
        fits = False
    if not fits:
        raise ValueError(
            "bounds must be a pair (lowest, highest) of numbers, or of arrays that "
            f"broadcast to one sample of shape {shape}; got {brief(bounds)}."
        )
    if not (low < high).all():
        raise ValueError(f"bounds must have lowest < highest; got {brief(bounds)}.")
    return low, high


def _as_tensor(bound, place):
    if isinstance(bound, np.ndarray) and bound.dtype.kind in "biuf":
        # torch takes no other byte order or strides, and warns of read-only memory.
        bound = bound.astype(np.float64, order="C")
    return torch.as_tensor(bound, **place)


def check_within(x, low, high):
    """Raise if inputs lie beyond the bounds."""
    # Normalised inputs may lie beyond by rounding.
    slack = torch.nan_to_num(1e-5 * (high - low), posinf=0.0)
    if (x < low - slack).any() or (x > high + slack).any():
        raise ValueError(
            f"X must lie within bounds; it spans [{x.min().item():.4g}, "
            f"{x.max().item():.4g}], they [{low.min().item():.4g}, "
            f"{high.max().item():.4g}]. Give bounds=, those of the inputs that the "
            "model takes, after any normalisation."
        )
