"""Detectors that score the logits alone and learn nothing but their threshold."""

from abc import abstractmethod

import numpy as np

from ..torch_engine.activations import LOGITS
from ._base import BaseNoveltyDetector
from ._blocks import find_blocks, has_block
from ._decision import threshold_options


class BaseLogitsDetector(BaseNoveltyDetector):
    """Base of the detectors that score logits. A subclass writes `_score_logits`."""

    _parameter_constraints: dict = {
        **BaseNoveltyDetector._parameter_constraints,
        "threshold": threshold_options(),
    }

    def __init__(
        self,
        *,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.threshold = threshold
        self.random_state = random_state

    @abstractmethod
    def _score_logits(self, logits):
        """Score logits of shape (n_samples, n_classes)."""

    def _fit_scores(self, X, names, random_state):
        named = names is not None and has_block(names, LOGITS)
        # Without such a name all columns are logits.
        blocks, logits = find_blocks(X.shape[1], names, None if named else [X.shape[1]])
        self.logits_ = blocks[logits]

    def _score_samples(self, X):
        return self._score_logits(X[:, self.logits_])

    def _predicted_class(self, X):
        return X[:, self.logits_].argmax(axis=1)


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
        return logits[:, -1] - logsumexp(logits[:, :-1])


class MaxLogit(BaseLogitsDetector):
    r"""Largest logit.

    An input that resembles two classes gets a low softmax probability, but not a low
    logit. With the logits z, the score is

    .. math:: \max_j z_j.

    Parameters
    ----------
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


class Energy(BaseLogitsDetector):
    r"""Negative free energy of the logits.

    Inputs unlike those of training activate the last layer less. With the logits z, the
    score is

    .. math:: -E = \log \sum_j e^{z_j}.

    Parameters
    ----------
    target_fpr, calibration_fraction, threshold, random_state : optional
        As in :class:`MaxSoftmaxProbability`.

    Attributes
    ----------
    logits_ : slice
        The columns of the logits.
    calibration_scores_, offset_, class_offsets_, n_features_in_, feature_names_in_
        As in :class:`MaxSoftmaxProbability`.

    See Also
    --------
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
        return logsumexp(logits)


def logsumexp(logits):
    """Return scipy's logsumexp over the columns of a finite array.

    For one row scipy's takes longer than all else here, because it serves other array
    libraries too. This has the same steps, and so the same rounding.
    """
    largest = logits.max(axis=1, keepdims=True)
    is_largest = logits == largest
    n_largest = is_largest.sum(axis=1)
    with np.errstate(over="ignore"):
        others = np.exp(np.where(is_largest, -np.inf, logits) - largest)
    # The largest count apart, which is more precise where they dominate the sum.
    ratio = others.sum(axis=1) / n_largest
    return np.log1p(ratio) + np.log(n_largest) + largest[:, 0]
