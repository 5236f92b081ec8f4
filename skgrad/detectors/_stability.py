"""Detectors that score what a network says about changed copies of an input."""

from abc import abstractmethod

import numpy as np

from .._compat import StrOptions
from .._messages import listed, warn
from ._base import BaseNoveltyDetector
from ._blocks import log_odds_columns

# A change that costs more of the in-distribution inputs their class is not small.
_MOST_LOST = 0.25


class BaseStabilityDetector(BaseNoveltyDetector):
    """Base of the detectors over the columns of `Stability`.

    They learn nothing but their threshold. A subclass writes `_score_log_odds`.
    """

    _parameter_constraints: dict = {
        **BaseNoveltyDetector._parameter_constraints,
        "copies": [StrOptions({"mean", "worst"})],
    }

    def __init__(
        self,
        *,
        copies="mean",
        target_fpr=0.05,
        calibration_fraction=0.2,
        random_state=None,
    ):
        self.copies = copies
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    @abstractmethod
    def _score_log_odds(self, unchanged, changed):
        """Score log-odds (n_samples,) of inputs and (n_samples, n_changes) of copies.

        Returns the score by each copy, the lower, the more anomalous.
        """

    def _fit_scores(self, X, names, random_state):
        # Without names all columns are those of `Stability`.
        columns = list(range(X.shape[1])) if names is None else log_odds_columns(names)
        if len(columns) < 2:
            given = "no such names" if names is None else listed(names, most=6)
            raise ValueError(
                "X must have the columns log_odds_unchanged and log_odds_<change>, one "
                f"per change (n_features={X.shape[1]}); got {given}. Compute them by "
                "StabilityTransformer, or add the family Stability to NetworkFeatures."
            )
        self.columns_ = np.array(columns)
        if names is not None:
            _warn_of_large_changes(X[:, columns], [names[i] for i in columns])

    def _score_samples(self, X):
        log_odds = X[:, self.columns_]
        scores = self._score_log_odds(log_odds[:, :1], log_odds[:, 1:])
        # Row by row, so that a score does not depend on the number of rows.
        return scores.min(axis=1) if self.copies == "worst" else scores.mean(axis=1)


class StableConfidence(BaseStabilityDetector):
    r"""Confidence in the predicted class on changed copies of an input.

    A network may be right by luck, or be made confident by an attack; on slightly
    changed copies that confidence is lost. With k the class predicted for the input x
    and m changed copies :math:`x_1, \ldots, x_m`, the score is the mean log-odds

    .. math:: \frac1m \sum_i \log \frac{p_k(x_i)}{1 - p_k(x_i)},

    and the higher, the more in-distribution.

    Parameters
    ----------
    copies : {"mean", "worst"}, default="mean"
        Whether the score is the mean over the copies or the lowest of them.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the training samples held out to place the threshold.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples.

    Attributes
    ----------
    columns_ : ndarray of int of shape (1 + n_changes,)
        The columns of `StabilityTransformer`, that of the unchanged input first: those
        with its names, or all if X has no names.
    calibration_scores_, offset_ : ndarray and float
        Scores of held-out samples, and their threshold.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Number of features, and their names if X was a data frame.

    See Also
    --------
    skgrad.StabilityTransformer : The features.
    ConfidenceDrop : How far the confidence falls, however high it is.

    Notes
    -----
    The log-odds of `StabilityTransformer` are exact where p rounds to 0 or 1. The input
    without a change counts for nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad import StableConfidence
    >>> X = np.random.default_rng(0).normal(5, size=(100, 3))
    >>> detector = StableConfidence(random_state=0).fit(X)
    >>> detector.score_samples([[9.0, 9.0, 7.0], [9.0, 5.0, -9.0]]).tolist()
    [8.0, -2.0]
    """

    def _score_log_odds(self, unchanged, changed):
        return changed


class ConfidenceDrop(BaseStabilityDetector):
    r"""How far the log-odds of the predicted class fall on changed copies of an input.

    Adversarial inputs are confident and fragile: changes that leave an in-distribution
    input as sure as before undo them. With k the class predicted for the input x, its
    changed copies :math:`x_1, \ldots, x_m` and the log-odds :math:`s = \log p_k / (1 -
    p_k)`, the score is

    .. math:: -\Bigl(s(x) - \frac1m \sum_i s(x_i)\Bigr),

    and the higher, the more in-distribution.

    Parameters
    ----------
    copies : {"mean", "worst"}, default="mean"
        Whether the drop is that to the mean over the copies, or the largest.
    target_fpr, calibration_fraction, random_state : optional
        As in :class:`StableConfidence`.

    Attributes
    ----------
    columns_, calibration_scores_, offset_, n_features_in_, feature_names_in_
        As in :class:`StableConfidence`.

    See Also
    --------
    skgrad.StabilityTransformer : The features.
    StableConfidence : The confidence that is left.

    Notes
    -----
    Inputs in which the network has little confidence have little to lose: alone the
    score does not find them. Combine it, as with :class:`CombinedDetector`.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad import ConfidenceDrop
    >>> X = np.random.default_rng(0).normal(5, size=(100, 3))
    >>> detector = ConfidenceDrop(random_state=0).fit(X)
    >>> detector.score_samples([[9.0, 8.0, 9.0], [9.0, 1.0, -1.0]]).tolist()
    [-0.5, -9.0]
    """

    def _score_log_odds(self, unchanged, changed):
        return changed - unchanged


def _warn_of_large_changes(log_odds, names):
    """Warn if a change makes the network doubt what it was sure of."""
    sure = log_odds[:, 0] > 0
    lost = (log_odds[sure, 1:] < 0).mean(axis=0) if sure.any() else np.zeros(0)
    for place in np.flatnonzero(lost > _MOST_LOST):
        warn(
            f"X: {names[place + 1]} is below 0 for {lost[place]:.0%} of the "
            "in-distribution inputs of whose class the network was sure. This change "
            "is too large for these inputs, and hides anomalies: give other changes to "
            "Stability.",
            UserWarning,
        )
