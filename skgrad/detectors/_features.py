"""Validate features in the form that a fitted estimator takes."""

import numpy as np
from sklearn.utils.validation import validate_data

from .._matrices import check_matrix
from ..feature_extraction import FeatureArray


def check_features(estimator, X):
    """Return X as a plain float64 array, as fit has seen its columns."""
    values = _plainly_valid(estimator, X)
    if values is None:
        X = check_matrix(X)
        values = validate_data(estimator, X, dtype=np.float64, reset=False)
    return values


def _plainly_valid(estimator, X):
    """Return X as such an array if it is one of numbers in which nothing is wrong.

    For one row scikit-learn's validation takes as long as the scores. It is left to
    find what is wrong, and to take other containers.
    """
    # Subclasses of arrays may have masks, and names seen in fit are for it to compare.
    plain = type(X) in (np.ndarray, FeatureArray) and X.dtype.char in "fd"
    if not plain or X.ndim != 2 or hasattr(estimator, "feature_names_in_"):
        return None
    if len(X) == 0 or X.shape[1] != estimator.n_features_in_:
        return None
    values = np.asarray(X, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return values if np.isfinite(values.sum()) else None
