"""Arrays, tensors, memmaps and data sets in; batches on the model's device out."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from .._validation import Data, no_samples, stack_samples
from .memory import Pieces, is_out_of_memory


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
        Samples per batch. If they are too many for the memory, the batch is halved
        with a warning, also for the rest of the data.
    device : torch.device
        Where the batches go.
    dtype : torch.dtype
        What the batches are cast to.
    input_shape : sequence of int, optional
        The shape to which each sample is brought.
    progress : str, optional
        Show a progress bar under this name.

    Returns
    -------
    Tensor of shape (n_samples, ...)
        The results in the order of ``data``, on the CPU.

    Raises
    ------
    ValueError
        If a batch is empty of samples, has another shape, or holds NaN, infinity or a
        value beyond the range of ``dtype``.
    """
    compute = Adaptive(
        function,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        input_shape=input_shape,
    )
    results = []
    with progress_bar(data, progress) as bar:
        for raw in batches(data, batch_size):
            results.append(compute(raw))
            bar.update(len(raw))
    if not results:
        raise ValueError(no_samples())
    return _joined(results)


def _joined(results: list[Tensor]) -> Tensor:
    """Return the results of all batches as one tensor."""
    try:
        return torch.cat(results)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            error.add_note(
                f"All {sum(map(len, results))} samples were computed, but their "
                "results do not fit into the memory together. Give X in parts."
            )
        raise


def progress_bar(data: Data, name: str | None) -> tqdm:
    """Return a bar that counts the samples of ``data``, invisible without a name."""
    return tqdm(total=_length(data), desc=name, unit="sample", disable=name is None)


class Adaptive:
    """A function of batches that takes as many samples at a time as memory holds.

    Parameters
    ----------
    function, batch_size, device, dtype, input_shape
        As in `map_batches`.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        *,
        batch_size: int,
        device: torch.device,
        dtype: torch.dtype,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        self.function = function
        self.pieces = Pieces(batch_size, device)
        self.device = device
        self.dtype = dtype
        self.input_shape = input_shape

    def __call__(self, raw: Any) -> Tensor:
        """Return the results for some samples, as `batches` cuts them, on the CPU.

        A batch that proves too large is halved, and so are all that follow.
        """
        return torch.cat(list(self.pieces(self._compute, raw)))

    def _compute(self, raw: Any, start: int) -> Tensor:
        batch = prepare_batch(
            raw, device=self.device, dtype=self.dtype, input_shape=self.input_shape
        )
        return self.function(batch).detach().cpu()


def batches(data: Data, batch_size: int) -> Iterator[Any]:
    """Cut ``data`` into consecutive runs of at most ``batch_size`` samples."""
    if isinstance(data, Dataset):
        # Workers are left to the user's own Dataset: zero keeps order and RNG alone.
        # Without a generator of its own it would draw a seed from the global one.
        yield from DataLoader(
            data,
            batch_size=batch_size,
            collate_fn=_inputs_only,
            generator=torch.Generator(),
        )
    else:
        for start in range(0, len(data), batch_size):
            yield data[start : start + batch_size]


def _inputs_only(items: list[Any]) -> Tensor:
    """Make a batch of the x in x or (x, y)."""
    return stack_samples(
        [
            item[0] if isinstance(item, (tuple, list)) and item else item
            for item in items
        ]
    )


def _length(data: Data) -> int | None:
    """Return the number of samples if it can be told, for the progress bar."""
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
) -> Tensor:
    """Bring one batch to device, dtype and shape, and check it.

    Parameters
    ----------
    batch : ndarray or Tensor of shape (n_samples, ...)
        What `batches` cut.
    device, dtype : torch.device, torch.dtype
        Where it goes, and as what.
    input_shape : sequence of int or None
        The shape of a sample. 2-D rows are brought to it; None takes them as they are.

    Returns
    -------
    Tensor of shape (n_samples, *input_shape)
        The batch, ready for the model.

    Raises
    ------
    ValueError
        If its shape is another, it is complex, or a value is not finite in ``dtype``.
    """
    if isinstance(batch, Tensor):
        if batch.is_complex():
            raise ValueError(
                f"X must be real. Complex data not supported: {batch.dtype}."
            )
        # A copy, so that a model that works in place leaves the user's data alone.
        batch = batch.detach().to(device=device, dtype=dtype, copy=True)
    else:
        # numpy has no bfloat16: go through float32. Overflow is reported below, in
        # the words of X.
        numpy_dtype = np.float64 if dtype == torch.float64 else np.float32
        with np.errstate(over="ignore"):
            array = np.array(batch, dtype=numpy_dtype, order="C")
        batch = torch.from_numpy(array).to(device=device, dtype=dtype)
    if input_shape is not None and tuple(batch.shape[1:]) != tuple(input_shape):
        if batch.ndim != 2 or batch.shape[1] != math.prod(input_shape):
            raise ValueError(
                f"X must hold samples of shape {tuple(input_shape)}, or rows of "
                f"{math.prod(input_shape)} values to be given that input_shape; got "
                f"samples of shape {tuple(batch.shape[1:])}."
            )
        batch = batch.reshape(-1, *input_shape)
    if batch.ndim < 2:
        raise ValueError(
            "X must hold samples with at least one axis; got single numbers. Give "
            "each sample the shape that the model takes."
        )
    if not torch.isfinite(batch).all():
        raise ValueError(
            f"X must be finite in the model's {dtype}; it contains NaN, infinity or a "
            "value too large for that type. Impute, remove or rescale such samples."
        )
    return batch
