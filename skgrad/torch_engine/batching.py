"""Cut arrays, tensors, memmaps and data sets into batches on the model's device."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
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
    """Apply ``function`` batch by batch and gather the results in order, on the CPU.

    It takes a batch ``(n, *input_shape)`` and returns a tensor ``(n, ...)``. Of
    ``data``, one batch at a time is read, copied and moved. If a GPU has too little
    memory for ``batch_size`` samples, the batch is halved with a warning, also for the
    rest of the data. ``progress`` is the name of a progress bar. For the rest see
    `prepare_batch`.
    """

    def compute(raw: Any) -> Tensor:
        batch = prepare_batch(raw, device=device, dtype=dtype, input_shape=input_shape)
        return function(batch).detach().cpu()

    results, size = [], batch_size
    n_samples = None
    with suppress(TypeError):  # a stream has no length
        n_samples = len(data)  # type: ignore[arg-type]
    options = {"desc": progress, "unit": "sample", "disable": progress is None}
    with tqdm(total=n_samples, **options) as bar:
        for raw in batches(data, batch_size):
            start = 0
            while start < len(raw):
                piece = raw[start : start + size]
                result = _unless_out_of_memory(compute, piece)
                if result is None:
                    size = (len(piece) + 1) // 2
                    warn(
                        f"Out of memory on {device} with {len(piece)} samples at a "
                        f"time; continuing with {size}. Set batch_size={size} to save "
                        "the attempt.",
                        RuntimeWarning,
                    )
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
    pairs = (tuple, list)
    samples = [item[0] if isinstance(item, pairs) and item else item for item in items]
    return stack_samples(samples, name=name)


def prepare_batch(
    batch: Any,
    *,
    device: torch.device,
    dtype: torch.dtype,
    input_shape: Sequence[int] | None,
    name: str = "X",
) -> Tensor:
    """Bring one batch to device, dtype and shape, and check it.

    ``batch`` (n_samples, ...) is an ndarray or Tensor as `batches` cuts them; 2-D rows
    are brought to ``input_shape``, and None takes samples as they are. Returns a copy
    (n_samples, *input_shape), ready for the model. Raises ValueError, with the
    parameter's ``name``, if the shape is another, or a value is complex or not finite
    in ``dtype``.
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
