"""Cut arrays, tensors, memmaps and data sets into batches on the model's device."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from .._messages import warn
from .._validation import Data, no_samples, stack_samples


def map_batches(
    function: Callable[[Tensor], Tensor],
    data: Data,
    *,
    batch_size: int,
    device: torch.device,
    dtype: torch.dtype,
    input_shape: Sequence[int] | None = None,
    progress: str | None = None,
) -> Tensor:
    """Apply ``function`` batch by batch and gather what it returns on the CPU.

    Parameters
    ----------
    function : callable
        Takes a batch ``(n, *input_shape)``, returns a tensor ``(n, ...)``.
    data : ndarray, Tensor or Dataset
        ``n_samples`` inputs; a data set yields ``x`` or ``(x, y)``. Only one batch at
        a time is read, copied and moved.
    batch_size : int
        Samples per batch. If a GPU has too little memory for them, the batch is halved
        with a warning, also for the rest of the data.
    device, dtype, input_shape
        As in `prepare_batch`.
    progress : str, optional
        Show a progress bar under this name.

    Returns
    -------
    Tensor of shape (n_samples, ...)
        The results in the order of ``data``, on the CPU.

    Raises
    ------
    ValueError
        If there are no samples, or as in `prepare_batch`.
    """

    def compute(raw: Any) -> Tensor:
        batch = prepare_batch(raw, device=device, dtype=dtype, input_shape=input_shape)
        return function(batch).detach().cpu()

    results, size = [], batch_size
    with _progress_bar(data, progress) as bar:
        for raw in batches(data, batch_size):
            start = 0
            while start < len(raw):
                piece = raw[start : start + size]
                result = _unless_out_of_memory(compute, piece)
                if result is None:
                    size = _half(len(piece), device)
                    continue
                results.append(result)
                start += len(piece)
                bar.update(len(piece))
    if not results:
        raise ValueError(no_samples())
    return torch.cat(results)


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


def _half(n_samples: int, device: torch.device) -> int:
    half = (n_samples + 1) // 2
    warn(
        f"Out of memory on {device} with {n_samples} samples at a time; continuing with"
        f" {half}. Set batch_size={half} to save the attempt.",
        RuntimeWarning,
    )
    return half


def _progress_bar(data: Data, name: str | None) -> tqdm:
    """Return a bar that counts the samples of ``data``, invisible without a name."""
    return tqdm(total=_length(data), desc=name, unit="sample", disable=name is None)


def batches(data: Data, batch_size: int, *, name: str = "X") -> Iterator[Any]:
    """Cut ``data`` into consecutive runs of at most ``batch_size`` samples.

    ``name`` is the parameter's name in messages.
    """
    if isinstance(data, Dataset):
        # No workers: their random numbers would not be restored. Without a generator
        # the loader would draw a seed from the global one.
        yield from DataLoader(
            data,
            batch_size=batch_size,
            collate_fn=partial(_inputs_only, name=name),
            generator=torch.Generator(),
        )
    else:
        for start in range(0, len(data), batch_size):
            yield data[start : start + batch_size]


def _inputs_only(items: list[Any], name: str) -> Tensor:
    """Make a batch of the x in x or (x, y)."""
    return stack_samples(
        [
            item[0] if isinstance(item, (tuple, list)) and item else item
            for item in items
        ],
        name=name,
    )


def _length(data: Data) -> int | None:
    """Return the number of samples for the progress bar, None if it is unknown."""
    try:
        return len(data)  # type: ignore[arg-type]
    except TypeError:  # a stream
        return None


def prepare_batch(
    batch: Any,
    *,
    device: torch.device,
    dtype: torch.dtype,
    input_shape: Sequence[int] | None,
    name: str = "X",
) -> Tensor:
    """Bring one batch to device, dtype and shape, and check it.

    Parameters
    ----------
    batch : ndarray or Tensor of shape (n_samples, ...)
        Samples as `batches` cuts them.
    device, dtype : torch.device, torch.dtype
        Where the model is, and the dtype it computes in.
    input_shape : sequence of int or None
        The shape of a sample. 2-D rows are brought to it; None takes them as they are.
    name : str, default="X"
        The parameter's name in messages.

    Returns
    -------
    Tensor of shape (n_samples, *input_shape)
        A copy of the batch, ready for the model.

    Raises
    ------
    ValueError
        If its shape is another, it is complex, or a value is not finite in ``dtype``.
    """
    if isinstance(batch, Tensor):
        if batch.is_complex():
            raise ValueError(
                f"{name} must be real. Complex data not supported: {batch.dtype}."
            )
        # A copy, so that a model that works in place leaves the user's data alone.
        batch = batch.detach().to(device=device, dtype=dtype, copy=True)
    else:
        # numpy has no bfloat16, so go through float32. A value that overflows becomes
        # infinite and is reported below.
        numpy_dtype = np.float64 if dtype == torch.float64 else np.float32
        with np.errstate(over="ignore"):
            array = np.array(batch, dtype=numpy_dtype, order="C")
        batch = torch.from_numpy(array).to(device=device, dtype=dtype)
    if input_shape is not None and tuple(batch.shape[1:]) != tuple(input_shape):
        if batch.ndim != 2 or batch.shape[1] != math.prod(input_shape):
            raise ValueError(
                f"{name} must hold samples of shape {tuple(input_shape)}, or rows of "
                f"{math.prod(input_shape)} values to be given that input_shape; got "
                f"samples of shape {tuple(batch.shape[1:])}."
            )
        batch = batch.reshape(-1, *input_shape)
    if batch.ndim < 2:
        raise ValueError(
            f"{name} must hold samples with at least one axis; got single numbers. "
            "Give each sample the shape that the model takes."
        )
    if not torch.isfinite(batch).all():
        raise ValueError(
            f"{name} must be finite in the model's {dtype}; it contains NaN, infinity "
            "or a value too large for that type. Impute, remove or rescale them."
        )
    return batch
