"""Checks that no input is at once fitted on, tested, and an anomaly."""

import numpy as np

from .._several import Several, n_axes, sample_shape

# Some data sets hold a few inputs in both of their parts, such as CIFAR-10.
_MAX_SHARED = 0.1


def check_held_out(X_test, X_fit):
    """Raise if detectors would be tested on the inputs that they are fitted on."""
    share = np.mean(~is_new(X_test, X_fit))
    if share > _MAX_SHARED:
        raise ValueError(
            f"X_test must hold other inputs than X_fit; {share:.0%} of it are equal to "
            "some there. Give other inputs, or X_fit=None for folds of X_test."
        )


def check_anomalies_are_new(anomalies, X, name):
    """Raise if anomalies equal, value by value, inputs of the parameter ``name``."""
    rows: dict = {}
    for kind, found in anomalies.items():
        shape, came = sample_shape(X), sample_shape(found)
        # Several inputs may be padded to other lengths.
        padded = isinstance(X, Several) and n_axes(came) == n_axes(shape)
        if came != shape and not padded:
            raise ValueError(
                f"{kind} must have the shape of {name}, {shape} per input; got {came}."
            )
        dtypes = _coarser(found, X)
        if dtypes not in rows:  # X is read once for all kinds of one dtype
            rows[dtypes] = set(_as_bytes(X, dtypes))
        common = rows[dtypes].intersection(_as_bytes(found, dtypes))
        if common:
            raise ValueError(
                f"{kind} must be none of the inputs in {name}; {len(common)} are equal."
                " Leave them out."
            )


def is_new(X, others):
    """Return for each input whether it equals none of the others."""
    dtypes = _coarser(X, others)
    known = set(_as_bytes(others, dtypes))
    return np.array([row not in known for row in _as_bytes(X, dtypes)], dtype=bool)


def _arrays(X):
    """Return the arrays of inputs, one or several."""
    if not isinstance(X, Several):
        return [X]
    # In one order, whatever that of a dictionary is.
    return [X.entries[key] for key in sorted(X.entries)]


def _coarser(one, two):
    """Return the dtypes to compare in: a model sees no more digits than it has."""
    pairs = zip(_arrays(one), _arrays(two), strict=True)
    return tuple(_coarser_dtype(x.dtype, y.dtype) for x, y in pairs)


def _coarser_dtype(one, two):
    if one.kind == two.kind == "f":
        return min(one, two, key=lambda dtype: dtype.itemsize)
    return np.result_type(one, two)


def _as_bytes(X, dtypes):
    """Return each input as bytes, which can be put into sets."""
    # Adding zero turns -0.0 into 0.0, which equals it in all but the bits.
    columns = [
        [(row + 0).tobytes() for row in np.asarray(array, dtype=dtype)]
        for array, dtype in zip(_arrays(X), dtypes, strict=True)
    ]
    return [b"".join(parts) for parts in zip(*columns, strict=True)]
