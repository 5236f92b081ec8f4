"""Rotated images."""

from numbers import Real

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch.nn.functional import affine_grid, grid_sample

from .._compat import Interval, validate_params
from .._messages import brief
from .._validation import check_inputs, to_array
from ..torch_engine.model_state import at_least_float32
from ._base import CONSTRAINTS, run_attack


@validate_params(
    {
        **CONSTRAINTS,
        "angle": [Interval(Real, 0, 180, closed="right"), "array-like"],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
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
    """Rotate images about their centre.

    Between pixels the values are interpolated bilinearly.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        The classifier under attack, returning logits. It is never changed.
    X : array-like of shape (n_samples, n_channels, height, width)
        Clean images.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    angle : float or array-like of shape (n_samples,), default=45.0
        In degrees. A number is the largest: each image is turned by its own uniform
        draw from [-angle, angle]. An array holds the angles themselves, positive ones
        counterclockwise.
    fill : float or array-like of shape (n_channels,), default=None
        What comes in from outside the image; None for the lower bound.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest legal value, such as per channel of shape (c, 1, 1).
    batch_size : int, default=128
        Samples per batch; changes no result beyond rounding.
    device : str or torch.device, default=None
        Where to compute. None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws the angles.

    Returns
    -------
    AttackResult
        With ``X_adv``, the ``success`` mask and the size of the changes.

    Raises
    ------
    ValueError
        If an argument is not legal, or X does not hold images.

    Notes
    -----
    Cost: one forward pass; no gradient. One forward pass more without y. Paper B turns
    by up to 45 degrees.

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
    X = check_inputs(X)
    angles = None if isinstance(angle, Real) else _checked_angles(angle, len(X))
    generator = check_random_state(random_state)

    def perturb(batch):
        _check_images(batch.x)
        own = (
            generator.uniform(-angle, angle, size=len(batch.x))
            if angles is None
            else angles[batch.rows]
        )
        return batch.within(_rotated(batch.x, own, _filling(fill, batch)))

    return run_attack(
        perturb,
        model,
        X,
        y,
        bounds=bounds,
        batch_size=batch_size,
        device=device,
        random_state=generator,
    )


def _rotated(x, degrees, filling):
    """Turn each image counterclockwise by its own angle."""
    height, width = x.shape[2:]
    wide = at_least_float32(x)
    angles = torch.as_tensor(np.deg2rad(degrees), dtype=wide.dtype, device=wide.device)
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    # From where each pixel takes its value, in halves of the image's own sides; the
    # vertical axis points down.
    turn = torch.stack(
        [
            torch.stack([cos, -sin * (height / width), zero], dim=1),
            torch.stack([sin * (width / height), cos, zero], dim=1),
        ],
        dim=1,
    )
    grid = affine_grid(turn, list(x.shape), align_corners=False)
    # Outside is 0 after the shift, so filling and image blend at the edge.
    moved = grid_sample(wide - filling, grid, mode="bilinear", align_corners=False)
    return (moved + filling).to(x)


def _filling(fill, batch):
    """Return what fills each channel, of shape (n_channels, 1, 1)."""
    if fill is None:
        filling = batch.low.amin(dim=(0, 2, 3))
    else:
        try:
            filling = torch.as_tensor(fill).to(batch.x).expand(batch.x.shape[1])
        except (TypeError, ValueError, RuntimeError):
            filling = None
    if filling is None or not torch.isfinite(filling).all():
        raise ValueError(
            "fill must be None (the lower bound, if finite), a finite number or one "
            f"per channel, {batch.x.shape[1]} here; got {brief(fill)}."
        )
    return filling[:, None, None]


def _checked_angles(angle, n_samples):
    try:
        angles = to_array(angle, "angle")
    except ValueError as error:
        raise ValueError(
            f"angle must be a number of degrees, or one for each sample of X: {error}"
        ) from error
    if angles.dtype.kind not in "iuf" or angles.shape != (n_samples,):
        raise ValueError(
            "angle must be a number of degrees, or one for each sample of X, "
            f"{n_samples} here; got {angles.dtype} of shape {angles.shape}."
        )
    if not np.isfinite(angles).all():
        raise ValueError("angle must be finite; it contains NaN or infinity.")
    return angles


def _check_images(x):
    if x.ndim != 4:
        raise ValueError(
            "X must hold images, of shape (n_samples, n_channels, height, width), to "
            f"be rotated; got samples of shape {tuple(x.shape[1:])}."
        )
