"""Which training data the networks see, and which the detectors."""

import numpy as np
from sklearn.utils import Bunch

# Detectors get the first of a permutation, networks the last of it.
N_TRAIN = 50_000


def split_mnist(n_samples=60_000, *, n_fit=6000, max_train=None, random_state=0):
    """Divide training images between a network and the detectors on it.

    Parameters
    ----------
    n_samples : int, default=60_000
        Number of training images.
    n_fit : int, default=6000
        Images to fit detectors on: the first of a random order.
    max_train : int, default=None
        Use only so many of the last 50,000 of that order, less those of the
        detectors, to train the network; None uses all.
    random_state : int, default=0
        Draws the order.

    Returns
    -------
    Bunch
        With ``train`` (sorted) and ``fit``, the row numbers; disjoint.
    """
    order = np.random.default_rng(random_state).permutation(n_samples)
    fit = order[:n_fit]
    train = np.setdiff1d(order[-N_TRAIN:][:max_train], fit)
    if len(train) == 0:
        raise ValueError(
            f"n_fit must leave some of the {n_samples} images for the network; got "
            f"{n_fit}."
        )
    return Bunch(train=train, fit=fit)


def split_ecg(y, *, n_train=200, n_fit=150, random_state=0):
    """Divide labelled series between a network, its detectors and the test.

    Each class has its share in each part, to one series, also a class with fewer
    members than parts: in a list sorted by class, random within, the parts take turns.

    Parameters
    ----------
    y : ndarray of int of shape (n_samples,)
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
    """
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
    """Return n rows at equal distances from a random start, and the other rows."""
    places = ((np.arange(n) + rng.random()) * len(rows) / n).astype(int)
    return rows[places], np.delete(rows, places)
