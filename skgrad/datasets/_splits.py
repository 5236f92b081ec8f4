"""Who sees which training data: networks, detectors, judges."""

from numbers import Integral

import numpy as np
from sklearn.utils import Bunch

from .._compat import Interval, validate_params
from .._validation import to_array

# Detectors get the first of a permutation, networks the last of it.
_N_TRAIN = 50_000


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_fit": [Interval(Integral, 1, None, closed="left")],
        "max_train": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": [Interval(Integral, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def split_mnist(n_samples=60_000, *, n_fit=6000, max_train=None, random_state=0):
    """Divide training images between a network and the detectors on it.

    Parameters
    ----------
    n_samples : int, default=60_000
        Number of training images.
    n_fit : int, default=6000
        Images to fit detectors on: the first of a random order.
    max_train : int, default=None
        Take only so many of the last 50,000 of that order, less those of the
        detectors, to train the network; None takes all.
    random_state : int, default=0
        Draws the order.

    Returns
    -------
    Bunch
        With ``train`` (sorted) and ``fit``, the row numbers; disjoint.

    Raises
    ------
    ValueError
        If no image is left for the network.

    Examples
    --------
    >>> from skgrad.datasets import split_mnist
    >>> parts = split_mnist(random_state=1)
    >>> len(parts.train), len(parts.fit)
    (50000, 6000)
    """
    order = np.random.default_rng(random_state).permutation(n_samples)
    fit = order[:n_fit]
    train = np.setdiff1d(order[-_N_TRAIN:][:max_train], fit)
    if len(train) == 0:
        raise ValueError(
            f"n_fit must leave some of the {n_samples} images for the network; got "
            f"{n_fit}."
        )
    return Bunch(train=train, fit=fit)


@validate_params(
    {
        "y": ["array-like"],
        "n_train": [Interval(Integral, 1, None, closed="left")],
        "n_fit": [Interval(Integral, 1, None, closed="left")],
        "random_state": [Interval(Integral, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def split_ecg(y, *, n_train=200, n_fit=150, random_state=0):
    """Divide labelled series between a network, its detectors and the judge.

    Parameters
    ----------
    y : array-like of int of shape (n_samples,)
        The classes.
    n_train : int, default=200
        Series that train the network.
    n_fit : int, default=150
        Series that fit detectors. The rest, 150 of ECG5000's 500, are for testing.
    random_state : int, default=0
        Draws the parts.

    Returns
    -------
    Bunch
        With ``train``, ``fit`` and ``test``, sorted row numbers; disjoint.

    Raises
    ------
    ValueError
        If nothing is left for testing.

    Notes
    -----
    Classes have their share in each part, to one series, also those with fewer members
    than parts: in a list sorted by class, random within, the parts take turns.

    Examples
    --------
    >>> from skgrad.datasets import split_ecg
    >>> parts = split_ecg([0, 0, 0, 0, 1, 1, 1, 1], n_train=4, n_fit=2)
    >>> len(parts.test)
    2
    """
    y = to_array(y, "y")
    if n_train + n_fit >= len(y):
        raise ValueError(
            f"n_train + n_fit must be less than the {len(y)} series in y, so that some "
            f"are left for testing; got {n_train} + {n_fit}."
        )
    rng = np.random.default_rng(random_state)
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    train, rest = _evenly(order, n_train, rng)
    fit, test = _evenly(rest, n_fit, rng)
    return Bunch(train=np.sort(train), fit=np.sort(fit), test=np.sort(test))


def _evenly(rows, n, rng):
    """Take n rows at equal distances from a random start; return the others too."""
    places = ((np.arange(n) + rng.random()) * len(rows) / n).astype(int)
    return rows[places], np.delete(rows, places)
