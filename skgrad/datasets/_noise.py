"""Noise of the first kind (NS-I) of paper C, for any shape and range."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state

from .._compat import Interval, validate_params

_LIMITS = {
    "n_samples": [Interval(Integral, 1, None, closed="left")],
    "shape": [tuple, list, np.ndarray, Integral],
    "low": [Real],
    "high": [Real],
    "random_state": ["random_state"],
}


@validate_params(_LIMITS, prefer_skip_nested_validation=True)
def make_gaussian_noise(n_samples, shape, *, low=0.0, high=1.0, random_state=None):
    """Draw noise with normal values around the middle of the range, clipped to it.

    Parameters
    ----------
    n_samples : int
        Number of inputs.
    shape : int or tuple of int
        Shape of one input, such as (1, 28, 28).
    low, high : float, default=0.0, 1.0
        Range of the values. Mean is its middle and standard deviation its width: 0.5
        and 1 for [0, 1], as in paper C.
    random_state : int, RandomState instance or None, default=None
        Draws the noise.

    Returns
    -------
    ndarray of float32 of shape (n_samples, *shape)
        The noise.

    Examples
    --------
    >>> from skgrad.datasets import make_gaussian_noise
    >>> make_gaussian_noise(5, (1, 8, 8), random_state=0).shape
    (5, 1, 8, 8)
    """
    shape = _check_noise(shape, low, high)
    noise = check_random_state(random_state).normal(
        (low + high) / 2, high - low, size=(n_samples, *shape)
    )
    return noise.clip(low, high).astype(np.float32)


@validate_params(_LIMITS, prefer_skip_nested_validation=True)
def make_uniform_noise(n_samples, shape, *, low=0.0, high=1.0, random_state=None):
    """Draw noise with every value of the range equally likely.

    Parameters
    ----------
    n_samples : int
        Number of inputs.
    shape : int or tuple of int
        Shape of one input, such as (1, 28, 28).
    low, high : float, default=0.0, 1.0
        Range of the values.
    random_state : int, RandomState instance or None, default=None
        Draws the noise.

    Returns
    -------
    ndarray of float32 of shape (n_samples, *shape)
        The noise.

    Examples
    --------
    >>> from skgrad.datasets import make_uniform_noise
    >>> make_uniform_noise(5, (140,), low=-1, random_state=0).shape
    (5, 140)
    """
    shape = _check_noise(shape, low, high)
    noise = check_random_state(random_state).uniform(
        low, high, size=(n_samples, *shape)
    )
    return noise.astype(np.float32)


def _check_noise(shape, low, high):
    shape = (shape,) if isinstance(shape, Integral) else tuple(shape)
    if not shape or not all(isinstance(n, Integral) and int(n) >= 1 for n in shape):
        raise ValueError(f"shape must hold positive integers; got {shape!r}.")
    largest = float(np.finfo(np.float32).max) / 4
    if not -largest <= low < high <= largest:
        raise ValueError(
            "low must be less than high, both within the range of float32; got "
            f"low={low}, high={high}."
        )
    return shape
