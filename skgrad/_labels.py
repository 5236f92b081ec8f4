"""The only checks of labels, scores and other values, one per sample."""

from typing import Any

import numpy as np
from torch import Tensor

from ._conversion import to_numpy
from ._messages import brief
from ._validation import DATASETS, NOT_NUMERIC, check_dense, dataset_name


def to_array(values: Any, name: str) -> np.ndarray:
    """Return values, one or more per sample, as an array.

    Raises TypeError if they are one of `DATASETS`, ValueError if they are ragged,
    masked, or a tensor without values.
    """
    if isinstance(values, DATASETS):  # numpy would iterate over it, perhaps forever
        raise TypeError(
            f"{name} must be an array of one value per sample; got "
            f"{dataset_name(values)}. Stack its values first."
        )
    if np.ma.is_masked(values):  # numpy would pass on what lies under the mask
        raise ValueError(
            f"{name} must have no masked values; got {np.ma.count_masked(values)} of "
            "them. Leave such samples out."
        )
    if isinstance(values, Tensor):
        check_dense(values, name)
        return to_numpy(values)
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name} must hold one value per sample; got a ragged "
            f"{type(values).__name__}."
        ) from error


def distinct(labels: np.ndarray) -> list:
    """Return the distinct labels of an array, also those of mixed types."""
    try:
        return np.unique(labels).tolist()
    except TypeError:  # text among numbers has no order
        return sorted(map(str, set(map(str, labels.ravel().tolist()))))


def check_per_sample(values: Any, n_samples: int, name: str) -> np.ndarray:
    """Return values as an array of shape (n_samples,)."""
    values = to_array(values, name)
    if values.shape != (n_samples,):
        raise ValueError(
            f"{name} must hold one value for each of the {n_samples} samples, shape "
            f"({n_samples},); got shape {values.shape}."
        )
    return values


def check_classes(
    y: Any, n_samples: int, name: str, *, n_classes: int | None = None
) -> np.ndarray:
    """Return class labels, whole numbers, as an array of int64 (n_samples,).

    With ``n_classes`` they must lie between 0 and ``n_classes - 1``.
    """
    y = check_per_sample(y, n_samples, name)
    whole = y.dtype.kind in "biuf" and (np.isfinite(y) & (y == np.floor(y))).all()
    if not whole:
        raise ValueError(
            f"{name} must hold classes as whole numbers, as the model's logits are "
            f"numbered; got {distinct(y)[:5]} of dtype {y.dtype}."
        )
    y = y.astype(np.int64)
    if n_classes is not None and n_samples and (y.min() < 0 or y.max() >= n_classes):
        raise ValueError(
            f"{name} must hold classes 0 to {n_classes - 1}, as the model has "
            f"{n_classes} logits; got {y.min()} to {y.max()}."
        )
    return y


def check_signs(y: Any, n_samples: int, name: str, *, both: bool = False) -> np.ndarray:
    """Return labels +1 (in-distribution) and -1 (anomalies) as an array (n_samples,).

    Some must be +1, and with ``both`` some must be -1 too.
    """
    y = to_array(y, name)
    labels = distinct(y)
    if y.shape != (n_samples,) or set(labels) - {1, -1}:
        raise ValueError(
            f"{name} must hold +1 (in-distribution) or -1 (anomaly) for each of the "
            f"{n_samples} inputs; got shape {y.shape} with values "
            f"{brief(labels[:5])}.{_signs_hint(labels)}"
        )
    for sign, kind in ((1, "in-distribution"), (-1, "anomalies")):
        if (sign == 1 or both) and sign not in labels:
            raise ValueError(
                f"{name} must label some inputs {sign:+d}, {kind}; all {n_samples} are "
                f"{-sign:+d}. In cross-validation, NoveltyKFold tests on both kinds."
            )
    return y.astype(np.int64)


def _signs_hint(labels: list) -> str:
    if labels == [0, 1]:
        return (
            " Where 0 means in-distribution, give np.where(y == 0, 1, -1); where 1 "
            "does, np.where(y == 1, 1, -1)."
        )
    return ""


def check_scores(
    scores: Any, name: str, n_samples: int | None = None, *, empty: bool = False
) -> np.ndarray:
    """Return scores as an array of float64 (n_samples,) without NaN.

    ``n_samples`` None accepts any number of them, ``empty`` also none.
    """
    values = to_array(scores, name)
    if n_samples is not None:
        values = check_per_sample(values, n_samples, name)
    if values.ndim != 1 or values.dtype.kind in NOT_NUMERIC + "c":
        raise ValueError(
            f"{name} must hold numbers, shape (n_samples,); got dtype {values.dtype} "
            f"of shape {values.shape}."
        )
    try:
        values = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers: {error}") from error
    if np.isnan(values).any() or not (len(values) or empty):
        raise ValueError(
            f"{name} must hold {'numbers' if empty else 'at least one number'} and no "
            f"NaN; got {len(values)} values, {np.isnan(values).sum()} of them NaN."
        )
    return values
