"""Means and spreads of arrays with gaps, and distances to the best."""

import numpy as np


def nan_mean(values, axis=-1):
    """Average what is not NaN; NaN, and no warning, where there is nothing."""
    present = ~np.isnan(values)
    sums, counts = np.where(present, values, 0).sum(axis), present.sum(axis)
    out = np.full(np.shape(sums), np.nan)
    return np.divide(sums, counts, out=out, where=np.asarray(counts) > 0)


def nan_spread(values):
    """Sample standard deviation over the last axis; NaN for less than two values."""
    n = (~np.isnan(values)).sum(-1)
    variance = nan_mean((values - nan_mean(values)[..., None]) ** 2)
    return np.sqrt(variance * n / np.where(n > 1, n - 1, np.nan))


def group_means(values, groups, axis=-1):
    """Average an axis within the groups of its entries; return the means by group.

    ``groups`` names the group of each entry. A mean is over what is not NaN.
    """
    names = np.asarray(groups, dtype=object)
    return {
        group: nan_mean(np.compress(names == group, values, axis), axis)
        for group in dict.fromkeys(groups)
    }


def regret(values):
    """Return by how much the largest value of each column exceeds each value.

    NaN stays NaN, and so does a column with a single number: it has no rival.
    """
    has_rival = (~np.isnan(values)).sum(axis=0) > 1
    return np.where(has_rival, np.fmax.reduce(values, axis=0) - values, np.nan)
