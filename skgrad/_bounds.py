"""The only checks of bounds, the lowest and highest valid values of inputs."""

from typing import Any

import torch
from torch import Tensor

from ._conversion import as_tensor
from ._labels import to_array
from ._messages import brief


def check_bounds(bounds: Any, shape: tuple, place: dict) -> tuple[Tensor, Tensor]:
    """Return the lowest and highest valid values, tensors that broadcast to a sample.

    ``place`` holds the device and dtype of the model.
    """
    try:
        low, high = (as_tensor(to_array(b, "bounds")).to(**place) for b in bounds)
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


def check_within(x: Tensor, low: Tensor, high: Tensor) -> None:
    """Raise if inputs lie beyond the bounds."""
    # Normalised inputs may lie beyond by rounding.
    slack = torch.nan_to_num(1e-5 * (high - low), posinf=0.0)
    if (x < low - slack).any() or (x > high + slack).any():
        raise ValueError(
            f"X must lie within bounds; it spans [{x.min():.4g}, {x.max():.4g}], they "
            f"[{low.min():.4g}, {high.max():.4g}]. Give bounds=, those of the inputs "
            "that the model takes, after any normalisation."
        )
