"""Reading some samples of arrays, tensors and data sets, and what y says of them."""

from itertools import chain

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, Subset

from ..torch_engine.batching import batches


def anomaly_labels(y, n_samples):
    """Return +1 or -1 for each sample; +1 for all where y says nothing of anomalies."""
    everything = np.ones(n_samples, dtype=int)
    if y is None:
        return everything
    y = np.asarray(y)
    if y.ndim != 1 or y.dtype.kind not in "iuf" or not np.isin(y, [1, -1]).all():
        return everything
    if len(y) != n_samples:
        raise ValueError(
            f"y must hold one label per sample of X; got {len(y)} labels for "
            f"{n_samples} samples."
        )
    return y


def count_samples(X):
    """Count the samples of X, of a stream by reading it once."""
    if isinstance(X, IterableDataset):
        return sum(map(len, batches(X, batch_size=128)))
    return len(X)


def take_samples(X, rows):
    """Read rows of X, and of a Dataset no others."""
    if isinstance(X, IterableDataset):
        return _take_from_stream(X, rows)
    if isinstance(X, Dataset):
        return torch.cat(list(batches(Subset(X, rows.tolist()), batch_size=128)))
    return X[rows]


def _take_from_stream(X, rows):
    places = {row: place for place, row in enumerate(rows.tolist())}
    samples = chain.from_iterable(batches(X, batch_size=128))
    taken = {
        places[row]: sample.clone()  # else it would keep its whole batch
        for row, sample in enumerate(samples)
        if row in places
    }
    return torch.stack([taken[place] for place in range(len(rows))])
