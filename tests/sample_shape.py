"""Estimators that see n-D samples where scikit-learn's checks send them rows."""

from functools import wraps

import numpy as np

METHODS = (
    "fit",
    "fit_predict",
    "fit_transform",
    "transform",
    "predict",
    "score_samples",
    "decision_function",
)
_CLASSES: dict[str, type] = {}


def as_columns(X):
    """Return rows of numbers (n, f) as samples (n, f, 1), all else as it is.

    Not as (n, 1, f), because n_features_in_ is the length of the second axis.
    """
    if isinstance(X, list):
        X = np.asarray(X)
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "biuf":
        return X[:, :, None]
    return X


def _of_columns(method):
    @wraps(method)
    def called(self, X, *args, **options):
        return method(self, as_columns(X), *args, **options)

    return called


def of_columns(estimator):
    """Return the estimator as one of a class that gives its methods n-D samples."""
    cls = type(estimator)
    if cls.__name__ not in _CLASSES:
        methods = {
            name: _of_columns(getattr(cls, name))
            for name in METHODS
            if hasattr(cls, name)
        }
        here = {"__module__": __name__, "__qualname__": f"{cls.__name__}OfColumns"}
        _CLASSES[cls.__name__] = type(here["__qualname__"], (cls,), methods | here)
    return _CLASSES[cls.__name__](**estimator.get_params(deep=False))


def __getattr__(name):  # where pickle looks the classes up
    try:
        return _CLASSES[name.removesuffix("OfColumns")]
    except KeyError:
        raise AttributeError(name) from None
