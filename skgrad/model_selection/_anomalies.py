"""Synthetic anomalies, for choosing a layer without real ones."""

import numpy as np

# Standard deviations of the noise, in those of the data: as small as an attack.
_STRENGTHS = (0.25, 0.5)


def generate_anomalies(X, random_state):
    """Yield arrays like X that are not in-distribution, from obvious to hard."""
    # Noise alone is too easy: nearly every layer separates it without error. Most kinds
    # therefore keep a part of what makes an input in-distribution: all but small
    # changes, the values at each position, or the shapes of two inputs at once. Values
    # stay within the range of their channel or column, the first axis of a sample.
    others = tuple(axis for axis in range(X.ndim) if axis != 1)
    low, high = (f(X, axis=others, keepdims=True) for f in (np.min, np.max))
    spread = X.std(axis=others, keepdims=True, dtype=np.float64)
    yield random_state.uniform(low, high, size=X.shape).astype(X.dtype)
    for strength in _STRENGTHS:
        noise = strength * spread * random_state.normal(size=X.shape)
        yield (X + noise).clip(low, high).astype(X.dtype)
    yield _mix_positions(X, random_state)
    yield X / 2 + _other_inputs(X, random_state) / 2


def _mix_positions(X, random_state):
    """Draw the value at each position from any of the inputs."""
    rows = random_state.randint(len(X), size=X.shape)
    return np.take_along_axis(X, rows, axis=0)


def _other_inputs(X, random_state):
    """Return for each input another one, if there are two or more."""
    order = random_state.permutation(len(X))
    other = np.empty_like(order)
    # Neighbours on a circle: no input is its own neighbour.
    other[order] = np.roll(order, 1)
    return X[other]
