"""Count, select and read samples of arrays, tensors, Datasets and DataLoaders."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset

from .._conversion import as_tensor, to_numpy
from .._messages import naming, warn
from .._several import Several, check_one_or_several, is_several, joined, only_one
from .._validation import DATASETS, Data, check_inputs, no_samples
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


def take_samples(X: Data, rows: np.ndarray, *, num_workers: int = 0) -> Any:
    """Return some rows of X. Unless it is a stream, no other samples are read.

    ``num_workers`` is that of `batches`.
    """
    if not isinstance(X, DATASETS):
        return X[rows]
    with generators_restored(_CPU):
        if is_stream(X):
            return _take_from_stream(X, rows)
        part = select_samples(X, rows)
        return joined(list(batches(part, batch_size=128, num_workers=num_workers)))


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
    return joined([one, other])


def _reordered(loader: DataLoader, order: list[int], **options: Any) -> DataLoader:
    """Return a loader that differs from the user's in what it reads alone."""
    batches_of_indices: Any = loader.batch_sampler
    # Where a sampler of batches decides on the size, its first batch shows it.
    batch_size = loader.batch_size or len(next(iter(batches_of_indices), [0]))
    kept = {"generator": torch.Generator(), **settings_of(loader), **options}
    return DataLoader(loader.dataset, batch_size, sampler=order, **kept)


def settings_of(loader: DataLoader) -> dict[str, Any]:
    """Return how a loader reads, whatever it reads and in what order."""
    own = (
        *("collate_fn", "num_workers", "pin_memory", "timeout", "worker_init_fn"),
        *("multiprocessing_context", "prefetch_factor"),
    )
    return {name: getattr(loader, name) for name in own}


def read_array(X: Any, name: str, *, num_workers: int = 0) -> np.ndarray:
    """Return inputs as one array (n_samples, *input_shape); a Dataset is read whole.

    An array without samples is returned as it is. ``name`` is that of the parameter,
    ``num_workers`` that of `batches`. Raises TypeError if X holds several inputs.
    """
    if isinstance(X, Mapping):
        X = check_one_or_several(X, name=name)
    elif getattr(X, "shape", (1,))[:1] != (0,):
        X = check_inputs(X, name=name)
    if isinstance(X, DATASETS):
        X = _read(X, name, num_workers)
    if isinstance(X, Several):
        raise TypeError(only_one(X, name))
    X = to_numpy(X) if isinstance(X, Tensor) else np.asarray(X)
    if X.dtype.kind == "O" or X.dtype == np.longdouble:  # torch takes neither
        X = X.astype(np.float64)
    if X.ndim < 2 or X.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must be numbers of shape (n_samples, *input_shape); got shape "
            f"{X.shape} of dtype {X.dtype}."
        )
    return X


def read_inputs(X: Any, name: str, *, num_workers: int = 0) -> Any:
    """Return inputs as `read_array` does, several of them as arrays in a `Several`."""
    if isinstance(X, DATASETS):
        check_inputs(X, name=name)
        X = _read(X, name, num_workers)
    if is_several(X):
        return check_one_or_several(X, name=name).map(_as_array)
    return read_array(X, name)


def _read(X: Any, name: str, num_workers: int) -> Any:
    """Read all of a Dataset or DataLoader."""
    with naming(name), generators_restored(_CPU):
        parts = list(batches(X, batch_size=128, num_workers=num_workers))
        if not parts:
            raise ValueError(no_samples())
        return joined(parts)


def _as_array(values: Any) -> np.ndarray:
    return to_numpy(values) if isinstance(values, Tensor) else np.asarray(values)


def _take_from_stream(X: Data, rows: np.ndarray) -> Any:
    places = {row: place for place, row in enumerate(rows.tolist())}
    taken, start = {}, 0
    for batch in batches(X, batch_size=128):
        for row in places.keys() & set(range(start, start + len(batch))):
            sample = batch[row - start : row - start + 1]
            # A view would keep its whole batch in memory.
            taken[places[row]] = sample.clone()
        start += len(batch)
    return joined([taken[place] for place in range(len(rows))])


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
    if _differ(first, again[: len(first)]):
        warn(
            "X gives different values each time it is read, as with random "
            "augmentation left in. The threshold then misses its target_fpr by far: on "
            "CIFAR-10, 25.6 % of the in-distribution inputs were rejected at a target "
            "of 5 %. Give the Dataset the transform of evaluation.",
            UserWarning,
        )


def _differ(one: Any, other: Any) -> bool:
    """Return True if batches of the same samples have other values."""
    if isinstance(one, Several):
        pairs = [(entry, other.entries[key]) for key, entry in one.entries.items()]
        return any(_differ(*pair) for pair in pairs)
    one, other = to_numpy(as_tensor(one)), to_numpy(as_tensor(other))
    # The end of a batch may be padded otherwise.
    alike = one.shape == other.shape
    return alike and not np.array_equal(one, other, equal_nan=True)


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
