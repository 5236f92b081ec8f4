"""Arrays, tensors, memmaps and data sets in; batches on the model's device out."""

import gc
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset
from tqdm.auto import tqdm

from .._messages import warn

Data = np.ndarray | Tensor | Dataset


@contextmanager
def called(name: str) -> Iterator[None]:
    """Let messages call the inputs by the name that they have outside."""
    try:
        yield
    except (TypeError, ValueError) as error:
        # They begin with the X that is meant.
        raise type(error)(str(error).replace("X", name, 1)) from error


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
    TypeError
        If ``X`` is nothing that holds samples, or sparse.
    ValueError
        If ``X`` is ragged, not numeric, complex, has no sample or no second axis, an
        axis of length 0, or is a stream that cannot be read twice.
    """
    if isinstance(X, Dataset):
        return _checked_dataset(X)
    if issparse(X):
        raise TypeError("X must be dense; got sparse data. Use X.toarray().")
    if not hasattr(X, "shape"):
        X = _from_list(X)
    _check_numeric(X)
    if isinstance(X, Tensor) and (X.layout != torch.strided or X.is_meta):
        way_out = "Load its values first" if X.is_meta else "Use X.to_dense()"
        raise ValueError(
            f"X must be a dense tensor with values; got layout {X.layout} on "
            f"{X.device}. {way_out}."
        )
    if len(X.shape) < 2 or X.shape[0] == 0:
        raise ValueError(
            "X must be of shape (n_samples, *input_shape) with at least one sample; "
            f"got shape {tuple(X.shape)}. Reshape your data: a single sample x is "
            "x[None]."
        )
    if 0 in X.shape:
        raise ValueError(
            "X must hold samples of at least one value; got 0 feature(s) "
            f"(shape={tuple(X.shape)}) while a minimum of 1 is required. Look for an "
            "empty slice or selection of columns."
        )
    return X


# numpy's kinds of dtype for text, raw bytes and times.
_NO_NUMBERS = "USVMm"


def _check_numeric(X: Any) -> None:
    """Refuse what does not hold real numbers, all of them known."""
    dtype = getattr(X, "dtype", "object")
    if _kind(X) in _NO_NUMBERS or not _converts(X):
        raise ValueError(
            "X must be numeric, of shape (n_samples, *input_shape); got dtype "
            f"{dtype}. Load and encode the inputs as the model was trained on them."
        )
    if _kind(X) == "c":
        raise ValueError(f"X must be real. Complex data not supported: got {dtype}.")
    if np.ma.is_masked(X):
        # numpy would hand on what lies under the mask.
        raise ValueError(
            f"X must have no masked values; got {np.ma.count_masked(X)} of them. Fill "
            "them with X.filled(value), or leave such samples out."
        )


def _kind(X: Any) -> str:
    """Return numpy's letter for the kind of dtype of X, "f" where it has none."""
    if isinstance(X, Tensor):
        return "c" if X.is_complex() else "f"
    if hasattr(X, "dtypes"):  # a data frame, whose columns may be of any
        return "O"
    return getattr(getattr(X, "dtype", None), "kind", "f")


def _converts(X: Any) -> bool:
    """Tell whether X, if it is of objects, is one of numbers after all."""
    if _kind(X) == "O":
        try:
            np.asarray(X, dtype=float)
        except ValueError:
            return False
        except TypeError as error:
            if "NAType" in str(error):  # pandas' missing number, told as NaN later
                return True
            raise TypeError(f"X must hold numbers: {error}") from error
    return True


def _checked_dataset(dataset: Dataset) -> Dataset:
    if isinstance(dataset, IterableDataset):
        if iter(dataset) is iter(dataset):
            raise ValueError(
                "X must start anew each time it is iterated; this IterableDataset "
                "gives the same iterator again. Return a new one from __iter__."
            )
    elif not hasattr(dataset, "__len__"):
        raise TypeError(
            f"X must have a length; {type(dataset).__name__} has no __len__. Add one, "
            "or make it an IterableDataset."
        )
    return dataset


