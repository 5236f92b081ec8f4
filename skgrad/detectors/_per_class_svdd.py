"""Paper C: support vector data descriptions per predicted class and layer."""

from functools import partial
from numbers import Real

from .._compat import Interval, StrOptions
from ._base_class_conditional import BaseClassConditional
from ._svdd import SVDD


class PerClassSVDD(BaseClassConditional):
    r"""Support vector data description per predicted class and layer.

    With one description :math:`g_i^\ell` per predicted class i and block of columns
    :math:`\ell`, its scores scaled to [0, 1] on its training samples, the score is

    .. math:: \sum_\ell \beta_\ell \, g_i^\ell(x)^*.

    Parameters
    ----------
    nu : float, default=0.1
        Bound on the share of training samples outside each description, in (0, 1].
    gamma : {"scale", "auto"} or float, default="scale"
        Coefficient of the RBF kernel ``exp(-gamma |x - x'|^2)``, as in
        :class:`sklearn.svm.OneClassSVM`; the paper's 1 / s^2.
    blocks : array-like of int, default=None
        Widths of the column blocks, logits last, -1 for the rest. None uses the names,
        and leaves out the log-odds of `StabilityTransformer`, which are of no layer.
    weights : array-like of float of shape (n_blocks,), default=None
        The weights :math:`\beta`, scaled to sum 1. None: all equal, as in the paper.
    min_class_size : int, default=10
        Classes predicted for fewer training samples share one model, fitted on all.
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
    blocks_, logits_block_, block_names_, modelled_classes_ : list, int, list, ndarray
        The blocks of columns and the classes, as in :class:`ClassConditionalDetector`.
    calibration_scores_, offset_, class_offsets_ : ndarray, float, dict or None
        Scores of held-out samples, and their thresholds overall and per class.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Number of features, and their names if X was a data frame.

    See Also
    --------
    ClassConditionalDetector : The same with any outlier detector.

    Notes
    -----
    With an RBF kernel the description is the one-class support vector machine; this is
    scikit-learn's, on standardised features. The authors' code scales by the lowest and
    highest score of the test set, anomalies included; here they are those of the
    training samples (Eq. 5), and scores outside [0, 1] are not clipped. The paper's
    threshold is per class, :math:`\tau_i`; the default here is overall.

    References
    ----------
    Zhao et al., "A Uniform Framework for Anomaly Detection in Deep Neural Networks",
    Eq. 1 (description), Eq. 3 (kernel), Eq. 4 (decision), Eq. 5 (scaling).

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad import PerClassSVDD
    >>> X = np.random.default_rng(0).normal(size=(300, 6))
    >>> detector = PerClassSVDD(blocks=[-1, 2], random_state=0).fit(X)
    >>> detector.predict(np.array([[0, 0, 0, 0, 1, 0], [9, 9, 9, 9, 9, -9]])).tolist()
    [1, -1]
    """

    _parameter_constraints: dict = {
        **BaseClassConditional._parameter_constraints,
        "nu": [Interval(Real, 0, 1, closed="right")],
        "gamma": [
            StrOptions({"scale", "auto"}),
            Interval(Real, 0, None, closed="neither"),
        ],
        "weights": ["array-like", None],
    }

    def __init__(
        self,
        nu=0.1,
        *,
        gamma="scale",
        blocks=None,
        weights=None,
        min_class_size=10,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.nu = nu
        self.gamma = gamma
        self.blocks = blocks
        self.weights = weights
        self.min_class_size = min_class_size
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.threshold = threshold
        self.random_state = random_state

    def _fit_scores(self, X, names, random_state):
        # The paper scales the distances, so that layers can be added (Eq. 5).
        predicted = self._locate_columns(X, names)
        make = partial(SVDD, self.nu, self.gamma)
        self._fit_models(X, predicted, make, "minmax")
