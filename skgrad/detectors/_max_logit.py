"""The largest logit: the evidence for the prediction, not compared with the rest."""

from ._logits import BaseLogitsDetector


class MaxLogit(BaseLogitsDetector):
    r"""Largest logit.

    Softmax shares a fixed sum among the classes, so that an input that looks like two
    of them gets little confidence, however well it fits both. The logit itself is not
    shared. With the logits z, the score is

    .. math:: \max_j z_j,

    higher = more in-distribution.

    Parameters
    ----------
    threshold : {"overall", "per_class"}, default="overall"
        Whether ``target_fpr`` holds over all inputs together, or within each
        predicted class. A class with too few held-out samples for that, or none, gets
        the threshold of all classes together, with a warning.
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
        The columns that hold the logits: those so named, or all if there are none.
    calibration_scores_ : ndarray of shape (n_held_out,)
        Scores of the held-out samples.
    offset_ : float
        The threshold of all classes together: lower scores are rejected.
    class_offsets_ : dict of int to float, or None
        The thresholds per class, with ``threshold="per_class"``.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    See Also
    --------
    MaxSoftmaxProbability : How far the largest logit stands out.
    Energy : A smooth maximum of the logits.

    References
    ----------
    Hendrycks et al. (2022), "Scaling Out-of-Distribution Detection for Real-World
    Settings", Sec. 3. They give anomalies high scores, here it is the opposite.

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
