"""Inputs as arrays, what must not be among them, and means of what is there."""

import numpy as np

# Some data sets hold a few inputs in both parts by themselves.
_MOST_SEEN = 0.1


def check_held_out(X_test, X_fit):
    """Refuse to judge detectors by the inputs that they are fitted on."""
    dtype = _coarser(X_test.dtype, X_fit.dtype)
    seen = set(row_prints(X_fit, dtype))
    share = np.mean([row in seen for row in row_prints(X_test, dtype)])
    if share > _MOST_SEEN:
        raise ValueError(
            f"X_test must hold other inputs than X_fit; {share:.0%} of it are equal to "
            "some there, and false alarms among these would be too few. Give inputs "
            "that are in one of the two alone, or X_fit=None for folds of X_test."
        )


def check_new(X, known, name, known_name):
    """Refuse anomalies that are, value by value, in-distribution inputs."""
    check_all_new({name: X}, known, known_name)


def check_all_new(others, known, known_name):
    """Do the same for anomalies of several names; the known inputs are read once."""
    prints: dict = {}
    for name, X in others.items():
        if X.shape[1:] != known.shape[1:]:
            raise ValueError(
                f"{name} must have the shape of {known_name}, {known.shape[1:]} per "
                f"input; got {X.shape[1:]}."
            )
        dtype = _coarser(X.dtype, known.dtype)
        if dtype not in prints:
            prints[dtype] = set(row_prints(known, dtype))
        common = set(row_prints(X, dtype)) & prints[dtype]
        if common:
            raise ValueError(
                f"{name} must be none of the inputs in {known_name}; {len(common)} are "
                "equal to the last digit. A table of them would mislead: leave them "
                "out."
            )


def _coarser(one, two):
    """Return the type to compare in: models see no more digits than it has."""
    if one.kind == two.kind == "f":
        return min(one, two, key=lambda dtype: dtype.itemsize)
    return np.result_type(one, two)


def row_prints(X, dtype=None):
    """Return each input as bytes, to compare them by."""
    # Adding zero makes a zero of -0.0, which equals it in all but the bits.
    return [(row + 0).tobytes() for row in np.asarray(X, dtype=dtype)]


def nan_mean(values, axis=-1):
    """Average what is not NaN; NaN, and no warning, where nothing is."""
    there = ~np.isnan(values)
    return divide_or_nan(np.where(there, values, 0).sum(axis), there.sum(axis))


def divide_or_nan(sums, counts):
    """Return sums / counts; NaN, and no warning, where there is none."""
    return np.divide(
        sums, counts, out=np.full(np.shape(sums), np.nan), where=np.asarray(counts) > 0
    )
