"""The baseline: the confidence of the classifier."""

import numpy as np
from scipy.special import logsumexp

from ._logits import BaseLogitsDetector


class MaxSoftmaxProbability(BaseLogitsDetector):
    r"""Largest softmax probability, the baseline of out-of-distribution detection.

    The network's own confidence :math:`p_k = \max_i p_i` in its prediction, with p
    the softmax of the logits z. The score is its log-odds,

    .. math:: \log \frac{p_k}{1 - p_k} = z_k - \log \sum_{j \ne k} e^{z_j},

    which ranks inputs as the probability does, also where that rounds to 1.

    Parameters
    ----------
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the training samples held out to place the threshold.
    threshold : {"overall", "per_class"}, default="overall"
        Whether ``target_fpr`` holds over all inputs or within each predicted class.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples.

    Attributes
    ----------
    logits_ : slice
        The columns of the logits: those with that name, or all if there are none.
    calibration_scores_, offset_, class_offsets_ : ndarray, float, dict or None
        Scores of held-out samples, and their thresholds overall and per class.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Number of features, and their names if X was a data frame.

    See Also
    --------
    Energy : A smooth maximum of the logits.
    skgrad.LayerActivationTransformer : Computes the logits, with ``layers="logits"``.

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
    [-0.69, 49.31]
    """

    def _score_logits(self, logits):
        # Without the largest itself, so that nothing cancels if it dominates the sum.
        logits = np.sort(logits, axis=1)
        return logits[:, -1] - logsumexp(logits[:, :-1], axis=1)
