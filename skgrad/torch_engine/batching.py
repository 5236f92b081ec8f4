"""Arrays, tensors, memmaps and data sets in; batches on the model's device out."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

Data = np.ndarray | Tensor | Dataset


def as_batchable(X: Any) -> Any:
    """Return ``X`` as something that `batches` can cut, or say why it is not.

    Parameters
    ----------
    X : array-like, Tensor or Dataset
        The inputs. Lists become arrays; nothing else is converted or copied.

    Returns
    -------
    array, data frame, Tensor or Dataset
        Where it is not a Dataset: numeric, not empty, at least two-dimensional.

    Raises
    ------
    ValueError
        If ``X`` is ragged, not numeric, complex, has no sample or no second axis.
    """
    if isinstance(X, Dataset):
        return X
    if not hasattr(X, "shape"):
        X = _from_list(X)
    dtype = getattr(X, "dtype", None)
    if getattr(dtype, "kind", "f") in "USVMm":
        raise ValueError(
            "X must be numeric, of shape (n_samples, *input_shape); got dtype "
            f"{dtype}. Load and encode the inputs as the model was trained on them."
        )
    if dtype is not None and getattr(dtype, "is_complex", False):
        raise ValueError(f"X must be real. Complex data not supported: {dtype}.")
    if len(X.shape) < 2 or X.shape[0] == 0:
        raise ValueError(
            "X must be of shape (n_samples, *input_shape) with at least one sample; "
            f"got shape {tuple(X.shape)}. Reshape your data: a single sample x is "
            "x[None]."
        )
    return X


def _from_list(X: Any) -> np.ndarray:
    try:
        return np.asarray(X)
    except ValueError as error:
        raise ValueError(
            "X must be rectangular, every sample of the same shape; got a ragged "
            f"{type(X).__name__}. Pad or crop the samples to one shape."
        ) from error


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
        Samples per batch.
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
    results = []
    bar = tqdm(
        total=_length(data), desc=progress, unit="sample", disable=progress is None
    )
    with bar:
        for batch in batches(data, batch_size):
            batch = prepare_batch(
                batch, device=device, dtype=dtype, input_shape=input_shape
            )
            results.append(function(batch).detach().cpu())
            bar.update(len(batch))
    if not results:
        raise ValueError("X must hold at least one sample; got an empty data set.")
    return torch.cat(results)


def batches(data: Data, batch_size: int) -> Iterator[Any]:
    """Cut ``data`` into consecutive runs of at most ``batch_size`` samples."""
    if isinstance(data, Dataset):
        # Workers are left to the user's own Dataset: zero keeps order and RNG alone.
        for item in DataLoader(data, batch_size=batch_size, generator=_no_draw()):
            yield item[0] if isinstance(item, (tuple, list)) else item
    else:
        for start in range(0, len(data), batch_size):
            yield data[start : start + batch_size]


def _no_draw() -> torch.Generator:
    # Without a generator of its own, a DataLoader draws a seed from the global one.
    return torch.Generator()


def _length(data: Data) -> int | None:
    return len(data) if hasattr(data, "__len__") else None


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
    TypeError
        If ``batch`` is neither array nor tensor.
    ValueError
        If its shape is another, or a value is not finite in ``dtype``.
    """
    if isinstance(batch, np.ndarray):
        # A copy: torch refuses read-only memory. numpy has no bfloat16: go through
        # float32; and an overflow is reported below, in the words of X.
        numpy_dtype = np.float64 if dtype == torch.float64 else np.float32
        with np.errstate(over="ignore"):
            batch = torch.from_numpy(np.array(batch, dtype=numpy_dtype, order="C"))
    elif not isinstance(batch, Tensor):
        raise TypeError(
            "X must be an array, a tensor, or a Dataset that yields arrays or tensors, "
            f"x or (x, y); this Dataset yields {type(batch).__name__}. Give it a "
            "transform that returns tensors."
        )
    batch = batch.detach().to(device=device, dtype=dtype)
    if input_shape is not None and tuple(batch.shape[1:]) != tuple(input_shape):
        if batch[0].numel() != int(np.prod(input_shape)) or batch.ndim != 2:
            raise ValueError(
                f"X must hold samples of shape {tuple(input_shape)}; got "
                f"{tuple(batch.shape[1:])}."
            )
        batch = batch.reshape(-1, *input_shape)
    if not torch.isfinite(batch).all():
        raise ValueError(
            f"X must be finite in the model's {dtype}; it contains NaN, infinity or a "
            "value too large for that type. Impute, remove or rescale such samples."
        )
    # Tensors made under inference_mode cannot enter autograd; a clone can.
    return batch.clone() if batch.is_inference() else batch