def _from_list(X: Any) -> np.ndarray | Tensor:
    if isinstance(X, (list, tuple)) and X and isinstance(X[0], Tensor):
        return _stacked(X)
    if not (isinstance(X, (list, tuple, str, bytes)) or hasattr(X, "__array__")):
        raise TypeError(
            "X must be an array, a tensor, nested lists or a torch Dataset; got "
            f"{type(X).__name__}. Of a DataLoader, give its dataset."
        )
    try:
        return np.asarray(X)
    except ValueError as error:
        raise ValueError(
            "X must be rectangular, every sample of the same shape; got a ragged "
            f"{type(X).__name__}. Pad or crop the samples to one shape."
        ) from error


def _stacked(samples: Sequence[Any]) -> Tensor:
    """Make one batch of samples, each an array, a tensor or a number."""
    for sample in samples:
        legal = isinstance(sample, (np.ndarray, np.number, Tensor, int, float))
        if not legal or _kind(sample) in _NO_NUMBERS + "O":
            raise TypeError(
                "X must hold or yield numeric arrays or tensors, as x or (x, y); got "
                f"{type(sample).__name__}. Give a Dataset a transform that returns "
                "tensors."
            )
    tensors = [as_tensor(sample) for sample in samples]
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1:
        raise ValueError(
            "X must hold samples of one shape; got "
            f"{' and '.join(map(str, sorted(shapes)[:3]))}. Pad or crop them."
        )
    return torch.stack(tensors)


def as_tensor(sample: Any) -> Tensor:
    """Return a sample as a tensor, of an array a copy."""
    if isinstance(sample, np.ndarray):
        # A native copy: torch takes no other byte order, strides or read-only memory.
        native = sample.dtype.newbyteorder("=")
        return torch.from_numpy(np.array(sample, dtype=native, order="C"))
    return torch.as_tensor(sample)


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
        raise ValueError(NO_SAMPLES)
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


NO_SAMPLES = "X must hold at least one sample; got an empty data set."


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


class Pieces:
    """Cuts samples into as many at a time as memory holds.

    Parameters
    ----------
    batch_size : int
        How many at first; halved with a warning when memory runs out, for good.
    device : torch.device
        Where that happens.
    """

    def __init__(self, batch_size: int, device: torch.device) -> None:
        self.batch_size = batch_size
        self.device = device

    def __call__(self, compute: Callable[[Any, int], Any], raw: Any) -> Iterator[Any]:
        """Yield the results for consecutive pieces.

        ``compute`` takes a piece and the number of its first sample, and is called
        anew with a smaller one if memory runs out.
        """
        start = 0
        while start < len(raw):
            piece = raw[start : start + self.batch_size]
            result = _unless_out_of_memory(compute, piece, start)
            if result is None:
                self.batch_size = _halved(len(piece), self.device)
                continue
            yield result
            start += len(piece)


def _unless_out_of_memory(
    compute: Callable[[Any, int], Any], piece: Any, start: int
) -> Any:
    """Return the result for some samples, None if they are too many for the memory.

    The error is dropped here, and with it the tensors that its frames hold.
    """
    try:
        return compute(piece, start)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(piece) == 1:
            say_way_out(error)
            raise
        return None


# Allocations fail in many ways, few of which have a type of their own.
_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate",
    "alloc_failed",
)


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(words in str(error).lower() for words in _OUT_OF_MEMORY)


_TOO_LARGE = (
    "Not even one or two samples at a time fit into the memory. Free some (other "
    "programs, other models), take another device, such as device='cpu', or a smaller "
    "model or inputs."
)


def say_way_out(error: Exception) -> None:
    """Say once what to do where batches cannot be made smaller."""
    if _TOO_LARGE not in getattr(error, "__notes__", []):
        error.add_note(_TOO_LARGE)


def _halved(n_samples: int, device: torch.device) -> int:
    """Return half as many samples, and say so."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    half = (n_samples + 1) // 2
    warn(
        f"Out of memory on {device} with {n_samples} samples at a time; going on with "
        f"{half}. Set batch_size={half} to spare the attempt.",
        RuntimeWarning,
    )
    return half


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
    return _stacked(
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
