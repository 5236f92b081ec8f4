"""One model per predicted class and block of columns."""

from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from .._compat import Interval, StrOptions
from .._messages import brief
from ._base import BaseNoveltyDetector, fit_to_score
from ._blocks import block_names, find_blocks
from ._decision import seed, threshold_options
from ._scores import as_outlier_detector, in_distribution_scores


class ClassConditionalDetector(BaseNoveltyDetector):
    r"""Any outlier detector, one per predicted class and block of columns.

    An input is compared with the training inputs that the network took for the same
    class: what is ordinary for one class may be extraordinary for another. With one
    detector :math:`g_i^\ell` per predicted class i and block of columns :math:`\ell`,
    its scores brought to [0, 1] on its training samples, the score of an input is

    .. math:: \sum_\ell \beta_\ell \, g_i^\ell(x)^*.

    Parameters
    ----------
    detector : estimator
        An outlier detector of scikit-learn, PyOD or skgrad, or a pipeline that ends in
        one; cloned for each class and block.
    blocks : array-like of int, default=None
        Widths of the column blocks, logits last, one of them possibly -1 for the
        rest. None takes them from the column names, which the output of the
        transformers has, also within a :class:`sklearn.pipeline.FeatureUnion`.
    include_logits : bool, default=True
        Whether the logits are a block to judge by, or only tell the predicted class.
    joint : bool, default=False
        Whether one detector sees the columns of all blocks side by side, instead of
        one detector for each.
    weights : array-like of float of shape (n_blocks,), default=None
        The weights :math:`\beta`, one per block to judge by, scaled to sum 1. None
        weighs all alike.
    scaling : {"minmax", None}, default="minmax"
        Whether the scores of each detector are brought to [0, 1] on the samples that
        it was fitted on, so that blocks can be added and classes compared.
    min_class_size : int, default=10
        A class predicted for fewer training samples, or for none, is judged by
        detectors fitted on all classes together.
    threshold : {"overall", "per_class"}, default="overall"
        Whether ``target_fpr`` holds over all inputs together, or within each
        predicted class. A class with too few held-out samples for that, or none, gets
        the threshold of all classes together, with a warning.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the training samples held out to place the threshold.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples, and seeds for every ``random_state`` of the
        detector that is None.

    Attributes
    ----------
    blocks_ : list of slice
        Where the blocks of columns are.
    logits_block_ : int
        Which of them holds the logits; their argmax is the predicted class.
    block_names_ : list of str
        Names of the blocks to judge by, in the order of `block_scores`.
    modelled_classes_ : ndarray of int
        The classes that have detectors of their own.
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
    PerClassSVDD : This with the choices of paper C.
    ClassConditionalGaussian : This with Gaussians.

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
        **BaseNoveltyDetector._parameter_constraints,
        "detector": "no_validation",  # by as_outlier_detector
        "blocks": ["array-like", None],
        "include_logits": ["boolean"],
        "joint": ["boolean"],
        "weights": ["array-like", None],
        "scaling": [StrOptions({"minmax"}), None],
        "min_class_size": [Interval(Integral, 2, None, closed="left")],
        "threshold": threshold_options(),
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
        threshold="overall",
        target_fpr=0.05,
        calibration_fraction=0.2,
        random_state=None,
    ):
        self.detector = detector
        self.blocks = blocks
        self.include_logits = include_logits
        self.joint = joint
        self.weights = weights
        self.scaling = scaling
        self.min_class_size = min_class_size
        self.threshold = threshold
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def _fit_scores(self, X, names, random_state):
        self.blocks_, self.logits_block_ = find_blocks(X.shape[1], names, self.blocks)
        self._columns = self._judged_columns()
        self._weights = checked_weights(
            self.weights, len(self._columns), "block of columns"
        )
        predicted = self._predicted_class(X)
        classes, counts = np.unique(predicted, return_counts=True)
        self.modelled_classes_ = classes[counts >= self.min_class_size]
        self._fit_models(X, predicted, random_state)

    def _fit_models(self, X, predicted, random_state):
        """Fit the models of each class, and those of all together."""
        self._pooled = self._fit_parts(X, random_state)
        self._models = {
            label: self._fit_parts(X[predicted == label], random_state)
            for label in self.modelled_classes_.tolist()
        }

    def _fit_parts(self, X, random_state):
        """Fit one model per group of columns."""
        return [
            _Part(self._make_model(random_state), self.scaling).fit(X[:, columns])
            for columns in self._columns
        ]

    def _make_model(self, random_state):
        """Return an unfitted model for one class and group of columns."""
        return seed(clone(as_outlier_detector(self.detector)), random_state)

    def _judged_columns(self):
        """Return the columns that each model of a class sees."""
        judged = [
            block
            for i, block in enumerate(self.blocks_)
            if self.include_logits or i != self.logits_block_
        ]
        if not judged:
            raise ValueError(
                "include_logits must be True when X holds nothing but logits. Add "
                "another layer, or leave the logits in."
            )
        return [np.r_[tuple(judged)]] if self.joint else judged

    @property
    def block_names_(self):
        """Names of the blocks to judge by, in the order of `block_scores`."""
        check_is_fitted(self)
        names = block_names(self.blocks_, self.logits_block_, self._column_names)
        if not self.include_logits:
            del names[self.logits_block_]
        return [" + ".join(names)] if self.joint else names

    def block_scores(self, X):
        r"""Score each block of columns by itself; their weighted sum is the score.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples, n_blocks)
            The scores of the blocks to judge by, in the order of ``block_names_``,
            higher = more in-distribution: :math:`g_i^\ell(x)^*` for the predicted
            class i. With ``joint=True`` there is one column for all blocks together.
        """
        return self._block_scores(self._validated(X))

    def _block_scores(self, X):
        predicted = self._predicted_class(X)
        scores = np.empty((len(X), len(self._columns)))
        for label in np.unique(predicted).tolist():
            rows = predicted == label
            own = X[rows]
            parts = self._models.get(label, self._pooled)
            for number, (part, columns) in enumerate(
                zip(parts, self._columns, strict=True)
            ):
                scores[rows, number] = part.score(own[:, columns])
        return scores

    def _score_samples(self, X):
        # Not a product of matrices, which may round by the number of rows.
        parts = self._block_scores(X).T
        return sum(w * part for w, part in zip(self._weights, parts, strict=True))

    def _predicted_class(self, X):
        return X[:, self.blocks_[self.logits_block_]].argmax(axis=1)


class _Part:
    """A detector whose scores span [0, 1] on its training samples, if so asked."""

    def __init__(self, detector, scaling):
        self.detector = detector
        self.scaling = scaling

    def fit(self, X):
        fit_to_score(self.detector, X)
        self.low, self.range = 0.0, 1.0
        if self.scaling is not None:
            scores = in_distribution_scores(self.detector, X)
            self.low, self.range = scores.min(), np.ptp(scores) or 1.0
        return self

    def score(self, X):
        return (in_distribution_scores(self.detector, X) - self.low) / self.range


def checked_weights(weights, n_weights, of_what):
    """Return the weights, one of each of something, scaled to sum 1."""
    given = np.ones(n_weights) if weights is None else np.asarray(weights)
    if (
        given.shape != (n_weights,)
        or given.dtype.kind not in "iuf"
        or not np.all((given >= 0) & np.isfinite(given))
        or not given.any()
    ):
        raise ValueError(
            f"weights must be None or numbers >= 0, not all 0, one per {of_what}, "
            f"{n_weights} here; got {brief(weights)}."
        )
    return given / given.sum()
