"""A threshold with a chosen false-alarm rate, and p-values, for any detector."""

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state, get_tags, indexable
from sklearn.utils.validation import check_is_fitted, validate_data

from .._compat import StrOptions
from .._finite import finite_rows
from .._labels import check_per_sample, distinct
from .._matrices import column_names
from .._seeding import seed_estimator
from .._several import is_several
from .._validation import DATASETS
from ._base import BaseNoveltyDetector
from ._decision import (
    BaseDecision,
    check_enough,
    count_rows,
    in_distribution_rows,
    split_rows,
    take,
)
from ._parts import fit_to_score
from ._scores import (
    anomaly_index,
    as_outlier_detector,
    check_accepts_dataset,
    in_distribution_scores,
    is_estimator,
)


class ConformalDetector(BaseDecision):
    """Any detector, with a chosen false-alarm rate and p-values.

    The rank of a new input among the scores of held-out samples decides. The rate holds
    for every detector and distribution, as long as both are drawn alike.

    Parameters
    ----------
    detector : estimator
        An outlier detector, a binary classifier (anomalies are 1 of {0, 1} or -1 of
        {-1, +1}), or a pipeline that ends in one, cloned and fitted. One in a
        :class:`sklearn.frozen.FrozenEstimator` is used as it is; all samples given to
        `fit` place the threshold then, and should not be those that it was fitted on.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the in-distribution samples held out to place the threshold.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples and the seeds of the parts that have none.
    not_finite : {"raise", "reject"}, default="raise"
        What happens to new inputs that hold NaN or infinity: an error, or a score of
        -inf and the verdict -1 for each of them, while the others are scored. Those
        of `fit` must be finite. With "reject" X cannot be a Dataset or DataLoader.

    Attributes
    ----------
    detector_ : estimator
        The fitted detector.
    calibration_scores_, offset_ : ndarray and float
        Scores of the held-out samples, and the threshold among them.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Length of the second axis of X, and its names if X was a data frame.

    See Also
    --------
    conformal_p_values : The p-values, for any scores.

    Notes
    -----
    X may have any form that the detector accepts. Around a classifier y holds its two
    labels. Scores are those of ``score_samples``, or else of ``decision_function``; of
    a classifier the log-odds against an anomaly.

    The detectors of skgrad place such a threshold themselves; here they hold out no
    samples of their own, also at the end of a pipeline.

    References
    ----------
    Vovk, Gammerman, Shafer (2005), "Algorithmic Learning in a Random World".

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
        "not_finite": [StrOptions({"raise", "reject"})],
    }

    def __init__(
        self,
        detector,
        *,
        target_fpr=0.05,
        calibration_fraction=0.2,
        random_state=None,
        not_finite="raise",
    ):
        self.detector = detector
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state
        self.not_finite = not_finite

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.detector).input_tags
        tags.target_tags.required = is_classifier(self.detector)
        return tags

    def fit(self, X, y=None):
        """Fit the detector, and place the threshold by samples held out from that.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Samples, in any form that the detector accepts.
        y : array-like of shape (n_samples,), default=None
            Around an outlier detector +1 for in-distribution rows and -1 for anomalies,
            which are left out; other labels are ignored. Around a classifier its two
            labels: 0 or +1 for in-distribution rows, 1 or -1 for anomalies.

        Returns
        -------
        self : object
            The fitted detector.
        """
        return super().fit(X, y)

    def _fit(self, X, y):
        supervised = is_estimator(self.detector) and is_classifier(self.detector)
        detector = self.detector if supervised else as_outlier_detector(self.detector)
        check_accepts_dataset(detector, X)
        if not _in_parts(X):  # numpy would iterate over a loader
            (X,) = indexable(X)
        self._check_columns(X, reset=True)
        rows, anomalies = self._rows(X, y, supervised)
        random_state = check_random_state(self.random_state)
        if isinstance(detector, FrozenEstimator):
            self.detector_, held_out = detector, rows
            self._n_fit = None  # somebody else fitted it
        else:
            # Anomalies never place the threshold, so a classifier learns from all.
            fit, held_out = split_rows(rows, self.calibration_fraction, random_state)
            fit = np.r_[fit, anomalies]
            self._n_fit = len(fit)
            self.detector_ = seed_estimator(clone(detector), random_state)
            labels = take(y, fit) if supervised else None
            fit_to_score(self.detector_, take(X, fit), labels)
        # There are no classes: X may be inputs, from which no logits can be read.
        scores = in_distribution_scores(self.detector_, take(X, held_out))
        self._calibrate(scores, None)

    def _rows(self, X, y, supervised):
        """Return in-distribution rows, and those of anomalies for a classifier."""
        n_samples = count_rows(X)
        if not supervised:
            rows = in_distribution_rows(n_samples, y)
            anomalies = np.empty(0, dtype=np.intp)
        elif y is None:
            raise ValueError(
                "ConformalDetector around a classifier requires y to be passed, but "
                "the target y is None."
            )
        else:
            y = check_per_sample(y, n_samples, "y")
            if distinct(y) not in ([0, 1], [-1, 1]):
                raise ValueError(
                    "y must hold 0 for in-distribution samples and 1 for anomalies, or "
                    f"+1 and -1, both of either; got {distinct(y)[:5]}."
                )
            labels, codes = np.unique(y, return_inverse=True)
            is_anomaly = codes == anomaly_index(labels)
            rows, anomalies = np.flatnonzero(~is_anomaly), np.flatnonzero(is_anomaly)
        # One to place the threshold, and one to learn from unless that is done.
        fewest = 1 if isinstance(self.detector, FrozenEstimator) else 2
        check_enough(len(rows), fewest)
        return rows, anomalies

    def _score_and_predict(self, X):
        check_is_fitted(self)
        if self.not_finite == "raise":
            return self._scores(X), None
        finite = finite_rows(X)
        scores = np.full(len(finite), -np.inf)
        if finite.any():
            rows = np.flatnonzero(finite)
            scores[rows] = self._scores(X if finite.all() else take(X, rows))
        return scores, None

    def _scores(self, X):
        # A detector of features checks the columns itself, which are those of its fit.
        if isinstance(self.detector_, BaseNoveltyDetector):
            return self.detector_.score_samples(X)
        self._check_columns(X, reset=False)
        scores = in_distribution_scores(self.detector_, X)
        return np.asarray(scores, dtype=np.float64)

    def _check_columns(self, X, *, reset):
        """Record or compare the number and names of the columns, if X has them."""
        names = column_names(X)
        if reset:
            self._column_names = names
        # The values are for the detector to validate: X may be raw inputs of a network.
        if not _in_parts(X) and getattr(X, "ndim", 2) > 1:
            validate_data(self, X, reset=reset, skip_check_array=True)
        self._check_names(names)


def _in_parts(X):
    """Return True for inputs that are no one array: of a Dataset, or several."""
    return isinstance(X, DATASETS) or is_several(X)
