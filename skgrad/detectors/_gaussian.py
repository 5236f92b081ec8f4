"""A Gaussian with shrunk covariance per predicted class."""

from numbers import Real

import numpy as np

from .._compat import Interval, StrOptions
from ._base_class_conditional import IF_ALONE, BaseClassConditional
from ._gaussian_models import (
    DenseGaussian,
    LowRankGaussian,
    RotatedScaler,
    WithinClassScaler,
    class_parts,
    shrunk_covariance,
)

# A class with fewer samples than a quarter of its features is held by its samples; the
# principal axes of more would take longer to find than a whole covariance.
_LOW_RANK = 4


class ClassConditionalGaussian(BaseClassConditional):
    r"""Mahalanobis distance to the training inputs of the same predicted class.

    With mean :math:`\mu_i` and shrunk covariance :math:`\Sigma_i` of the features of
    the training inputs predicted as class i, the score of an input predicted as i is

    .. math:: -(x - \mu_i)^\top \Sigma_i^{-1} (x - \mu_i).

    Parameters
    ----------
    covariance : {"per_class", "tied"} or float, default="per_class"
        Whether each class has its own covariance, or all share that of the deviations
        from their class means. A number in [0, 1] is the share of the tied one in both.
    blocks : array-like of int, default=None
        Widths of the column blocks, logits last, -1 for the rest. None uses the names,
        and leaves out the log-odds of `StabilityTransformer`, which are of no layer.
    include_logits : bool or "if_alone", default=True
        Whether the logits are scored as well; they always give the predicted class.
        "if_alone" scores them where X holds nothing else.
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
    skgrad.detectors.make_recommended_detector : The features it works best with.

    Notes
    -----
    The shrinkage is that of Ledoit and Wolf (2004), on features whose deviations from
    the class means have unit variance over all classes together. It gives a feature
    that never varied in training a small variance, so that inputs in which it differs
    score low. A mixed covariance is the regularised one of Friedman (1989) without its
    second step. With ``covariance="tied"`` the score is the Mahalanobis score of Lee et
    al., of the predicted class instead of the nearest.

    The models take no more memory than the training samples, with a thousand classes
    too: the covariance of a class with few samples for its features is held by these
    samples and by the principal axes of the tied covariance (Woodbury's identity).

    References
    ----------
    Friedman (1989), "Regularized Discriminant Analysis", Eq. 16 (mixed covariance).

    Ledoit, Wolf (2004), "A Well-Conditioned Estimator for Large-Dimensional Covariance
    Matrices".

    Lee, Lee, Lee, Shin (2018), "A Simple Unified Framework for Detecting
    Out-of-Distribution Samples and Adversarial Attacks", Eq. 1 (tied covariance).

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad import ClassConditionalGaussian
    >>> X = np.random.default_rng(0).normal(size=(300, 6))
    >>> detector = ClassConditionalGaussian(blocks=[-1, 2], random_state=0).fit(X)
    >>> detector.predict(np.array([[0, 0, 0, 0, 1, 0], [9, 9, 9, 9, 9, -9]])).tolist()
    [1, -1]
    """

    _parameter_constraints: dict = {
        **BaseClassConditional._parameter_constraints,
        "covariance": [
            StrOptions({"per_class", "tied"}),
            Interval(Real, 0, 1, closed="both"),
        ],
        "include_logits": ["boolean", StrOptions({IF_ALONE})],
    }

    # One covariance over all blocks, so that it holds how they depend on one another.
    joint = True

    def __init__(
        self,
        *,
        covariance="per_class",
        blocks=None,
        include_logits=True,
        min_class_size=10,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.covariance = covariance
        self.blocks = blocks
        self.include_logits = include_logits
        self.min_class_size = min_class_size
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.threshold = threshold
        self.random_state = random_state

    def _fit_scores(self, X, names, random_state):
        self._fit_rows(X, np.arange(len(X)), names, random_state)

    def _fit_rows(self, X, rows, names, random_state):
        predicted = self._locate_columns(X, names, rows)
        (columns,) = self._columns
        rare = ~np.isin(predicted, self.modelled_classes_)
        # Class after class, the rare ones last, so that parts of the copy are views. No
        # other copy is made: the rows of many classes are large, and it becomes models.
        order = np.lexsort((predicted, rare))
        Z, predicted = X[np.ix_(rows[order], columns)], predicted[order]
        self._scaler = WithinClassScaler().fit_transform(Z, predicted)
        self._pooled = []
        if not self._all_modelled():
            origin = np.zeros(Z.shape[1])
            whole = DenseGaussian(self._scaler, origin, shrunk_covariance(Z))
            self._pooled = [whole]
        n_modelled = len(Z) - np.count_nonzero(rare)
        self._models = self._fit_classes(Z[:n_modelled], predicted[:n_modelled])

    def _fit_classes(self, Z, predicted):
        """Return the model of each class in a list; Z becomes theirs."""
        labels = np.unique(predicted)
        parts = class_parts(Z, predicted)[: len(labels)]
        means = [part.mean(axis=0) for part in parts]
        for part, mean in zip(parts, means, strict=True):
            part -= mean
        tied = {"per_class": 0.0, "tied": 1.0}.get(self.covariance, self.covariance)
        # A covariance of weight 0 is not estimated.
        shared = shrunk_covariance(Z) if tied and len(labels) else 0.0
        fewest = Z.shape[1] / _LOW_RANK
        if tied == 1 or any(len(part) < fewest for part in parts):
            rotated = RotatedScaler(self._scaler, shared)
        models: dict[int, list[DenseGaussian | LowRankGaussian]] = {}
        for label, part, mean in zip(labels.tolist(), parts, means, strict=True):
            if tied < 1 and len(part) >= fewest:
                covariance = (1 - tied) * shrunk_covariance(part) + tied * shared
                models[label] = [DenseGaussian(self._scaler, mean, covariance)]
            else:
                models[label] = [LowRankGaussian(rotated, mean, part, tied)]
        return models
