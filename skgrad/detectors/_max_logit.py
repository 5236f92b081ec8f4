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
