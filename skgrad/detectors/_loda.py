"""LODA, the lightweight on-line detector of anomalies."""

from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval

from ._base import BaseNoveltyDetector


class LODA(BaseNoveltyDetector):
    r"""Lightweight on-line detector of anomalies: histograms of random projections.

    Each of many sparse random cuts projects the data on a line and keeps a histogram
    there; a point is anomalous if its projections fall where histograms are low. With
    densities :math:`\hat p_k` of the cuts :math:`w_k`, the score is

    .. math:: \frac1K \sum_{k=1}^{K} \log \hat p_k(x^\top w_k).

    Parameters
    ----------
    n_cuts : int, default=100
        Number K of random projections. Each has floor(sqrt(n_features)) non-zero
        entries, drawn from the standard normal distribution.
    n_bins : int, default=100
        Number of equal bins per histogram, over the range of the training data.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the training samples held out to place the threshold.
    random_state : int, RandomState instance or None, default=None
        Draws the cuts and the held-out samples.

    Attributes
    ----------
    cuts_ : ndarray of shape (n_features, n_cuts)
        The projections.
    offset_ : float
        The threshold: lower scores are rejected.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    See Also
    --------
    skgrad.CosineSimilarityMatrixTransformer : The features for which paper B uses it.

    Notes
    -----
    A bin without training points, and everything outside the range, counts as half a
    point, so that the score stays finite and is lowest there. Cuts see the units of
    the features: standardise first when these differ.

    References
    ----------
    Pevny (2016), "Loda: Lightweight on-line detector of anomalies", Machine Learning
    102, Eq. 2 (score) and Sec. 3 (projections).

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad import LODA
    >>> X = np.random.default_rng(0).normal(size=(1000, 2))
    >>> LODA(random_state=0).fit(X).predict([[0.0, 0.0], [9.0, 9.0]]).tolist()
    [1, -1]
    """

    _parameter_constraints: dict = {
        **BaseNoveltyDetector._parameter_constraints,
        "n_cuts": [Interval(Integral, 1, None, closed="left")],
        "n_bins": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_cuts=100,
        n_bins=100,
        *,
        target_fpr=0.05,
        calibration_fraction=0.2,
        random_state=None,
    ):
        self.n_cuts = n_cuts
        self.n_bins = n_bins
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def _fit_scores(self, X, names, random_state):
        self._rows, self._weights = _sparse_cuts(X.shape[1], self.n_cuts, random_state)
        self.cuts_ = np.zeros((X.shape[1], self.n_cuts))
        np.put_along_axis(self.cuts_, self._rows, self._weights, axis=0)
        # Random weights of a few units may not overflow with values near the largest.
        self._size = np.abs(X).max() or 1.0
        projections = self._project(X)
        self._low, self._width = _bins_of(projections, self.n_bins)
        counts = np.zeros((self.n_bins, self.n_cuts))
        bins, inside = self._locate(projections)
        np.add.at(counts, (bins, np.arange(self.n_cuts)), inside)
        log_n_width = np.log(len(X)) + np.log(self._width) + np.log(self._size)
        self._log_density = np.log(np.maximum(counts, 0.5)) - log_n_width
        self._log_floor = np.log(0.5) - log_n_width

    def _score_samples(self, X):
        bins, inside = self._locate(self._project(X))
        log_density = self._log_density[bins, np.arange(self.n_cuts)]
        return np.where(inside, log_density, self._log_floor).mean(axis=1)

    def _project(self, X):
        """Project the samples on the cuts.

        Only non-zero entries are multiplied, and always in the same order: a matrix
        product would round differently for batches of other sizes.
        """
        with np.errstate(over="ignore"):
            X = np.clip(X / self._size, -1e100, 1e100)
        projections = np.zeros((len(X), self.n_cuts))
        for rows, weights in zip(self._rows, self._weights, strict=True):
            projections += X[:, rows] * weights
        return projections

    def _locate(self, projections):
        """Return each projection's bin, and whether it lies in the range."""
        position = (projections - self._low) / self._width
        # Rounding may put the extreme training points a hair beyond the edges.
        hair = 1e-9 * self.n_bins
        inside = (position >= -hair) & (position <= self.n_bins + hair)
        return np.clip(position, 0, self.n_bins - 1).astype(np.intp), inside


def _sparse_cuts(n_features, n_cuts, random_state):
    """Draw the places and values of floor(sqrt(n_features)) entries per cut.

    Returns
    -------
    rows : ndarray of int of shape (n_non_zero, n_cuts)
        Which features a cut takes, all different.
    weights : ndarray of shape (n_non_zero, n_cuts)
        Standard normal values.
    """
    n_non_zero = max(1, int(np.sqrt(n_features)))
    order = random_state.uniform(size=(n_features, n_cuts)).argsort(axis=0)
    rows = order[:n_non_zero]
    return rows, random_state.normal(size=rows.shape)


def _bins_of(projections, n_bins):
    """Return the lower end and the bin width of each cut's range."""
    low, high = projections.min(axis=0), projections.max(axis=0)
    largest = np.maximum(np.abs(low), np.abs(high))
    # A projection constant up to rounding gets bins so narrow that little else falls
    # inside, around its value.
    narrow = 1e-9 * np.where(largest == 0, 1.0, largest)
    constant = high - low <= narrow
    low = np.where(constant, (low + high - narrow) / 2, low)
    return low, np.where(constant, narrow, high - low) / n_bins
