"""Rotated images."""

from numbers import Real

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch.nn.functional import affine_grid, grid_sample

from .._compat import Interval
from .._finite import check_finite
from .._labels import check_per_sample
from .._messages import brief
from ..torch_engine.model_state import at_least_float32
from ._base import checked, run_attack
from ._inputs import checked_inputs


@checked(angle=[Interval(Real, 0, 180, closed="right"), "array-like"])
def rotate(
    model,
    X,
    y=None,
    *,
    angle=45.0,
    fill=None,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    """Rotate images about their centre, with bilinear interpolation.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, n_channels, height, width)
        The clean images, within the bounds.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    angle : float or array-like of shape (n_samples,), default=45.0
        In degrees. A number is the largest: angles are uniform in [-angle, angle]. An
        array holds the angles themselves, positive ones counterclockwise.
    fill : float or array-like of shape (n_channels,), default=None
        The value outside of the image; None for the lower bound.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest valid values; arrays broadcast to one sample.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the angles.

    Returns
    -------
    AttackResult
        The adversarial inputs, their success and the size of their changes.

    Notes
    -----
    Cost: one forward pass, two without y; no gradient. Paper B rotates by up to 45
    degrees.

    References
    ----------
    Engstrom et al. (2019), "Exploring the Landscape of Spatial Robustness".

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import rotate
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
    >>> rotate(model, [[[[0.0, 1.0], [0.0, 0.0]]]], angle=[90]).X_adv.round().tolist()
    [[[[1.0, 0.0], [0.0, 0.0]]]]
    """
    X = checked_inputs(X)  # before its length is asked for
    if not isinstance(angle, Real):
        angle = check_per_sample(angle, len(X), "angle")
        if angle.dtype.kind not in "iuf":
            raise ValueError(f"angle must hold degrees; got an array of {angle.dtype}.")
        check_finite(angle, "angle")
    random_state = check_random_state(random_state)

    def perturb(batch):
        if batch.x.ndim != 4:
            raise ValueError(
                "X must hold images, of shape (n_samples, n_channels, height, width); "
                f"got samples of shape {tuple(batch.x.shape[1:])}."
            )
        if isinstance(angle, Real):
            degrees = random_state.uniform(-angle, angle, size=len(batch.x))
        else:
            degrees = angle[batch.rows]
        return batch.clip(_rotated(batch.x, degrees, _fill_values(fill, batch)))

    return run_attack(
        perturb, model, X, y, None, bounds, batch_size, device, random_state
    )


def _rotated(x, degrees, fill):
    """Rotate each image counterclockwise by its own angle."""
    height, width = x.shape[2:]
    wide = at_least_float32(x)
    angles = torch.as_tensor(np.deg2rad(degrees), dtype=wide.dtype, device=wide.device)
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    # affine_grid asks where each pixel takes its value from, in halves of the image's
    # own sides, which is why height / width enters. The vertical axis points down.
    entries = (cos, -sin * (height / width), zero, sin * (width / height), cos, zero)
    rotation = torch.stack(entries, dim=1).view(-1, 2, 3)
    grid = affine_grid(rotation, list(x.shape), align_corners=False)
    # grid_sample has 0 outside, which the shift makes the fill value.
    moved = grid_sample(wide - fill, grid, mode="bilinear", align_corners=False)
    return (moved + fill).to(x)


def _fill_values(fill, batch):
    """Return the fill value of each channel, of shape (n_channels, 1, 1)."""
    try:
        lowest = batch.low.amin(dim=(0, 2, 3))
        values = torch.as_tensor(lowest if fill is None else fill).to(batch.x)
        values = values.expand(batch.x.shape[1])
    except (TypeError, ValueError, RuntimeError):
        values = torch.tensor(torch.nan)
    if not torch.isfinite(values).all():
        raise ValueError(
            "fill must be None (the lower bound, if finite), a finite number or one "
            f"per channel, {batch.x.shape[1]} here; got {brief(fill)}."
        )
    return values[:, None, None]
