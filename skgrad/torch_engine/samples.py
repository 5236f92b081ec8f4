"""Count, select and read samples of arrays, tensors, Datasets and DataLoaders."""

from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset

from .._messages import naming, warn
from .._validation import (
    DATASETS,
    Data,
    as_tensor,
    check_inputs,
    no_samples,
    to_numpy,
)
from .batching import batches, known_length, loader_of, reading_order
from .restoring import generators_restored

_CPU = torch.device("cpu")
# Samples that are read twice to see whether they stay the same.
N_COMPARED = 8


def count_samples(X: Data) -> int:
    """Count the samples of X; a stream is read once for it."""
    n_samples = known_length(X)
    if n_samples is not None:
        return n_samples
    with generators_restored(_CPU):
        return sum(map(len, batches(X, batch_size=128)))


def is_stream(X: Data) -> bool:
    """Return True if a sample of X is reached only by reading those before it."""
    if isinstance(X, DataLoader):
        return reading_order(X) is None
    return isinstance(X, IterableDataset)


def take_samples(
    X: Data, rows: np.ndarray, *, num_workers: int = 0
) -> np.ndarray | Tensor:
    """Return some rows of X. Unless it is a stream, no other samples are read.

    ``num_workers`` is that of `batches`.
    """
    if not isinstance(X, DATASETS):
        return X[rows]
    with generators_restored(_CPU):
        if is_stream(X):
            return _take_from_stream(X, rows)
        part = select_samples(X, rows)
        return torch.cat(list(batches(part, batch_size=128, num_workers=num_workers)))


def select_samples(X: Dataset | DataLoader, rows: np.ndarray) -> Any:
    """Return a Dataset or DataLoader of some rows of X, which are read later.

    Of a stream they are read now, and returned as a tensor.
    """
    if is_stream(X):
        return take_samples(X, rows)
    if isinstance(X, DataLoader):
        order = reading_order(X) or []
        return _reordered(X, [order[row] for row in rows.tolist()])
    return Subset(X, rows.tolist())


def join_samples(one: Any, other: Any) -> Any:
    """Return two selections from the same X, one behind the other."""
    if isinstance(one, DataLoader):
        both = (reading_order(one) or []) + (reading_order(other) or [])
        return _reordered(one, both)
    if isinstance(one, Dataset):
        return ConcatDataset([one, other])
    if isinstance(one, Tensor):
        return torch.cat([one, other])
    return np.concatenate([one, other])


def _reordered(loader: DataLoader, order: list[int], **options: Any) -> DataLoader:
    """Return a loader that differs from the user's in what it reads alone."""
    batches_of_indices: Any = loader.batch_sampler
    # Where a sampler of batches decides on the size, its first batch shows it.
    batch_size = loader.batch_size or len(next(iter(batches_of_indices), [0]))
    own = (
        *("collate_fn", "num_workers", "pin_memory", "timeout", "worker_init_fn"),
        *("multiprocessing_context", "prefetch_factor"),
    )
    kept = {name: getattr(loader, name) for name in own} | options
    kept.setdefault("generator", torch.Generator())
    return DataLoader(loader.dataset, batch_size, sampler=order, **kept)


def read_array(X: Any, name: str, *, num_workers: int = 0) -> np.ndarray:
    """Return inputs as one array (n_samples, *input_shape); a Dataset is read whole.

    An array without samples is returned as it is. ``name`` is that of the parameter,
    ``num_workers`` that of `batches`.
    """
    if getattr(X, "shape", (1,))[:1] != (0,):
        X = check_inputs(X, name=name)
    if isinstance(X, DATASETS):
        with naming(name), generators_restored(_CPU):
            parts = list(batches(X, batch_size=128, num_workers=num_workers))
            if not parts:
                raise ValueError(no_samples())
            X = torch.cat(parts)
    X = to_numpy(X) if isinstance(X, Tensor) else np.asarray(X)
    if X.dtype.kind == "O" or X.dtype == np.longdouble:  # torch takes neither
        X = X.astype(np.float64)
    if X.ndim < 2 or X.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must be numbers of shape (n_samples, *input_shape); got shape "
            f"{X.shape} of dtype {X.dtype}."
        )
    return X


def _take_from_stream(X: Data, rows: np.ndarray) -> Tensor:
    places = {row: place for place, row in enumerate(rows.tolist())}
    samples = chain.from_iterable(batches(X, batch_size=128))
    taken = {
        places[row]: sample.clone()  # a view would keep its whole batch in memory
        for row, sample in enumerate(samples)
        if row in places
    }
    return torch.stack([taken[place] for place in range(len(rows))])


def warn_if_unsteady(X: Data, first: Any, *, num_workers: int = 0) -> None:
    """Warn if a Dataset or DataLoader gives other values when it is read again.

    ``first`` holds its first samples as `batches` gave them. Up to eight of them are
    read again, by one worker if ``num_workers`` or the loader's are not 0.
    """
    if not isinstance(X, DATASETS):
        return
    first = first[:N_COMPARED]
    with generators_restored(_CPU):
        # Torch's generator may have been set back since, and would repeat its numbers.
        torch.rand(1)
        again = next(batches(_first_again(X, len(first), num_workers), len(first)))
    first, again = to_numpy(as_tensor(first)), to_numpy(again[: len(first)])
    if first.shape == again.shape and not np.array_equal(first, again, equal_nan=True):
        warn(
            "X gives different values each time it is read, as with random "
            "augmentation left in. The threshold then misses its target_fpr by far: on "
            "CIFAR-10, 25.6 % of the in-distribution inputs were rejected at a target "
            "of 5 %. Give the Dataset the transform of evaluation.",
            UserWarning,
        )


def _first_again(X: Any, n_samples: int, num_workers: int) -> Dataset | DataLoader:
    """Return what reads the first samples again, with other seeds for a worker."""
    if is_stream(X):
        return X
    # Without a process of its own, a file that the Dataset opens would be shared with
    # the workers of later passes.
    other = torch.Generator().manual_seed(1)
    if isinstance(X, DataLoader):
        order, n_workers = reading_order(X) or [], min(X.num_workers, 1)
        order = order[:n_samples]
        return _reordered(X, order, num_workers=n_workers, generator=other)
    return loader_of(
        X,
        n_samples,
        num_workers=min(num_workers, 1),
        sampler=range(n_samples),
        generator=other,
    )
