"""Read samples of arrays, tensors and data sets."""

from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset

from .._messages import naming
from .._validation import Data, check_inputs, no_samples, to_numpy
from .batching import batches


def count_samples(X: Data) -> int:
    """Count the samples of X; a stream is read once for it."""
    if isinstance(X, IterableDataset):
        return sum(map(len, batches(X, batch_size=128)))
    return len(X)  # type: ignore[arg-type]


def take_samples(X: Data, rows: np.ndarray) -> np.ndarray | Tensor:
    """Return some rows of X. Of a Dataset no other samples are read."""
    if isinstance(X, IterableDataset):
        return _take_from_stream(X, rows)
    if isinstance(X, Dataset):
        return torch.cat(list(batches(Subset(X, rows.tolist()), batch_size=128)))
    return X[rows]


def read_array(X: Any, name: str) -> np.ndarray:
    """Return inputs as one array (n_samples, *input_shape); a Dataset is read whole.

    An array without samples is returned as it is. ``name`` is that of the parameter.
    """
    if getattr(X, "shape", (1,))[:1] != (0,):
        X = check_inputs(X, name=name)
    if isinstance(X, Dataset):
        with naming(name):
            n_samples = count_samples(X)
            if not n_samples:
                raise ValueError(no_samples())
            X = take_samples(X, np.arange(n_samples))
    X = to_numpy(X) if isinstance(X, Tensor) else np.asarray(X)
    if X.dtype.kind == "O" or X.dtype == np.longdouble:  # torch takes neither
        X = X.astype(np.float64)
    if X.ndim < 2 or X.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must be numbers of shape (n_samples, *input_shape); got shape "
            f"{X.shape} of dtype {X.dtype}."
        )
    return X


def _take_from_stream(X: IterableDataset, rows: np.ndarray) -> Tensor:
    places = {row: place for place, row in enumerate(rows.tolist())}
    samples = chain.from_iterable(batches(X, batch_size=128))
    taken = {
        places[row]: sample.clone()  # a view would keep its whole batch in memory
        for row, sample in enumerate(samples)
        if row in places
    }
    return torch.stack([taken[place] for place in range(len(rows))])
