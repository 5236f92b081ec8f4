"""Cut arrays, tensors, memmaps and Datasets into batches on the model's device."""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset
from tqdm.auto import tqdm

from .._conversion import as_tensor
from .._finite import NotFiniteError, check_batch_finite
from .._items import inputs_of_batch, stack_items
from .._messages import warn
from .._several import (
    Several,
    check_entries,
    is_integer,
    is_truth,
)
from .._validation import Data, no_samples
from .restoring import generators_restored

# The dtypes that numpy has too.
_NUMPY = {
    torch.float16: np.float16,
    torch.float64: np.float64,
    torch.int64: np.int64,
    torch.bool: np.bool_,
}


def map_batches(
    function: Callable[[Any], Tensor],
    data: Data,
    *,
    batch_size: int,
    device: torch.device,
    dtype: torch.dtype,
    input_shape: Sequence[int] | dict | None = None,
    integers: bool | dict = False,
    progress: str | None = None,
    num_workers: int = 0,
    raw: Iterable[Any] | None = None,
) -> Tensor:
    """Apply ``function`` batch by batch and gather the results in order, on the CPU.

    It takes a batch ``(n, *input_shape)`` and returns a tensor ``(n, ...)``. Of
    ``data``, one batch at a time is read, copied and moved. If a GPU has too little
    memory for a batch, it is halved with a warning, also for the rest of the data.
    ``progress`` is the name of a progress bar.

    A caller that has looked at the first batch gives all of them as ``raw``, so that no
    sample is read twice; they are those of `batches`. For the rest see there and
    `prepare_batch`.
    """

    def compute(piece: Any) -> Tensor:
        batch = prepare_batch(
            piece,
            device=device,
            dtype=dtype,
            input_shape=input_shape,
            integers=integers,
        )
        return function(batch).detach()

    if raw is None:
        raw = batches(data, batch_size, num_workers=num_workers)
    n_samples = known_length(data)
    results = Rows(n_samples)
    most = sys.maxsize  # until the memory turns out to be too small
    options = {"desc": progress, "unit": "sample", "disable": progress is None}
    with tqdm(total=n_samples, **options) as bar:
        for whole in raw:
            start = 0
            while start < len(whole):
                piece = whole[start : start + most]
                try:
                    result = _unless_out_of_memory(compute, piece)
                except NotFiniteError as error:
                    error.rows = [results.n_filled + row for row in error.rows]
                    raise
                if result is None:
                    most = (len(piece) + 1) // 2
                    warn(
                        f"Out of memory on {device} with {len(piece)} samples at a "
                        f"time; continuing with {most}. Set batch_size={most} to save "
                        "the attempt.",
                        RuntimeWarning,
                    )
                    continue
                results.append(result)
                start += len(piece)
                bar.update(len(piece))
    return results.gathered()


def known_length(data: Data) -> int | None:
    """Return the number of samples, None if it shows only in reading them."""
    if isinstance(data, DataLoader):
        order = reading_order(data)
        return None if order is None else len(order)
    try:
        return len(data)  # type: ignore[arg-type]
    except TypeError:  # a stream has no length
        return None


def reading_order(loader: DataLoader) -> list[int] | None:
    """Return the indices that a loader reads, in order.

    None if it reads a stream, or items of its Dataset that are batches themselves.
    """
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return None
    return list(chain.from_iterable(loader.batch_sampler))


class Rows:
    """The results of batches in one array on the CPU.

    Kept one by one, they would lie between the large tensors of the passes, and the
    memory of those could not be returned.
    """

    def __init__(self, n_samples: int | None) -> None:
        self._n_samples = n_samples
        self._array: Tensor | None = None
        self.n_filled = 0

    def append(self, rows: Tensor) -> None:
        """Copy the results of a batch behind those before it."""
        end = self.n_filled + len(rows)
        if self._array is None:
            self._array = self._new(rows, self._n_samples or end)
        elif end > len(self._array):
            larger = self._new(rows, max(end, 2 * len(self._array)))
            larger[: self.n_filled] = self._array[: self.n_filled]
            self._array = larger
        self._array[self.n_filled : end] = rows
        self.n_filled = end

    def gathered(self) -> Tensor:
        """Return all results, in an array that has no room for more."""
        if self._array is None:
            raise ValueError(no_samples())
        if self.n_filled == len(self._array):
            return self._array
        return self._array[: self.n_filled].clone()

    @staticmethod
    def _new(rows: Tensor, length: int) -> Tensor:
        return rows.new_empty((length, *rows.shape[1:]), device="cpu")


def _unless_out_of_memory(
    compute: Callable[[Any], Tensor], piece: Any
) -> Tensor | None:
    """Return the result for some samples, None if they are too many for the memory.

    The error is dropped here, because its frames hold the tensors that fill the memory.
    """
    try:
        return compute(piece)
    except torch.OutOfMemoryError:
        if len(piece) == 1:
            raise
        return None


def batches(
    data: Data, batch_size: int, *, name: str = "X", num_workers: int = 0
) -> Iterator[Any]:
    """Cut ``data`` into consecutive runs of at most ``batch_size`` samples.

    ``name`` is the parameter's name in messages. The samples of a Dataset are read by
    ``num_workers`` processes, 0 for this one; the batches of a DataLoader are its own.
    """
    if isinstance(data, Dataset):
        data = loader_of(data, batch_size, name=name, num_workers=num_workers)
    if isinstance(data, DataLoader):
        for batch in _begun(data):
            yield inputs_of_batch(batch, name=name)
    else:
        for start in range(0, len(data), batch_size):
            yield data[start : start + batch_size]


