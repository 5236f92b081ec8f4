"""LODA, the lightweight on-line detector of anomalies."""

from functools import partial
from numbers import Integral

import numpy as np

from .._compat import Interval, StrOptions
from ._base import BaseNoveltyDetector
from ._histograms import Histograms


class LODA(BaseNoveltyDetector):
    r"""Lightweight on-line detector of anomalies: histograms of random projections.

    An input is anomalous if its projections on many sparse random cuts fall where the
    histograms are low. With densities :math:`\hat p_k` of the cuts :math:`w_k`, the
    score is

    .. math:: \frac1K \sum_{k=1}^{K} \log \hat p_k(x^\top w_k).

    Parameters
    ----------
    n_cuts : int, default=100
        Number K of projections, each with floor(sqrt(n_features)) non-zero entries.
    n_bins : int or "auto", default="auto"
        Number of equal bins per histogram, over the range of the training data.
        "auto" chooses it for each cut: few bins for few samples.
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
    n_bins_ : ndarray of int of shape (n_cuts,)
        Number of bins of each cut.
    calibration_scores_, offset_ : ndarray and float
        Scores of the held-out samples, and the threshold among them.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Number of features, and their names if X was a data frame.

    See Also
    --------
    skgrad.CosineSimilarityMatrixTransformer : The features that paper B scores by it.

    Notes
    -----
    A bin without training points, and everything outside the range, counts as half a
    point, so that the score is finite and lowest there. Cuts depend on the units of the
    features: standardise first if these differ.

    The paper also updates the histograms on-line; here they are those of one `fit`.

    "auto" compares the numbers of bins that divide 3,072, up to n / log n for n
    samples, and takes the one with the largest log-likelihood less
    :math:`b - 1 + (\log b)^{2.5}`.

    References
    ----------
    Pevny (2016), "Loda: Lightweight on-line detector of anomalies", Machine Learning
    102, Eq. 2 (score) and Sec. 3 (projections).

    Birge, Rozenholc (2006), "How Many Bins Should Be Put in a Regular Histogram",
    ESAIM: Probability and Statistics 10.

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
        "n_bins": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    }
    # Samples projected at a time, few enough to stay in the processor's cache; fewer of
    # many features, whose values it has to hold as well.
    _chunk, _values = 128, 2**16

    def __init__(
        self,
        n_cuts=100,
        n_bins="auto",
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
        self._fit_rows(X, None, names, random_state)

    def _fit_rows(self, X, rows, names, random_state):
        self._rows, self._weights = _sparse_cuts(X.shape[1], self.n_cuts, random_state)
        self.cuts_ = np.zeros((X.shape[1], self.n_cuts))
        np.put_along_axis(self.cuts_, self._rows, self._weights, axis=0)
        # Projections of values near the largest float would overflow without it.
        parts = self._parts(X, rows)
        self._size = max(max(part.max(), -part.min()) for part in parts) or 1.0
        projected = partial(self._projected, X, rows)
        self._histograms = Histograms(projected, self.n_bins)
        self.n_bins_ = self._histograms.n_bins

    def _score_samples(self, X):
        scores = [self._histograms.log_density(p) for p in self._projected(X)]
        # The histograms are those of X / size; a density in the units of X is lower.
        return np.concatenate(scores) - np.log(self._size)

    def _parts(self, X, rows):
        """Yield all rows of X, or some, by chunks, so that they need not be copied."""
        n_rows = int(np.clip(self._values // X.shape[1], 16, self._chunk))
        for start in range(0, len(X if rows is None else rows), n_rows):
            part = slice(start, start + n_rows)
            yield X[part if rows is None else rows[part]]

    def _projected(self, X, rows=None):
        """Yield the projections of rows of X by chunks, of shape (n_cuts, n_rows)."""
        for part in self._parts(X, rows):
            # One row per feature, so that those of a cut are gathered fast.
            part = np.array(part.T, order="C")
            with np.errstate(over="ignore"):
                part /= self._size
            np.clip(part, -1e100, 1e100, out=part)
            # Entry by entry, always in the same order: a matrix product would round
            # differently for other numbers of rows.
            projections = np.zeros((self._weights.shape[1], part.shape[1]))
            for features, weights in zip(self._rows, self._weights, strict=True):
                values = part[features]
                values *= weights[:, None]
                projections += values
            yield projections


def _sparse_cuts(n_features, n_cuts, random_state):
    """Draw the features of each cut and their weights, both (n_non_zero, n_cuts)."""
    n_non_zero = max(1, int(np.sqrt(n_features)))
    # The first rows of a random order are features without repetition.
    order = random_state.uniform(size=(n_features, n_cuts)).argsort(axis=0)
    # A view would keep the whole order.
    rows = order[:n_non_zero].copy()
    return rows, random_state.normal(size=rows.shape)
