"""What all novelty detectors over feature matrices share: validation and fit."""

from abc import abstractmethod

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .._all_or_nothing import all_or_nothing
from .._compat import fit_context
from .._validation import check_matrix, column_names
from ._decision import (
    PER_CLASS,
    BaseDecision,
    check_enough,
    in_distribution_rows,
    split_rows,
)


class BaseNoveltyDetector(BaseDecision):
    """Base of the detectors that are fitted on in-distribution data alone.

    A subclass writes `_fit_scores` and `_score_samples`, and `_predicted_class` if it
    has the parameter ``threshold``; the rest follows from them.
    """

    @abstractmethod
    def _fit_scores(self, X, names, random_state):
        """Learn to score from X, whose column names are known or None."""

    @abstractmethod
    def _score_samples(self, X):
        """Score X, a validated float64 array."""

    def _predicted_class(self, X):
        """Return the classes that the network predicted."""
        raise NotImplementedError

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Fit the detector on in-distribution data.

        A share ``calibration_fraction`` of the samples is held out to place the
        threshold, so that it keeps its promise on new data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features of in-distribution inputs.
        y : array-like of shape (n_samples,), default=None
            If it holds nothing but +1 and -1, rows labelled -1 are known anomalies and
            are left out. Anything else is ignored.

        Returns
        -------
        self : object
            The fitted detector.
        """
        with all_or_nothing(self):
            X, names = self._check_training_data(X, y)
            random_state = check_random_state(self.random_state)
            fit, held_out = split_rows(
                np.arange(len(X)), self.calibration_fraction, random_state
            )
            self._fit_scores(X[fit], names, random_state)
            self._hold_out(X[held_out])
        return self

    def _fit_on_all(self, X):
        # Of no use but to detectors made of others: see fit_to_score.
        self._validate_params()
        X, names = self._check_training_data(X, None, fewest=1)
        self._fit_scores(X, names, check_random_state(self.random_state))
        self.offset_, self.class_offsets_ = -np.inf, None
        self.calibration_scores_ = np.empty(0)
        return self

    def _hold_out(self, X):
        """Place the threshold by samples on which the detector was not fitted."""
        self._calibrate(*self._score_and_class(X, self.threshold == PER_CLASS))

    def _check_training_data(self, X, y, *, fewest=2, first=True):
        """Validate X, and leave out the rows that y labels as anomalies."""
        names = column_names(X)
        X = validate_data(self, check_matrix(X), dtype=np.float64, reset=first)
        if first:
            self._column_names = names
        self._check_names(names)
        X = X[in_distribution_rows(len(X), y)]
        check_enough(len(X), fewest)
        return X, names

    def _validated(self, X):
        check_is_fitted(self)
        names = column_names(X)
        X = validate_data(self, check_matrix(X), dtype=np.float64, reset=False)
        self._check_names(names)
        return X

    def _judge(self, X):
        X = self._validated(X)
        return self._score_and_class(X, self.class_offsets_ is not None)

    def _score_and_class(self, X, by_class):
        return self._score_samples(X), self._predicted_class(X) if by_class else None


def fit_to_score(detector, X, y=None):
    """Fit a detector that is asked for scores alone.

    One of skgrad need not hold out samples then: it learns from all of X, and rejects
    nothing.
    """
    if isinstance(detector, BaseNoveltyDetector):
        return detector._fit_on_all(X)
    # FrozenEstimator wants y, and does not return what it holds.
    detector.fit(X, y)
    return detector