def loader_of(
    dataset: Dataset,
    batch_size: int,
    *,
    name: str = "X",
    num_workers: int = 0,
    **options: Any,
) -> DataLoader:
    """Return a loader of the inputs in a Dataset; ``options`` are those of DataLoader.

    See `batches` for the rest.
    """
    # Each worker would give the whole stream.
    n_workers = 0 if isinstance(dataset, IterableDataset) else num_workers
    return DataLoader(
        dataset,
        batch_size=batch_size,
        collate_fn=partial(stack_items, name=name),
        num_workers=n_workers,
        # A new generator is seeded alike each time.
        **{"generator": torch.Generator(), **options},
    )


def _begun(loader: DataLoader) -> Iterator[Any]:
    """Return an iterator over a loader, with all generators as they were."""
    # A loader draws a seed for its workers from its own generator or the global one.
    own = loader.generator
    state = None if own is None else own.get_state()
    with generators_restored(torch.device("cpu")):
        iterator = iter(loader)
    if own is not None:
        own.set_state(state)
    return iterator


def prepare_batch(
    batch: Any,
    *,
    device: torch.device,
    dtype: torch.dtype,
    input_shape: Sequence[int] | dict | None,
    integers: bool | dict = False,
    name: str = "X",
) -> Any:
    """Bring one batch to device, dtype and shape, and check it.

    ``batch`` (n_samples, ...) is an ndarray, Tensor or `Several` as `batches` cuts
    them; 2-D rows are brought to ``input_shape``, and None takes samples as they are.
    With ``integers`` whole numbers become int64 in place of ``dtype``; of several
    inputs it is False or a dict, which says so of each. Returns a copy
    (n_samples, *input_shape), ready for the model. Raises ValueError, with the
    parameter's ``name``, if the shape is another, or a value is complex or not finite
    in ``dtype``.
    """
    if isinstance(batch, Several) or isinstance(input_shape, dict):
        check_entries(batch, input_shape, name)
        exact: Any = integers or dict.fromkeys(batch.entries, False)
        entries = {}
        for key, entry in batch.entries.items():
            called = f"{name}[{key!r}]"
            if exact[key] and not is_truth(entry):
                entry = _whole_numbers(entry, called)
            entries[key] = _prepared(entry, device, dtype, called, exact[key])
        return Several(entries)
    integers = bool(integers)
    if integers:
        batch = _whole_numbers(batch, name)
    batch = _prepared(batch, device, dtype, name, integers)
    if input_shape is not None and tuple(batch.shape[1:]) != tuple(input_shape):
        batch = _shaped(batch, input_shape, name, integers)
    if batch.ndim < 2:
        raise ValueError(
            f"{name} must hold samples with at least one axis; got single numbers. "
            "Give each sample the shape that the model takes."
        )
    return batch


def _shaped(batch: Tensor, input_shape: Any, name: str, integers: bool) -> Tensor:
    # Sequences of tokens may have any length.
    if integers and batch.ndim == len(input_shape) + 1:
        return batch
    if batch.ndim != 2 or batch.shape[1] != math.prod(input_shape):
        raise ValueError(
            f"{name} must hold samples of shape {tuple(input_shape)}, or rows of "
            f"{math.prod(input_shape)} values to be given that input_shape; got "
            f"samples of shape {tuple(batch.shape[1:])}."
        )
    return batch.reshape(-1, *input_shape)


def _whole_numbers(batch: Any, name: str) -> Any:
    """Return the same numbers as integers."""
    if is_integer(batch):
        return batch
    values = as_tensor(batch)
    if values.is_floating_point():  # NaN is no wrong number but none
        check_batch_finite(values, name)
    with np.errstate(invalid="ignore"):
        whole = batch.long() if isinstance(batch, Tensor) else batch.astype(np.int64)
    if not bool((whole == batch).all()):
        raise ValueError(
            f"{name} must hold whole numbers, as those seen by fit; got others. Give "
            "what the model looks up, such as the numbers of tokens. If it is a "
            "quantity, give floats to fit."
        )
    return whole


def _prepared(
    values: Any,
    device: torch.device,
    dtype: torch.dtype,
    name: str,
    integers: bool,
) -> Tensor:
    """Return a finite copy of an array or tensor on a device."""
    if integers:
        dtype = _exact_dtype(values, dtype)
    if isinstance(values, Tensor):
        if values.is_complex():
            raise ValueError(
                f"{name} must be real. Complex data not supported: {values.dtype}."
            )
        # A copy, so that a model that works in place leaves the user's data alone. From
        # pinned memory a GPU takes it while this process goes on; towards the CPU it
        # must be complete before it is read.
        to_gpu = values.device.type == "cpu"
        values = values.detach().to(
            device=device, dtype=dtype, copy=True, non_blocking=to_gpu
        )
    else:
        # numpy has no bfloat16, so go through float32. A value that overflows becomes
        # infinite and is reported below.
        with np.errstate(over="ignore"):
            array: np.ndarray = np.array(
                values, dtype=_NUMPY.get(dtype, np.float32), order="C"
            )
        values = torch.from_numpy(array).to(device=device, dtype=dtype)
    if values.is_floating_point():
        check_batch_finite(values, name)
    return values


def _exact_dtype(values: Any, dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which a model gets numbers as they are."""
    if is_integer(values):
        return torch.int64  # lookups take it, unlike shorter ones
    return torch.bool if is_truth(values) else dtype
