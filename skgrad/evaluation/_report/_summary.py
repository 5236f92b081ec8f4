"""Results by detector and kind of anomaly, averaged over folds and seeds."""

from collections.abc import Iterable

import numpy as np

from ..._arrays import divide_or_nan, nan_mean
from ..._messages import brief


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
        given = getattr(results, "results", results)
        if not isinstance(given, Iterable):
            raise TypeError(
                "results must be an Evaluation or a list of Result; got "
                f"{brief(results)}."
            )
        self.results = list(given)
        if not self.results:
            raise ValueError(
                "results must hold at least one Result; got none. Run an evaluation "
                "first."
            )
        stranger = next((r for r in self.results if not hasattr(r, "scores_id")), None)
        if stranger is not None:
            raise TypeError(
                "results must be an Evaluation or a list of Result; got "
                f"a {type(results).__name__} that holds {brief(stranger)}."
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
        return divide_or_nan(sums, counts)

    def mean(self, figure):
        """Average over seeds too; shape (n_detectors, n_anomalies)."""
        return nan_mean(self.values(figure))

    def first(self):
        """Pick one result for each cell, of the first seed and fold that it has."""
        picked: dict = {}
        for result in self.results:
            picked.setdefault((result.detector, result.anomaly), result)
        return picked


def nan_spread(values):
    """Sample standard deviation over the last axis; NaN for less than two values."""
    there = ~np.isnan(values)
    n = there.sum(-1)
    off = np.where(there, values - nan_mean(values)[..., None], 0)
    return np.sqrt(divide_or_nan((off**2).sum(-1), np.where(n > 1, n - 1, 0)))


def _figure_of(result, name):
    metrics = result.metrics
    return metrics[name] if name in metrics else getattr(result, name, np.nan)


def _seed(result):
    return getattr(result, "seed", 0)
