"""The largest logit as a score."""

from ._logits import BaseLogitsDetector


class MaxLogit(BaseLogitsDetector):
    r"""Largest logit.

    Softmax probabilities sum to 1, so an input that resembles two classes gets a low
    confidence however well it fits both. The logit itself is not normalised. With the
    logits z, the score is

    .. math:: \max_j z_j,

    higher = more in-distribution.

    Parameters
    ----------
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the training samples held out to place the threshold. Nothing else is
        learnt.
    threshold : {"overall", "per_class"}, default="overall"
        Whether ``target_fpr`` holds over all inputs or within each predicted class.
        Classes with too few held-out samples get the overall threshold, with a warning.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples.

    Attributes
    ----------
    logits_ : slice
        The columns of the logits: those with that name, or all if there are none.
    calibration_scores_ : ndarray of shape (n_held_out,)
        Scores of the held-out samples.
    offset_ : float
        The overall threshold: lower scores are rejected.
    class_offsets_ : dict of int to float, or None
        The thresholds per class, with ``threshold="per_class"``.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    See Also
    --------
    MaxSoftmaxProbability : Compares the largest logit with the others.
    Energy : A smooth maximum of the logits.

    References
    ----------
    Hendrycks et al. (2022), "Scaling Out-of-Distribution Detection for Real-World
    Settings", Sec. 3. There anomalies have high scores; here the sign is turned.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.detectors import MaxLogit
    >>> X = np.random.default_rng(0).normal(scale=9, size=(99, 3))
    >>> detector = MaxLogit(random_state=0).fit(X)
    >>> detector.score_samples([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0]]).tolist()
    [0.0, 50.0]
    """

    def _score_logits(self, logits):
        return logits.max(axis=1)
