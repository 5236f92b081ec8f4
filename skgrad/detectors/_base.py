"""Base class of the novelty detectors over feature matrices."""

from abc import abstractmethod

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from .._compat import validate_parameters
from .._docstrings import in_words_of_its_own
from .._matrices import check_matrix, column_names
from ._decision import (
    PER_CLASS,
    SAMPLES,
    SAMPLES_OF_FIT,
    BaseDecision,
    check_enough,
    in_distribution_rows,
    split_rows,
)
from ._features import check_features


@in_words_of_its_own(
    {
        SAMPLES: "array-like of shape (n_samples, n_features)",
        SAMPLES_OF_FIT: "Features of in-distribution samples.",
    }
)
class BaseNoveltyDetector(BaseDecision):
    """Base of the detectors that are fitted on in-distribution features alone.

    A subclass writes `_fit_scores` and `_score_samples`, and `_predicted_class` if it
    has the parameter ``threshold``.
    """

    @abstractmethod
    def _fit_scores(self, X, names, random_state):
        """Learn to score from X, whose column names are a list or None."""

    @abstractmethod
    def _score_samples(self, X):
        """Score X, a validated float64 array."""

    def _predicted_class(self, X):
        """Return the classes that the network predicted."""
        raise NotImplementedError

    def _fit(self, X, y):
        X, names = self._check_training_data(X, y, fewest=2)
        random_state = check_random_state(self.random_state)
        # Scores of samples that it was fitted on are too high for a threshold.
        fit, held_out = split_rows(
            np.arange(len(X)), self.calibration_fraction, random_state
        )
        self._n_fit = len(fit)
        self._fit_rows(X, fit, names, random_state)
        self._per_class = self.threshold == PER_CLASS
        self._calibrate(*self._score_and_classify(X[held_out]))

    def _fit_rows(self, X, rows, names, random_state):
        """Learn to score from some rows of X; a subclass may need no copy of them."""
        self._fit_scores(X[rows], names, random_state)

    def _fit_on_all(self, X, names=None, *, validated=False):
        """Fit for scores alone, inside another detector: no sample is held out.

        The names count only if the outer detector has validated X.
        """
        validate_parameters(self)
        if validated:
            self._column_names, self.n_features_in_ = names, X.shape[1]
        else:
            X, names = self._check_training_data(X, None, fewest=1)
        self._fit_scores(X, names, check_random_state(self.random_state))
        # Fitted as after fit, but it rejects nothing.
        self.offset_, self.class_offsets_, self._per_class = -np.inf, None, False
        self.calibration_scores_ = np.empty(0)

    def _check_training_data(self, X, y, fewest):
        """Validate X, and leave out the rows that y labels as anomalies."""
        # Read first: what validate_data returns has no names.
        self._column_names = names = column_names(X)
        X = validate_data(self, check_matrix(X), dtype=np.float64)
        rows = in_distribution_rows(len(X), y)
        # Indexing copies, which a large matrix should be spared.
        X = X if len(rows) == len(X) else X[rows]
        check_enough(len(X), fewest)
        return X, names

    def _check_test_data(self, X):
        check_is_fitted(self)
        names = column_names(X)
        X = check_features(self, X)
        self._check_names(names)
        return X

    def _score_and_predict(self, X):
        return self._score_and_classify(self._check_test_data(X))

    def _score_and_classify(self, X):
        classes = self._predicted_class(X) if self._per_class else None
        return self._score_samples(X), classes
