"""A promised false-alarm rate and p-values for detectors that have neither."""

import copy

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_random_state, get_tags, indexable
from sklearn.utils.validation import check_is_fitted, validate_data
from torch.utils.data import Dataset

from .._all_or_nothing import all_or_nothing
from .._compat import fit_context, num_samples
from .._validation import column_names, distinct, to_array
from ._base import fit_to_score
from ._blocks import find_blocks
from ._decision import (
    PER_CLASS,
    BaseDecision,
    check_enough,
    in_distribution_rows,
    seed,
    split_rows,
    take,
    threshold_options,
)
from ._first_steps import check_reads
from ._scores import (
    anomaly_index,
    as_outlier_detector,
    in_distribution_scores,
    is_estimator,
)


class ConformalDetector(BaseDecision):
    """Any detector, with a promised false-alarm rate and p-values.

    A share of the in-distribution samples is held out; where a new input ranks among
    their scores decides. That keeps the promise whatever the detector and the
    distribution are, as long as held-out and new inputs are drawn alike.

    Parameters
    ----------
    detector : estimator
        An outlier detector of scikit-learn or PyOD, a binary classifier that tells
        anomalies (1 of 0 and 1, -1 of +1 and -1), or a pipeline that ends in one of
        them. It is cloned and fitted on the samples that are not held out. Fitted
        already and wrapped in :class:`sklearn.frozen.FrozenEstimator`, it is taken as
        it is, and all in-distribution samples given to `fit` are held-out samples: give
        others than it was fitted on.
    threshold : {"overall", "per_class"}, default="overall"
        Whether ``target_fpr`` holds over all inputs together, or within each
        predicted class. A class with too few held-out samples for that, or none, gets
        the threshold of all classes together, with a warning.
    predicted_class : callable, default=None
        For ``threshold="per_class"``: a function that returns the predicted class of
        each input, such as ``net.predict`` of the skorch net that is guarded. None
        takes the largest of the logits among the columns of X.
    blocks : array-like of int, default=None
        For ``threshold="per_class"`` without ``predicted_class``: widths of the column
        blocks of X, logits last, one of them possibly -1 for the rest. None goes by the
        column names, which the output of the transformers has.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the in-distribution samples held out.
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
        The threshold of all classes together: lower scores are rejected.
    class_offsets_ : dict, or None
        The thresholds per class, with ``threshold="per_class"``.
    n_features_in_ : int
        Length of the second axis of X, if X has one.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    See Also
    --------
    conformal_p_values : The p-values, for scores of any origin.
    select_by_fdr : Benjamini-Hochberg selection, for p-values of any origin.

    Notes
    -----
    skgrad's own detectors keep the promise by themselves. Around a whole pipeline of
    them this gives p-values of raw inputs; each then holds out samples of its own.

    Scores are those of ``score_samples``, of ``decision_function`` where there is no
    such method, and of a classifier the log-odds against an anomaly.

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

    # See `skgrad._unwrap`.
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
        threshold="overall",
        predicted_class=None,
        blocks=None,
        target_fpr=0.05,
        calibration_fraction=0.2,
        random_state=None,
    ):
        self.detector = detector
        self.threshold = threshold
        self.predicted_class = predicted_class
        self.blocks = blocks
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def __sklearn_clone__(self):
        # A bound method such as net.predict would be copied together with the net.
        twin = copy.copy(self)
        twin.predicted_class = None
        fresh = BaseEstimator.__sklearn_clone__(twin)
        fresh.predicted_class = self.predicted_class
        return fresh

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.detector).input_tags
        tags.target_tags.required = is_classifier(self.detector)
        return tags

    # The detector validates its own parameters and those that it holds.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Fit the detector and hold out samples for the decision.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...) or torch Dataset
            Inputs, as the detector takes them; in-distribution ones, unless y tells
            otherwise.
        y : array-like of shape (n_samples,), default=None
            Of a classifier its two labels. For an outlier detector, if it holds
            nothing but +1 and -1, rows labelled -1 are known anomalies and are left
            out; anything else is ignored.

        Returns
        -------
        self : object
            The fitted detector.
        """
        supervised = is_estimator(self.detector) and is_classifier(self.detector)
        detector = self.detector if supervised else as_outlier_detector(self.detector)
        with all_or_nothing(self):
            check_reads(detector, X)
            (X,) = indexable(X)
            self._check_form(X, reset=True)
            self._logits = None
            rows, others = self._rows(X, y, supervised)
            random_state = check_random_state(self.random_state)
            if isinstance(detector, FrozenEstimator):
                self.detector_, held_out = detector, rows
            else:
                fit, held_out = split_rows(
                    rows, self.calibration_fraction, random_state
                )
                fit = np.r_[fit, others]
                self.detector_ = seed(clone(detector), random_state)
                labels = take(y, fit) if supervised else None
                fit_to_score(self.detector_, take(X, fit), labels)
            by_class = self.threshold == PER_CLASS
            self._calibrate(*self._score_and_class(take(X, held_out), by_class))
        return self

    def _rows(self, X, y, supervised):
        """Return the in-distribution rows, and those of a classifier's anomalies."""
        n_samples = num_samples(X)
        if not supervised:
            rows = in_distribution_rows(n_samples, y)
            others = np.empty(0, dtype=np.intp)
        elif y is None:
            raise ValueError(
                "ConformalDetector around a classifier requires y to be passed, but "
                "the target y is None. It tells in-distribution samples from anomalies."
            )
        else:
            y = to_array(y, "y")
            if y.shape != (n_samples,):
                raise ValueError(
                    "y must have one label per sample of X; found input variables with "
                    f"inconsistent numbers of samples: [{n_samples}], {y.shape}."
                )
            if distinct(y) not in ([0, 1], [-1, 1]):
                raise ValueError(
                    "y must hold 0 for in-distribution samples and 1 for anomalies, or "
                    f"+1 and -1, both of either; got {distinct(y)[:5]}."
                )
            labels, codes = np.unique(y, return_inverse=True)
            anomaly = anomaly_index(labels, None)
            rows, others = (np.flatnonzero((codes == anomaly) == a) for a in (0, 1))
        fewest = 1 if isinstance(self.detector, FrozenEstimator) else 2
        check_enough(len(rows), fewest)
        return rows, others

    def _judge(self, X):
        check_is_fitted(self)
        self._check_form(X, reset=False)
        return self._score_and_class(X, self.class_offsets_ is not None)

    def _check_form(self, X, *, reset):
        """Record or compare the number and names of the columns, if X has them."""
        names = column_names(X)
        if reset:
            self._column_names = names
        if not isinstance(X, Dataset) and getattr(X, "ndim", 2) > 1:
            validate_data(self, X, reset=reset, skip_check_array=True)
        self._check_names(names)

    def _score_and_class(self, X, by_class):
        scores = in_distribution_scores(self.detector_, X)
        scores = np.asarray(scores, dtype=np.float64)
        return scores, self._classes(X, len(scores)) if by_class else None

    def _classes(self, X, n_samples):
        """Return the class that the network predicts for each sample."""
        if self.predicted_class is None:
            if isinstance(X, Dataset):
                raise ValueError(
                    "predicted_class must be a function when X is a Dataset, to tell "
                    f"the class of each input; got None and a {type(X).__name__}."
                )
            X = X.toarray() if issparse(X) else np.asarray(X)
            if X.ndim != 2:
                raise ValueError(
                    "predicted_class must be a function when X is no matrix of "
                    f"features, to tell the class of each input; X has shape {X.shape}."
                )
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
