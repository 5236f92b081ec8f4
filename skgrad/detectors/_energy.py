"""The energy score of the logits."""

from scipy.special import logsumexp

from ._logits import BaseLogitsDetector


class Energy(BaseLogitsDetector):
    r"""Negative free energy of the logits.

    Inputs unlike those of training activate the last layer less. With the logits z, the
    score is

    .. math:: -E = \log \sum_j e^{z_j}.

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
    CombinedDetector : Can reject both tails; attacks often make the score too high.

    References
    ----------
    Liu, Wang, Owens, Li (2020), "Energy-based Out-of-Distribution Detection", Eq. 4,
    with temperature 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad import Energy
    >>> X = np.random.default_rng(0).normal(scale=9, size=(99, 3))
    >>> detector = Energy(random_state=0).fit(X)
    >>> detector.score_samples([[0.0, 0.0, 0.0], [50.0, 0.0, 0.0]]).round(2).tolist()
    [1.1, 50.0]
    """

    def _score_logits(self, logits):
        return logsumexp(logits, axis=1)
