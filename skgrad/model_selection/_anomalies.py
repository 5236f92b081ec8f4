"""Anomalies made of in-distribution inputs and noise, for want of real ones."""

import numpy as np

# Of the standard deviation of the data: what these add is as small as an attack.
_STRENGTHS = (0.25, 0.5)


def generate_anomalies(X, random_state):
    """Make inputs that are not in-distribution, from obvious to hard.

    Noise alone would not do: nearly every layer tells it from data without error, and
    no layer would stand out. So most kinds keep a part of what makes an input
    in-distribution: all but small changes, the values at each position, or the shapes
    of two inputs at once. Values stay within the range of their channel or column.

    Parameters
    ----------
    X : ndarray of float of shape (n_samples, *input_shape)
        In-distribution inputs. The first axis of a sample is that of its channels, or
        of its columns where it has no other.
    random_state : RandomState instance
        Draws the anomalies.

    Yields
    ------
    ndarray of the shape and dtype of X
        One kind after another, so that they need not fit into memory together.
    """
    others = tuple(axis for axis in range(X.ndim) if axis != 1)
    low, high = (f(X, axis=others, keepdims=True) for f in (np.min, np.max))
    spread = X.std(axis=others, keepdims=True, dtype=np.float64)
    yield random_state.uniform(low, high, size=X.shape).astype(X.dtype)
    for strength in _STRENGTHS:
        noise = strength * spread * random_state.normal(size=X.shape)
        yield (X + noise).clip(low, high).astype(X.dtype)
    yield _mixed(X, random_state)
    yield X / 2 + _another(X, random_state) / 2


def _mixed(X, random_state):
    """Take the value at each position from an input of its own."""
    rows = random_state.randint(len(X), size=X.shape)
    return np.take_along_axis(X, rows, axis=0)


def _another(X, random_state):
    """Give each input another one, where there are two or more."""
    order = random_state.permutation(len(X))
    another = np.empty_like(order)
    another[order] = np.roll(order, 1)
    return X[another]
