"""What an evaluation says of its detectors over all kinds: by group, and regret."""

import numpy as np

from .._arrays import group_means, nan_mean, nan_spread, regret


def means_by_group(evaluation, by_seed):
    """Average figures over the kinds of each group; means by group.

    ``by_seed`` has shape (n_detectors, n_anomalies, n_seeds), the means no second axis.
    """
    return group_means(by_seed, list(evaluation.groups.values()), axis=1)


def mean_over_groups(evaluation, by_seed):
    """Average the means by group; shape (n_detectors, n_seeds)."""
    means = means_by_group(evaluation, by_seed)
    return nan_mean(np.stack([*means.values()], axis=1), axis=1)


def has_groups(evaluation):
    """Return True if a mean over groups is another than the one over kinds."""
    return len(set(evaluation.groups.values())) > 1


def regrets_by_seed(evaluation, metric):
    """Return the regrets, and the distances to the best rival seed by seed.

    Shapes (n_detectors, n_anomalies) and (n_detectors, n_anomalies, n_seeds).
    """
    by_seed = evaluation._values(metric)
    means = nan_mean(by_seed)
    regrets = regret(means)
    best = np.nan_to_num(means, nan=-1.0).argmax(axis=0)
    # One rival for all seeds: the best of each seed would often be the best by luck.
    gaps = by_seed[best, np.arange(len(best))] - by_seed
    return regrets, np.where(np.isnan(regrets)[..., None], np.nan, gaps)


def mean_and_largest_regret(evaluation):
    """Return for each detector the mean regret in AUROC, the largest, and its kind.

    Each regret is a pair with its standard deviation over the seeds.
    """
    regrets, by_seed = regrets_by_seed(evaluation, "auroc")
    rows = np.arange(len(regrets))
    places = np.nan_to_num(regrets, nan=-1.0).argmax(axis=1)
    means = nan_mean(regrets), nan_spread(nan_mean(by_seed, axis=1))
    largest = regrets[rows, places], nan_spread(by_seed[rows, places])
    kinds = [evaluation.anomalies[place] for place in places]
    return np.column_stack(means), np.column_stack(largest), kinds
