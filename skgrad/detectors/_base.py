"""What all novelty detectors share: validation, the held-out threshold, the signs."""

from abc import ABCMeta, abstractmethod
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, _fit_context
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from ._blocks import column_names
from ._threshold import conformal_threshold


class BaseNoveltyDetector(OutlierMixin, BaseEstimator, metaclass=ABCMeta):
    """Base of the detectors that are fitted on in-distribution data alone.

    A subclass writes `_fit_scores` and `_score_samples`; the rest follows from them.
    """

    _parameter_constraints: dict = {
        "target_fpr": [Interval(Real, 0, 1, closed="neither")],
        "calibration_fraction": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    }

    @abstractmethod
    def _fit_scores(self, X, names, random_state):
        """Learn to score from X, whose column names are known or None."""

    @abstractmethod
    def _score_samples(self, X):
        """Score X, a validated float64 array."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Fit the detector on in-distribution data.

        A share ``calibration_fraction`` of the samples is held out to place the
        threshold, so that it keeps its promise on new data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features of in-distribution inputs.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        self : object
            The fitted detector.
        """
        names = column_names(X)
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)
        random_state = check_random_state(self.random_state)
        X_fit, X_held_out = train_test_split(
            X,
            # At least one sample on either side, however few there are.
            test_size=int(
                np.clip(np.ceil(self.calibration_fraction * len(X)), 1, len(X) - 1)
            ),
            random_state=random_state,
        )
        self._column_names = names
        self._fit_scores(X_fit, names, random_state)
        self.offset_ = conformal_threshold(
            self._score_samples(X_held_out), self.target_fpr
        )
        return self

    def score_samples(self, X):
        """Score inputs: the lower, the more anomalous.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features of the inputs.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            The scores.
        """
        check_is_fitted(self)
        names = column_names(X)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        if None not in (names, self._column_names) and names != self._column_names:
            raise ValueError(
                "X must have the columns seen by fit, in their order: "
                f"{self._column_names[:3]} ...; got {names[:3]} ..."
            )
        return self._score_samples(X)

    def decision_function(self, X):
        """Score inputs relative to the threshold: negative means reject.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features of the inputs.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            ``score_samples(X) - offset_``.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X):
        """Decide which predictions to trust.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features of the inputs.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            +1 for trust (in-distribution), -1 for do not (anomaly).
        """
        # Written so that a score that is no number would be rejected.
        return np.where(self.decision_function(X) >= 0, 1, -1)
