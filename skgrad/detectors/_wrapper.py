"""A threshold with a chosen false-alarm rate, and p-values, for any detector."""

import copy

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state, get_tags, indexable
from sklearn.utils.validation import check_is_fitted, validate_data
from torch.utils.data import Dataset

from .._compat import num_samples
from .._seeding import seed_estimator
from .._validation import check_per_sample, column_names, distinct
from ._base import fit_to_score
from ._blocks import find_blocks
from ._decision import (
    PER_CLASS,
    BaseDecision,
    check_enough,
    in_distribution_rows,
    split_rows,
    take,
    threshold_options,
)
from ._scores import (
    anomaly_index,
    as_outlier_detector,
    check_accepts_dataset,
    in_distribution_scores,
    is_estimator,
)


class ConformalDetector(BaseDecision):
    """Any detector, with a chosen false-alarm rate and p-values.

    A share of the in-distribution samples is held out; the rank of a new input among
    their scores decides. The rate holds for every detector and distribution, as long as
    held-out and new inputs are drawn alike.

    Parameters
    ----------
    detector : estimator
        An outlier detector of scikit-learn or PyOD, a binary classifier (anomalies are
        1 of {0, 1} or -1 of {-1, +1}), or a pipeline that ends in one of them. It is
        cloned and fitted on the samples that are not held out. One in a
        :class:`sklearn.frozen.FrozenEstimator` is used as it is; all in-distribution
        samples given to `fit` are held-out samples then, and should not be those that
        it was fitted on.
    predicted_class : callable, default=None
        For ``threshold="per_class"``: a function that returns the predicted class of
        each input, such as ``net.predict`` of a skorch net. None takes the argmax of
        the logits among the columns of X.
    blocks : array-like of int, default=None
        For ``threshold="per_class"`` without ``predicted_class``: widths of the column
        blocks, logits last, one of them possibly -1 for the rest. None uses the column
        names, which the output of the transformers has.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the in-distribution samples held out to place the threshold.
    threshold : {"overall", "per_class"}, default="overall"
        Whether ``target_fpr`` holds over all inputs or within each predicted class.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples, and seeds for every ``random_state`` of the
        detector that is None.

    Attributes
    ----------
    detector_ : estimator
        The fitted detector.
    calibration_scores_ : ndarray of shape (n_held_out,)
        Scores of the held-out samples.
    offset_ : float
        The overall threshold: lower scores are rejected.
    class_offsets_ : dict, or None
        The thresholds of classes with enough held-out samples, if placed per class.
    n_features_in_ : int
        Length of the second axis of X, if X has one.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    See Also
    --------
    conformal_p_values : The p-values, for any scores.
    select_by_fdr : Benjamini-Hochberg selection, for any p-values.

    Notes
    -----
    `fit` accepts X in any form that the detector accepts. Around a classifier y holds
    its two labels. Otherwise, if y holds nothing but +1 and -1, rows labelled -1 are
    known anomalies and are left out.

    The detectors of skgrad place such a threshold themselves. Around a pipeline of them
    this gives p-values of raw inputs, and each of both holds out its own samples.

    Scores are those of ``score_samples``, or else of ``decision_function``; of a
    classifier the log-odds against an anomaly.

    References
    ----------
    Vovk, Gammerman, Shafer (2005), "Algorithmic Learning in a Random World".

    Bates, Candes, Lei, Romano, Sesia (2023), "Testing for Outliers with Conformal
    p-values", Annals of Statistics 51.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import IsolationForest
    >>> from skgrad import ConformalDetector
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = ConformalDetector(IsolationForest(), random_state=0).fit(X)
    >>> detector.predict([[0.0, 0.0], [9.0, 9.0]]).tolist()
    [1, -1]
    >>> detector.p_values([[9.0, 9.0]]).round(3).tolist()
    [0.01]
    """

    # The attribute that `skgrad._unwrap` looks into.
    _wrapped = "detector_"
    _parameter_constraints: dict = {
        **BaseDecision._parameter_constraints,
        "detector": "no_validation",  # by as_outlier_detector
        "threshold": threshold_options(),
        "predicted_class": [callable, None],
        "blocks": ["array-like", None],
    }

    def __init__(
        self,
        detector,
        *,
        predicted_class=None,
        blocks=None,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.detector = detector
        self.predicted_class = predicted_class
        self.blocks = blocks
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.threshold = threshold
        self.random_state = random_state

    def __sklearn_clone__(self):
        # clone would copy a bound method such as net.predict together with its net.
        without = copy.copy(self)
        without.predicted_class = None
        cloned = BaseEstimator.__sklearn_clone__(without)
        cloned.predicted_class = self.predicted_class
        return cloned

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.detector).input_tags
        tags.target_tags.required = is_classifier(self.detector)
        return tags

    def _fit(self, X, y):
        supervised = is_estimator(self.detector) and is_classifier(self.detector)
        detector = self.detector if supervised else as_outlier_detector(self.detector)
        check_accepts_dataset(detector, X)
        (X,) = indexable(X)
        self._check_columns(X, reset=True)
        self._logits = None
        rows, anomalies = self._rows(X, y, supervised)
        random_state = check_random_state(self.random_state)
        if isinstance(detector, FrozenEstimator):
            self.detector_, held_out = detector, rows
        else:
            # Anomalies never place the threshold, so a classifier learns from all.
            fit, held_out = split_rows(rows, self.calibration_fraction, random_state)
            fit = np.r_[fit, anomalies]
            self.detector_ = seed_estimator(clone(detector), random_state)
            labels = take(y, fit) if supervised else None
            fit_to_score(self.detector_, take(X, fit), labels)
        self._per_class = self.threshold == PER_CLASS
        self._calibrate(*self._score_and_classify(take(X, held_out)))

    def _rows(self, X, y, supervised):
        """Return in-distribution rows, and those of anomalies for a classifier."""
        n_samples = num_samples(X)
        if not supervised:
            rows = in_distribution_rows(n_samples, y)
            anomalies = np.empty(0, dtype=np.intp)
        elif y is None:
            raise ValueError(
                "ConformalDetector around a classifier requires y to be passed, but "
                "the target y is None. It labels the anomalies."
            )
        else:
            y = check_per_sample(y, n_samples, "y")
            if distinct(y) not in ([0, 1], [-1, 1]):
                raise ValueError(
                    "y must hold 0 for in-distribution samples and 1 for anomalies, or "
                    f"+1 and -1, both of either; got {distinct(y)[:5]}."
                )
            labels, codes = np.unique(y, return_inverse=True)
            is_anomaly = codes == anomaly_index(labels, None)
            rows, anomalies = np.flatnonzero(~is_anomaly), np.flatnonzero(is_anomaly)
        # One to place the threshold, and one to learn from unless that is done.
        fewest = 1 if isinstance(self.detector, FrozenEstimator) else 2
        check_enough(len(rows), fewest)
        return rows, anomalies

    def _score_and_predict(self, X):
        check_is_fitted(self)
        self._check_columns(X, reset=False)
        return self._score_and_classify(X)

    def _check_columns(self, X, *, reset):
        """Record or compare the number and names of the columns, if X has them."""
        names = column_names(X)
        if reset:
            self._column_names = names
        # The values are for the detector to validate: X may be raw inputs of a network.
        if not isinstance(X, Dataset) and getattr(X, "ndim", 2) > 1:
            validate_data(self, X, reset=reset, skip_check_array=True)
        self._check_names(names)

    def _score_and_classify(self, X):
        scores = in_distribution_scores(self.detector_, X)
        scores = np.asarray(scores, dtype=np.float64)
        return scores, self._classes(X, len(scores)) if self._per_class else None

    def _classes(self, X, n_samples):
        """Return the class that the network predicts for each sample."""
        if self.predicted_class is None:
            if isinstance(X, Dataset):
                raise ValueError(
                    "predicted_class must be a function when X is a Dataset, which "
                    f"has no columns of logits; got None and a {type(X).__name__}."
                )
            X = X.toarray() if issparse(X) else np.asarray(X)
            if X.ndim != 2:
                raise ValueError(
                    "predicted_class must be a function when X is not a matrix of "
                    f"features with logits; got None and X of shape {X.shape}."
                )
            # Found once: later X may come without names.
            if self._logits is None:
                names = self._column_names
                blocks, logits = find_blocks(X.shape[1], names, self.blocks)
                self._logits = blocks[logits]
            return X[:, self._logits].argmax(axis=1)
        classes = np.asarray(self.predicted_class(X))
        if classes.shape != (n_samples,):
            raise ValueError(
                "predicted_class must return one class per sample, of shape "
                f"({n_samples},); it returned an array of shape {classes.shape}."
            )
        return classes
