"""Generalised entropy of the largest probabilities."""

from numbers import Integral, Real

import numpy as np

from .._compat import Interval
from ._logits import BaseLogitsDetector, logsumexp


class GEN(BaseLogitsDetector):
    r"""Generalised entropy of the largest softmax probabilities.

    A small exponent counts every probability that is neither 0 nor 1, so that doubt
    between several classes shows although one of them leads clearly. With the M largest
    softmax probabilities p, the paper's score is

    .. math:: -G_\gamma(p), \quad G_\gamma(p) = \sum_{j=1}^{M} p_j^\gamma
        (1 - p_j)^\gamma,

    higher = more in-distribution. The score here is :math:`-\log G_\gamma(p)`, which
    ranks inputs alike, also where the largest probability rounds to 1.

    Parameters
    ----------
    gamma : float, default=0.1
        The exponent :math:`\gamma`; the smaller, the more improbable classes count.
    n_largest : int, default=100
        The number of largest probabilities M; all classes, if they are fewer.
    target_fpr, calibration_fraction, threshold, random_state : optional
        As in :class:`MaxSoftmaxProbability`.

    Attributes
    ----------
    logits_ : slice
        The columns of the logits.
    calibration_scores_, offset_, class_offsets_, n_features_in_, feature_names_in_
        As in :class:`MaxSoftmaxProbability`.

    References
    ----------
    Liu, Lochman, Zach (2023), "GEN: Pushing the Limits of Softmax-Based
    Out-of-Distribution Detection". Its values for ImageNet are the defaults.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.detectors import GEN
    >>> X = np.random.default_rng(0).normal(scale=9, size=(99, 3))
    >>> detector = GEN(random_state=0).fit(X)
    >>> detector.score_samples([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0]]).round(2).tolist()
    [-0.95, 3.88]
    """

    _parameter_constraints: dict = {
        **BaseLogitsDetector._parameter_constraints,
        "gamma": [Interval(Real, 0, None, closed="neither")],
        "n_largest": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        *,
        gamma=0.1,
        n_largest=100,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.gamma = gamma
        self.n_largest = n_largest
        super().__init__(
            target_fpr=target_fpr,
            calibration_fraction=calibration_fraction,
            threshold=threshold,
            random_state=random_state,
        )

    def _score_logits(self, logits):
        logits = np.sort(logits, axis=1)
        total = logsumexp(logits)
        log_p = logits[:, -self.n_largest :] - total[:, None]
        with np.errstate(divide="ignore"):
            log_rest = np.log1p(-np.exp(log_p))
        # The largest probability may round to 1: what the others leave does not.
        log_rest[:, -1] = logsumexp(logits[:, :-1]) - total
        return -logsumexp(self.gamma * (log_p + log_rest))
