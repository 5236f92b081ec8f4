"""Reading some samples of arrays, tensors and data sets."""

from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset

from .batching import batches
from .inputs import Data


def count_samples(X: Data) -> int:
    """Count the samples of X, of a stream by reading it once."""
    if isinstance(X, IterableDataset):
        return sum(map(len, batches(X, batch_size=128)))
    return len(X)  # type: ignore[arg-type]


def take_samples(X: Data, rows: np.ndarray) -> np.ndarray | Tensor:
    """Read rows of X, and of a Dataset no others."""
    if isinstance(X, IterableDataset):
        return _take_from_stream(X, rows)
    if isinstance(X, Dataset):
        return torch.cat(list(batches(Subset(X, rows.tolist()), batch_size=128)))
    return X[rows]


def _take_from_stream(X: IterableDataset, rows: np.ndarray) -> Tensor:
    places = {row: place for place, row in enumerate(rows.tolist())}
    samples = chain.from_iterable(batches(X, batch_size=128))
    taken = {
        places[row]: sample.clone()  # else it would keep its whole batch
        for row, sample in enumerate(samples)
        if row in places
    }
    return torch.stack([taken[place] for place in range(len(rows))])
