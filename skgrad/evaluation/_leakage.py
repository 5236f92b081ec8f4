"""Checks that no input is at once fitted on, tested, and an anomaly."""

import numpy as np

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
        if found.shape[1:] != X.shape[1:]:
            raise ValueError(
                f"{kind} must have the shape of {name}, {X.shape[1:]} per input; got "
                f"{found.shape[1:]}."
            )
        dtype = _coarser(found.dtype, X.dtype)
        if dtype not in rows:  # X is read once for all kinds of one dtype
            rows[dtype] = set(_as_bytes(X, dtype))
        common = rows[dtype].intersection(_as_bytes(found, dtype))
        if common:
            raise ValueError(
                f"{kind} must be none of the inputs in {name}; {len(common)} are equal."
                " Leave them out."
            )


def is_new(X, others):
    """Return for each input whether it equals none of the others."""
    dtype = _coarser(X.dtype, others.dtype)
    known = set(_as_bytes(others, dtype))
    return np.array([row not in known for row in _as_bytes(X, dtype)], dtype=bool)


def _coarser(one, two):
    """Return the dtype to compare in: a model sees no more digits than it has."""
    if one.kind == two.kind == "f":
        return min(one, two, key=lambda dtype: dtype.itemsize)
    return np.result_type(one, two)


def _as_bytes(X, dtype):
    """Return each input as bytes, which can be put into sets."""
    # Adding zero turns -0.0 into 0.0, which equals it in all but the bits.
    return [(row + 0).tobytes() for row in np.asarray(X, dtype=dtype)]
