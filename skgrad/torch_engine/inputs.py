"""The one door for inputs: what may be given as X, and what is refused how."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

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
            "x[None]. Class labels are no inputs."
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
        return stacked(X)
    if not (isinstance(X, (list, tuple, str, bytes)) or hasattr(X, "__array__")):
        raise TypeError(
            "X must be an array, a tensor, nested lists or a torch Dataset; got "
            f"{type(X).__name__}. {_way_out_of(X)}"
        )
    try:
        return np.asarray(X)
    except ValueError as error:
        raise ValueError(
            "X must be rectangular, every sample of the same shape; got a ragged "
            f"{type(X).__name__}. Pad or crop the samples to one shape; of pairs "
            "(x, y), give the x."
        ) from error


def _way_out_of(X: Any) -> str:
    """Tell what to give in place of an X that holds no samples."""
    if isinstance(X, DataLoader):
        return "Give its dataset: skgrad makes its own batches."
    if isinstance(X, Mapping):
        return "Give the entry that holds the inputs."
    if hasattr(X, "getpixel"):  # a picture of PIL
        return "Give transform(x)[None], with the transform of the model's training."
    return "Collect the samples in one of these."


def stacked(samples: Sequence[Any]) -> Tensor:
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
        same_axes = len({len(shape) for shape in shapes}) == 1
        raise ValueError(
            "X must hold samples of one shape; got "
            f"{' and '.join(map(str, sorted(shapes)[:3]))}. "
            + ("Pad or crop them." if same_axes else "Of a pair (x, y), give x alone.")
        )
    return torch.stack(tensors)


def as_tensor(sample: Any) -> Tensor:
    """Return a sample as a tensor, of an array a copy."""
    if isinstance(sample, np.ndarray):
        # A native copy: torch takes no other byte order, strides or read-only memory.
        native = sample.dtype.newbyteorder("=")
        return torch.from_numpy(np.array(sample, dtype=native, order="C"))
    return torch.as_tensor(sample)


NO_SAMPLES = "X must hold at least one sample; got an empty data set."
