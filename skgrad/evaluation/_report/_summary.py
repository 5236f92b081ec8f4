"""Results by detector and kind of anomaly, averaged over folds and seeds."""

import numpy as np
from scipy.special import ndtri


class Summary:
    """The figures of many results as arrays.

    Parameters
    ----------
    results : Evaluation or list of Result
        The results; not every detector need have met every kind of anomaly.

    Attributes
    ----------
    results : list of Result
        The same.
    detectors, anomalies : list of str
        Their names, in the order of their first results.
    seeds : list of int
        The repetitions.
    """

    def __init__(self, results):
        self.results = list(getattr(results, "results", results))
        if not self.results:
            raise ValueError(
                "results must hold at least one Result; got none. Run an evaluation "
                "first."
            )
        self.detectors = list(dict.fromkeys(r.detector for r in self.results))
        self.anomalies = list(dict.fromkeys(r.anomaly for r in self.results))
        self.seeds = sorted({_seed(r) for r in self.results})
        self._places = {
            name: {value: i for i, value in enumerate(values)}
            for name, values in (
                ("detector", self.detectors),
                ("anomaly", self.anomalies),
                ("seed", self.seeds),
            )
        }

    def place(self, result):
        """Return the indices of the detector, the kind of anomaly and the seed."""
        return (
            self._places["detector"][result.detector],
            self._places["anomaly"][result.anomaly],
            self._places["seed"][_seed(result)],
        )

    def values(self, figure):
        """Average a figure over folds.

        Parameters
        ----------
        figure : str or callable
            A metric, an attribute of the results, or a function of a result.

        Returns
        -------
        ndarray of shape (n_detectors, n_anomalies, n_seeds)
            Means over the folds that have the figure; NaN where there are none.
        """
        figure_of = figure if callable(figure) else lambda r: _figure_of(r, figure)
        shape = len(self.detectors), len(self.anomalies), len(self.seeds)
        sums, counts = np.zeros(shape), np.zeros(shape)
        for result in self.results:
            value = figure_of(result)
            if not np.isnan(value):
                sums[self.place(result)] += value
                counts[self.place(result)] += 1
        return _divide(sums, counts)

    def mean(self, figure):
        """Average over seeds too; shape (n_detectors, n_anomalies)."""
        return nan_mean(self.values(figure))

    def first(self):
        """Pick one result for each cell, of the first seed and fold that it has."""
        picked: dict = {}
        for result in self.results:
            picked.setdefault((result.detector, result.anomaly), result)
        return picked


def nan_mean(values, axis=-1):
    """Average what is not NaN; NaN, and no warning, where nothing is."""
    there = ~np.isnan(values)
    return _divide(np.where(there, values, 0).sum(axis), there.sum(axis))


def nan_spread(values):
    """Sample standard deviation over the last axis; NaN for less than two values."""
    there = ~np.isnan(values)
    n = there.sum(-1)
    off = np.where(there, values - nan_mean(values)[..., None], 0)
    return np.sqrt(_divide((off**2).sum(-1), np.where(n > 1, n - 1, 0)))


def area_interval(area, n_id, n_anomalies, confidence=0.95):
    r"""Compute the interval of an AUROC: all true areas that would not surprise.

    The true area :math:`\theta` is in it where
    :math:`|\hat\theta - \theta| \le z \sqrt{V(\theta)}` with Hanley and McNeil's
    variance for exponential scores. Unlike an interval with :math:`V(\hat\theta)` it
    has a width where the observed area is 1.

    Parameters
    ----------
    area : float
        The observed area.
    n_id, n_anomalies : int
        The inputs behind it.
    confidence : float, default=0.95
        What the interval covers.

    Returns
    -------
    tuple of float
        Both ends; NaN where the area is or there are no inputs.

    References
    ----------
    R. G. Newcombe, "Confidence intervals for an effect size measure based on the
    Mann-Whitney statistic. Part 2", Statistics in Medicine 25, 2006, method 5.
    """
    if np.isnan(area) or not n_id or not n_anomalies:
        return np.nan, np.nan
    z = ndtri((1 + confidence) / 2)
    middle = (n_id + n_anomalies) / 2 - 1

    def surprise(theta):
        tail = (1 - theta) / (2 - theta) + theta / (1 + theta)
        variance = theta * (1 - theta) * (1 + middle * tail) / (n_id * n_anomalies)
        return (area - theta) ** 2 - z**2 * variance

    return _bisect(surprise, area, 0.0), _bisect(surprise, area, 1.0)


def share_interval(share, n, confidence=0.95):
    """Compute Wilson's interval of a share of n inputs.

    Parameters
    ----------
    share : float
        The observed share.
    n : int
        The inputs behind it.
    confidence : float, default=0.95
        What the interval covers.

    Returns
    -------
    tuple of float
        Both ends; NaN where the share is or n is 0.
    """
    if np.isnan(share) or not n:
        return np.nan, np.nan
    z2 = ndtri((1 + confidence) / 2) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) + z2 / (4 * n)) / n) / (1 + z2 / n)
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))


def closed_form_intervals(result):
    """Compute 95 % intervals of one result: AUROC, TNR, rejected anomalies, FPR."""
    n_id, n = len(result.scores_id), len(result.scores_anomaly)
    return {
        "auroc": area_interval(result.metrics["auroc"], n_id, n),
        "tnr_at_95tpr": share_interval(result.metrics["tnr_at_95tpr"], n),
        "rejected_anomalies": share_interval(result.metrics["rejected_anomalies"], n),
        "realised_fpr": share_interval(result.realised_fpr, n_id),
    }


def _bisect(surprise, inside, outside):
    """Find where the surprise turns positive between a value inside and one outside."""
    for _ in range(50):
        middle = (inside + outside) / 2
        if surprise(middle) > 0:
            outside = middle
        else:
            inside = middle
    return inside


def _divide(sums, counts):
    return np.divide(
        sums, counts, out=np.full(np.shape(sums), np.nan), where=np.asarray(counts) > 0
    )


def _figure_of(result, name):
    metrics = result.metrics
    return metrics[name] if name in metrics else getattr(result, name, np.nan)


def _seed(result):
    return getattr(result, "seed", 0)
