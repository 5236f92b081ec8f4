"""From scores to decisions: the threshold, p-values and selection of every detector."""

from abc import ABCMeta, abstractmethod
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import check_random_state

from .._compat import Interval, StrOptions, fit_context, num_samples, safe_indexing
from .._labels import to_array
from .._messages import brief, warn
from .._rollback import restored_on_error
from .._several import Several, check_one_or_several, is_several
from .._validation import DATASETS
from ..torch_engine.samples import count_samples, select_samples
from ._conformal import (
    TooFewSamplesWarning,
    conformal_threshold,
    fewest_scores,
    p_values_among,
    select_by_fdr,
    threshold_rank,
)

OVERALL, PER_CLASS = "overall", "per_class"

# Words of the docstrings below that the kinds of detectors put in their own.
SAMPLES = "array-like of shape (n_samples, n_features) or (n_samples, *input_shape)"
SAMPLES_OF_FIT = "In-distribution samples."
LEFT_OUT = "which are left out."


class BaseDecision(OutlierMixin, BaseEstimator, metaclass=ABCMeta):
    """Base of all detectors that decide by scores of held-out samples.

    A subclass writes `_fit`, which calls `_calibrate` at its end, and
    `_score_and_predict`.
    """

    _parameter_constraints: dict = {
        "target_fpr": [Interval(Real, 0, 1, closed="neither")],
        "calibration_fraction": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    }
    # For subclasses without that parameter.
    threshold = OVERALL

    @abstractmethod
    def _fit(self, X, y):
        """Fit the detector; `fit` restores the attributes if this raises."""

    @abstractmethod
    def _score_and_predict(self, X):
        """Return scores of X, and its predicted classes if they have thresholds."""

    # A detector inside another one validates its own parameters.
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Fit the detector on in-distribution data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            In-distribution samples.
        y : array-like of shape (n_samples,), default=None
            +1 for in-distribution rows and -1 for anomalies, which are left out. Other
            labels, such as classes, are ignored; 0 and 1 with a warning, as they may
            be meant for these.

        Returns
        -------
        self : object
            The fitted detector.
        """
        with restored_on_error(self):
            self._fit(X, y)
        return self

    def _calibrate(self, scores, classes):
        """Place the thresholds by held-out scores and their predicted classes."""
        self.calibration_scores_ = np.asarray(scores, dtype=np.float64)
        self.offset_ = conformal_threshold(scores, self.target_fpr)
        self._calibration_classes = classes
        self.class_offsets_: dict | None = None
        if classes is None:
            return
        labels, counts = np.unique(classes, return_counts=True)
        # In a smaller class even the lowest score would reject too many.
        enough = np.array([threshold_rank(n, self.target_fpr) > 0 for n in counts])
        self.class_offsets_ = {
            label: conformal_threshold(self._scores_of(label), self.target_fpr)
            for label in labels[enough].tolist()
        }
        if small := labels[~enough].tolist():
            warn(
                f"target_fpr={self.target_fpr} within a class needs at least "
                f"{fewest_scores(self.target_fpr)} held-out samples of "
                f"it; classes {brief(small)} have fewer and get the overall threshold.",
                TooFewSamplesWarning,
            )

    def _check_names(self, names):
        """Compare column names with those seen by fit, where both are known."""
        if None not in (names, self._column_names) and names != self._column_names:
            raise ValueError(
                "X must have the columns seen by fit, in their order: "
                f"{self._column_names[:3]} ...; got {names[:3]} ..."
            )

    def _scores_of(self, label):
        return self.calibration_scores_[self._calibration_classes == label]

    # What a score means, for those who ask for several answers from one pass.

    def _margins(self, scores, classes):
        """Return scores relative to their thresholds."""
        if classes is None or self.class_offsets_ is None:
            return scores - self.offset_
        offsets = [self.class_offsets_.get(c, self.offset_) for c in classes.tolist()]
        return scores - np.asarray(offsets, dtype=np.float64)

    def _p_values_of(self, scores, classes):
        """Return the p-values of scores, among those of their classes."""
        p_values = p_values_among(scores, np.sort(self.calibration_scores_))
        if classes is not None:
            for label in self.class_offsets_ or ():
                rows = classes == label
                own = np.sort(self._scores_of(label))
                p_values[rows] = p_values_among(scores[rows], own)
        return p_values

    def score_samples(self, X):
        """Score inputs: the lower, the more anomalous.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Samples, as in `fit`.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            The scores.
        """
        return self._score_and_predict(X)[0]

    def decision_function(self, X):
        """Score inputs relative to the threshold: negative means reject.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Samples, as in `fit`.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            ``score_samples(X)`` less ``offset_``, or less the threshold of the
            predicted class.
        """
        return self._margins(*self._score_and_predict(X))

    def predict(self, X):
        """Decide which predictions to trust.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Samples, as in `fit`.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            +1 for trust (in-distribution), -1 for do not (anomaly).
        """
        # In this order a NaN score would be rejected.
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def fit_predict(self, X, y=None, **kwargs):
        """Fit the detector, and decide about the same samples.

        Samples that it was fitted on are rejected less often than new ones.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            In-distribution samples.
        y : Ignored
            Not used, present for API consistency by convention.
        **kwargs : dict
            Further arguments of `fit`.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            +1 for trust (in-distribution), -1 for do not (anomaly).
        """
        return super().fit_predict(X, y, **kwargs)

    def p_values(self, X):
        """Return conformal p-values: how likely is a score as low, in-distribution.

        `predict` rejects those of ``target_fpr`` or less.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            Samples, as in `fit`.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            P-values in (0, 1]: the lower, the more anomalous. They are among the
            samples of the same predicted class if that has its own threshold.
        """
        return self._p_values_of(*self._score_and_predict(X))

    def select_anomalies(self, X, fdr=0.1):
        """Select anomalies from a batch by their p-values (Benjamini-Hochberg).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, *input_shape)
            A batch of samples, as in `fit`.
        fdr : float, default=0.1
            Bound on the expected share of in-distribution inputs among the selected.

        Returns
        -------
        ndarray of bool of shape (n_samples,)
            True for the selected inputs.
        """
        return select_by_fdr(self.p_values(X), fdr)


def threshold_options():
    """Return the constraints of the parameter ``threshold``."""
    return [StrOptions({OVERALL, PER_CLASS})]


def anomaly_labels(y, n_samples):
    """Return +1 for in-distribution samples and -1 for those that y labels so.

    Other labels, such as classes, label no anomalies; 0 and 1 give a warning.
    """
    y = np.ones(n_samples) if y is None else to_array(y, "y")
    # A column of a data frame.
    if y.ndim == 2 and y.shape[1] == 1:
        y = y.ravel()
    found = set(y.tolist()) if y.ndim == 1 and y.dtype.kind in "biufO" else {None}
    if found == {0, 1}:  # True and False too
        # Not taken for +1 and -1: the classes of a network may be 0 and 1 as well.
        warn(
            "y holds 0 and 1, which was ignored: all rows were taken as "
            "in-distribution. Where 1 means anomaly, give y=np.where(y == 1, -1, 1); "
            "where 0 and 1 are the classes of the model, leave y out.",
            UserWarning,
        )
    if found - {-1, 1}:
        return np.ones(n_samples)
    if len(y) != n_samples:
        raise ValueError(
            "y must have one label per sample of X; found input variables with "
            f"inconsistent numbers of samples: [{n_samples}, {len(y)}]."
        )
    return y


def in_distribution_rows(n_samples, y):
    """Return the indices of all rows but those that y labels as anomalies."""
    rows = np.flatnonzero(anomaly_labels(y, n_samples) == 1)
    if n_samples and not len(rows):
        raise ValueError(
            f"y must label some rows +1, in-distribution; all {n_samples} are -1."
        )
    return rows


def check_enough(n_samples, fewest):
    """Raise if there are too few in-distribution samples."""
    if n_samples < fewest:
        raise ValueError(
            f"X must hold {fewest} or more in-distribution samples; got n_samples = "
            f"{n_samples}."
        )


def split_rows(rows, fraction, random_state):
    """Split rows at random into those to fit on and those to hold out."""
    # Rounded up: a threshold needs samples more than a fit. Of two rows or more at
    # least one goes to either side.
    order = check_random_state(random_state).permutation(rows)
    n_held_out = int(np.clip(np.ceil(fraction * len(rows)), 1, len(rows) - 1))
    return order[n_held_out:], order[:n_held_out]


def take(X, rows):
    """Select rows of arrays, tensors, data frames, lists, Datasets and DataLoaders.

    Of several inputs, in a dictionary or tuple, the rows of each are selected.
    """
    if isinstance(X, Several):
        return X[rows]
    if is_several(X):
        entries = check_one_or_several(X)[rows].entries
        return tuple(entries.values()) if isinstance(X, tuple) else entries
    return (select_samples if isinstance(X, DATASETS) else safe_indexing)(X, rows)


def count_rows(X):
    """Count the samples of whatever `take` selects from."""
    if is_several(X):
        return len(check_one_or_several(X))
    return count_samples(X) if isinstance(X, DATASETS) else num_samples(X)
