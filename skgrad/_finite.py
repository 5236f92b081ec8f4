"""The only checks for NaN and infinity, and the rows in which they are."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


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
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        raise ValueError(
            f"{error} The first are in row{'s' * (len(rows) > 1)} "
            f"{', '.join(map(str, rows[:5]))}{more} of X."
        ) from error


def check_finite(X: np.ndarray, name: str) -> None:
    """Raise if an array of inputs holds NaN or infinity, and say where the first is."""
    finite = np.isfinite(X).all(axis=tuple(range(1, X.ndim)))
    if not finite.all():
        raise ValueError(
            f"{name} must be finite; got NaN or infinity in {np.sum(~finite)} of "
            f"{len(X)} inputs, first in number {np.argmin(finite)}. Leave them out."
        )
