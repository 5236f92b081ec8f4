"""Any outlier detector, one per predicted class and block of columns."""

from sklearn.base import clone

from .._compat import StrOptions
from .._seeding import seed_estimator
from ._base_class_conditional import IF_ALONE, BaseClassConditional
from ._parts import fit_part, score_part
from ._scores import as_outlier_detector


class ClassConditionalDetector(BaseClassConditional):
    r"""Any outlier detector, one per predicted class and block of columns.

    What is usual for one class may be unusual for another. With one detector
    :math:`g_i^\ell` per predicted class i and block of columns :math:`\ell`, its scores
    scaled to [0, 1] on its training samples, the score of an input is

    .. math:: \sum_\ell \beta_\ell \, g_i^\ell(x)^*.

    Parameters
    ----------
    detector : estimator
        An outlier detector of scikit-learn, PyOD or skgrad, or a pipeline of one. Its
        parameters for the decision stay at their defaults: set them here.
    blocks : array-like of int, default=None
        Widths of the column blocks, logits last, -1 for the rest. None uses the names,
        and leaves out the log-odds of `StabilityTransformer`, which are of no layer.
    include_logits : bool or "if_alone", default=True
        Whether the logits are scored as well; they always give the predicted class.
        "if_alone" scores them where X holds nothing else.
    joint : bool, default=False
        Whether one detector takes the columns of all blocks, instead of one for each.
    weights : array-like of float of shape (n_blocks,), default=None
        The weights :math:`\beta`, scaled to sum 1. None weights all blocks equally.
    scaling : {"minmax", None}, default="minmax"
        Whether scores are scaled, so that blocks can be added and classes compared.
    min_class_size : int, default=10
        Classes predicted for fewer training samples share one model, fitted on all.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the training samples held out to place the threshold.
    threshold : {"overall", "per_class"}, default="overall"
        Whether ``target_fpr`` holds over all inputs or within each predicted class.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples and the seeds of the parts that have none.

    Attributes
    ----------
    blocks_, logits_block_ : list of slice and int
        Where the blocks of columns are, and which of them holds the logits.
    block_names_ : list of str
        Names of the scored blocks, in the order of `block_scores`.
    modelled_classes_ : ndarray of int
        The classes that have their own detectors.
    calibration_scores_, offset_, class_offsets_ : ndarray, float, dict or None
        Scores of held-out samples, and their thresholds overall and per class.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Number of features, and their names if X was a data frame.

    See Also
    --------
    PerClassSVDD : Support vector data descriptions, as in paper C.
    ClassConditionalGaussian : Gaussians.

    References
    ----------
    Zhao et al., "A Uniform Framework for Anomaly Detection in Deep Neural Networks",
    Eq. 4 (decision per class), Eq. 5 (scaling).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import LocalOutlierFactor
    >>> from skgrad import ClassConditionalDetector
    >>> X = np.random.default_rng(0).normal(size=(300, 6))
    >>> detector = ClassConditionalDetector(
    ...     LocalOutlierFactor(novelty=True), blocks=[-1, 2], random_state=0
    ... ).fit(X)
    >>> detector.predict(np.array([[0, 0, 0, 0, 1, 0], [9, 9, 9, 9, 9, -9]])).tolist()
    [1, -1]
    """

    _parameter_constraints: dict = {
        **BaseClassConditional._parameter_constraints,
        "detector": "no_validation",  # by as_outlier_detector
        "include_logits": ["boolean", StrOptions({IF_ALONE})],
        "joint": ["boolean"],
        "weights": ["array-like", None],
        "scaling": [StrOptions({"minmax"}), None],
    }

    def __init__(
        self,
        detector,
        *,
        blocks=None,
        include_logits=True,
        joint=False,
        weights=None,
        scaling="minmax",
        min_class_size=10,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.detector = detector
        self.blocks = blocks
        self.include_logits = include_logits
        self.joint = joint
        self.weights = weights
        self.scaling = scaling
        self.min_class_size = min_class_size
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.threshold = threshold
        self.random_state = random_state

    def _fit_scores(self, X, names, random_state):
        predicted = self._locate_columns(X, names)
        # Checked once, not for each clone.
        detector = as_outlier_detector(self.detector)

        def make():
            return _Part(seed_estimator(clone(detector), random_state))

        self._fit_models(X, predicted, make, self.scaling)


class _Part:
    """The detector of one class and group of columns."""

    def __init__(self, detector):
        self.detector = detector

    def fit(self, X):
        fit_part(self.detector, X)

    def score(self, X):
        return score_part(self.detector, X)
