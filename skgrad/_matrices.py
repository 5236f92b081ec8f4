"""The only checks of matrices of features, and of the names of their columns."""

from typing import Any

import numpy as np
from torch import Tensor

from ._compat import get_feature_names
from ._conversion import to_numpy
from ._validation import DATASETS, check_inputs, dataset_name


def check_matrix(X: Any, *, name: str = "X") -> Any:
    """Return a feature matrix (n_samples, n_features) as scikit-learn takes it.

    The result is an ndarray or data frame of real numbers, not checked for NaN and
    infinity. Raises TypeError if ``X`` is one of `DATASETS`, sparse, or holds no
    samples, else
    ValueError.
    """
    valid = f"{name} must be a matrix of features, of shape (n_samples, n_features)"
    transformer_hint = (
        "For inputs of a model, put a transformer such as LayerActivationTransformer "
        "before the detector."
    )
    if isinstance(X, DATASETS):
        raise TypeError(f"{valid}; got {dataset_name(X)}. {transformer_hint}")
    shape = getattr(X, "shape", None)
    if shape is not None and len(shape) == 1:
        raise ValueError(
            f"{valid}; got shape {tuple(shape)}. Reshape your data: one sample x is "
            "x[None], one feature x[:, None]."
        )
    X = check_inputs(X, name=name)
    if len(X.shape) != 2:
        raise ValueError(f"{valid}; got shape {tuple(X.shape)}. {transformer_hint}")
    return to_numpy(X) if isinstance(X, Tensor) else X


def column_names(X: Any) -> list | None:
    """Return the column names of a FeatureArray or data frame, None if it has none."""
    names = getattr(X, "feature_names", None)
    if names is None and not isinstance(X, np.ndarray):
        names = get_feature_names(X)
    return None if names is None else list(names)
