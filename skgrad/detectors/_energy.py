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
