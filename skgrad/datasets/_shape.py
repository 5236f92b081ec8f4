"""Inputs of one data set in the shape of another's."""

import numpy as np
import torch
from torch.nn.functional import interpolate

# Luma weights of ITU-R BT.601.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def fit_shape(X, shape):
    """Bring float32 images or series to the shape of one input.

    Grey and colour become each other; images are resized bilinearly with antialiasing,
    series are interpolated linearly. A shape of None changes nothing.
    """
    if shape is None or X.shape[1:] == shape:
        return X
    if X.ndim == 4 and len(shape) == 3:
        return _resize(_recolour(X, shape[0]), shape[1:], "bilinear")
    if X.ndim in (2, 3) and len(shape) in (1, 2):
        series = X[:, None] if X.ndim == 2 else X
        n_channels = shape[0] if len(shape) == 2 else 1
        if series.shape[1] == n_channels:
            series = _resize(series, shape[-1:], "linear")
            return series.reshape(-1, *shape)
    raise ValueError(
        "shape must be (channels, height, width) for images and (channels, n_points) "
        f"or (n_points,) for series; got {shape} for inputs of shape {X.shape[1:]}."
    )


def _recolour(X, n_channels):
    if X.shape[1] == n_channels:
        return X
    if (X.shape[1], n_channels) == (3, 1):
        return np.einsum("nchw,c->nhw", X, _LUMA)[:, None]
    if (X.shape[1], n_channels) == (1, 3):
        return np.repeat(X, 3, axis=1)
    raise ValueError(
        "shape must have 1 or 3 channels, or as many as the images have: "
        f"{X.shape[1]}; got {n_channels}."
    )


def _resize(X, size, mode):
    if X.shape[2:] == tuple(size):
        return X
    resized = interpolate(
        torch.from_numpy(np.ascontiguousarray(X)),
        size=tuple(size),
        mode=mode,
        antialias=mode == "bilinear",
    )
    return resized.numpy()
