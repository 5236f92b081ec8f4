"""The only checks for NaN and infinity, and the rows in which they are."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ._conversion import to_numpy
from ._messages import listed
from ._several import check_one_or_several, is_several
from ._validation import DATASETS, dataset_name


def all_finite(values: Tensor) -> bool:
    """Return True if no value is NaN or infinite."""
    # The sum is finite only if all values are, and takes a fraction of the time. It may
    # overflow where they are, so then each value decides.
    total = values.sum(dtype=torch.float32 if values.dtype == torch.half else None)
    return math.isfinite(total.item()) or bool(torch.isfinite(values).all())


class NotFiniteError(ValueError):
    """Inputs hold NaN or infinity: those in ``rows`` of the X that was given."""

    def __init__(self, message: str, rows: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.rows = rows


def check_batch_finite(batch: Tensor, name: str) -> None:
    """Raise NotFiniteError, with rows of the batch, if a value is NaN or infinite."""
    if not all_finite(batch):
        finite = torch.isfinite(batch.reshape(len(batch), -1)).all(dim=1)
        raise NotFiniteError(
            f"{name} must be finite in the model's {batch.dtype}; it contains NaN, "
            "infinity or a value too large for that type. Impute, remove or rescale "
            "them.",
            (~finite).nonzero().flatten().tolist(),
        )


@contextmanager
def rows_named() -> Iterator[None]:
    """Add the rows to the message of a NotFiniteError, where X is the user's own."""
    try:
        yield
    except NotFiniteError as error:
        rows = error.rows
        raise ValueError(
            f"{error} The first are in row{'s' * (len(rows) > 1)} "
            f"{listed(rows, 5)} of X."
        ) from error


def check_finite(X: np.ndarray, name: str) -> None:
    """Raise if an array of inputs holds NaN or infinity, and say where the first is."""
    finite = np.isfinite(X).all(axis=tuple(range(1, X.ndim)))
    if not finite.all():
        raise ValueError(
            f"{name} must be finite; got NaN or infinity in {np.sum(~finite)} of "
            f"{len(X)} inputs, first in number {np.argmin(finite)}. Leave them out."
        )


def finite_rows(
    X: Any, dtype: torch.dtype | None = None, *, integers: bool | dict = False
) -> np.ndarray:
    """Return which samples hold neither NaN nor infinity, an array of bool.

    X is an array, a list, a tensor, a data frame or several inputs. Values other than
    numbers count as finite. With ``dtype``, that in which a model takes its inputs,
    values too large for it do not; with ``integers`` it takes whole numbers as such (of
    several inputs a dict says which). Raises TypeError for one of `DATASETS`.
    """
    if isinstance(X, DATASETS):
        raise TypeError(
            "X must be an array or several where not_finite='reject', which looks at "
            f"its values first; got {dataset_name(X)}. Stack its samples, or use "
            "not_finite='raise'."
        )
    if is_several(X):
        entries = check_one_or_several(X).entries
        exact: Any = integers or dict.fromkeys(entries, False)
        masks = [
            finite_rows(entry, dtype, integers=exact[key])
            for key, entry in entries.items()
        ]
        return np.logical_and.reduce(masks)
    if hasattr(X, "select_dtypes"):  # a data frame may hold text beside numbers
        X = X.select_dtypes("number").to_numpy(dtype=np.float64, na_value=np.nan)
    X = to_numpy(X) if isinstance(X, Tensor) else np.asarray(X)
    if X.dtype.kind == "O":
        X = X.astype(np.float64)
    if dtype is not None and X.dtype.kind in ("f" if integers else "fiu"):
        X = to_numpy(torch.from_numpy(X.astype(np.float64)).to(dtype))
    if X.dtype.kind != "f":
        return np.ones(len(X), dtype=bool)
    return np.isfinite(X).reshape(len(X), -1).all(axis=1)
