"""The baseline: how sure the classifier says it is."""

from scipy.special import softmax

from ._base import BaseNoveltyDetector
from ._blocks import find_blocks


class MaxSoftmaxProbability(BaseNoveltyDetector):
    r"""Largest softmax probability, the baseline of out-of-distribution detection.

    The score is the network's own confidence :math:`\max_i p_i` in its prediction,
    with p the softmax of the logits.

    Parameters
    ----------
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the training samples held out to place the threshold. Nothing else is
        learnt from them.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples.

    Attributes
    ----------
    logits_ : slice
        The columns that hold the logits: those so named, or all if none has a name.
    offset_ : float
        The threshold: lower scores are rejected.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    See Also
    --------
    skgrad.LayerActivationTransformer : Makes the logits, with ``layers="logits"``.

    References
    ----------
    Hendrycks, Gimpel (2017), "A Baseline for Detecting Misclassified and
    Out-of-Distribution Examples in Neural Networks".

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad import MaxSoftmaxProbability
    >>> X = np.random.default_rng(0).normal(scale=9, size=(99, 3))
    >>> detector = MaxSoftmaxProbability(random_state=0).fit(X)
    >>> detector.score_samples([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0]]).round(2).tolist()
    [0.33, 1.0]
    """

    def __init__(self, *, target_fpr=0.05, calibration_fraction=0.2, random_state=None):
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def _fit_scores(self, X, names, random_state):
        named = names is not None
        blocks, logits = find_blocks(X.shape[1], names, None if named else [-1])
        self.logits_ = blocks[logits]

    def _score_samples(self, X):
        return softmax(X[:, self.logits_], axis=1).max(axis=1)
