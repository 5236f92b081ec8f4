"""Means of arrays with gaps."""

import numpy as np


def nan_mean(values, axis=-1):
    """Average what is not NaN; NaN, and no warning, where there is nothing."""
    present = ~np.isnan(values)
    sums, counts = np.where(present, values, 0).sum(axis), present.sum(axis)
    out = np.full(np.shape(sums), np.nan)
    return np.divide(sums, counts, out=out, where=np.asarray(counts) > 0)
