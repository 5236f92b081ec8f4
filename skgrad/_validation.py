"""The only checks of inputs of networks; those of labels are in `_labels`.

Each check takes the name of the parameter, so that a message speaks of what the user
wrote, and returns the value in the form in which the package uses it.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from ._conversion import as_tensor
from .torch_engine.restoring import generators_restored

Data = np.ndarray | Tensor | Dataset | DataLoader

# What is read sample by sample; anything else is cut.
DATASETS = (Dataset, DataLoader)

_RANDOM_SAMPLERS = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)

# numpy's letters for the dtypes of text, raw bytes and times.
NOT_NUMERIC = "USVMm"

_TO_ONE_SHAPE = (
    "Pad or crop them. For sequences, torch.nn.utils.rnn.pad_sequence does so; give "
    "the model their mask too, as {'input_ids': ids, 'attention_mask': mask}, or a "
    "DataLoader with a collate_fn that returns this for each batch."
)


def check_inputs(X: Any, *, name: str = "X") -> Any:
    """Return inputs of a network in a form that can be cut into batches.

    Lists become arrays; nothing else is converted or copied. Unless it is one of
    `DATASETS`, the result is numeric, not empty and at least two-dimensional. Raises
    TypeError if ``X`` holds no samples or is sparse, ValueError if its values or its
    shape are not valid, if it is a stream that cannot be read twice, or a DataLoader
    that does not give every sample in a fixed order.
    """
    if isinstance(X, DataLoader):
        _check_loader(X, name)
        _check_dataset(X.dataset, name)
        return X
    if isinstance(X, Dataset):
        return _check_dataset(X, name)
    return _check_filled(check_numbers(X, name=name), name)


def _check_filled(X: Any, name: str) -> Any:
    """Raise unless X has samples, and samples of one value or more."""
    if len(X.shape) < 2 or X.shape[0] == 0:
        raise ValueError(
            f"{name} must be of shape (n_samples, *input_shape) with at least one "
            f"sample; got shape {tuple(X.shape)}. Reshape your data: a single sample x "
            "is x[None]. Class labels are not inputs."
        )
    if 0 in X.shape:
        raise ValueError(
            f"{name} must hold samples of at least one value; got 0 feature(s) "
            f"(shape={tuple(X.shape)}) while a minimum of 1 is required. Look for an "
            "empty slice or selection of columns."
        )
    return X


class SparseRows(Dataset):
    """The rows of a sparse matrix, made dense as they are read."""

    def __init__(self, X: Any) -> None:
        self._rows = X.tocsr()
        self.shape = X.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        return self._rows[[index]].toarray()[0]


def sparse_as_dataset(X: Any, *, name: str = "X") -> Any:
    """Return a sparse matrix (n_samples, n_features) as a Dataset, others as they are.

    One-hot columns are often too many for a dense matrix of all rows.
    """
    if not issparse(X) or X.ndim != 2:
        return X
    _check_numeric(X, name)
    return SparseRows(_check_filled(X, name))


def check_numbers(X: Any, *, name: str = "X") -> Any:
    """Return numbers of any shape, lists as an array; see `check_inputs`."""
    if hasattr(X, "with_format"):  # a dataset of Hugging Face, which has a shape too
        raise TypeError(
            f"{name} must be an array, a tensor, nested lists, a torch Dataset or a "
            f"DataLoader; got {type(X).__name__} of {type(X).__module__}. Keep the "
            f"columns that the model takes and give DataLoader({name}.with_format("
            "'torch'), batch_size=128)."
        )
    if issparse(X):
        raise TypeError(
            f"{name} must be dense; got sparse data. Use {name}.toarray(), in "
            "a pipeline FunctionTransformer(operator.methodcaller('toarray')), or "
            "sparse_output=False of an encoder."
        )
    if isinstance(X, Tensor) and X.is_nested:  # has no shape to ask for
        raise ValueError(
            f"{name} must be rectangular, every sample of the same shape; got a nested "
            f"tensor. {_TO_ONE_SHAPE}"
        )
    if not hasattr(X, "shape"):
        X = _from_list(X, name)
    _check_numeric(X, name)
    if isinstance(X, Tensor):
        check_dense(X, name)
    return X


def check_dense(X: Tensor, name: str) -> None:
    """Raise unless a tensor is dense and has values."""
    if X.layout != torch.strided or X.is_meta:
        way_out = "Load its values first" if X.is_meta else "Use to_dense()"
        raise ValueError(
            f"{name} must be a dense tensor with values; got layout {X.layout} on "
            f"{X.device}. {way_out}."
        )


def _check_numeric(X: Any, name: str) -> None:
    """Raise unless X holds real numbers, all of them known."""
    dtype = getattr(X, "dtype", "object")
    if _kind(X) == "O" and isinstance(X, np.ndarray) and _is_ragged(X):
        raise ValueError(_ragged(X, name))
    if _kind(X) in NOT_NUMERIC or not _converts(X, name):
        raise ValueError(
            f"{name} must be numeric, of shape (n_samples, *input_shape); got dtype "
            f"{dtype}. Load and encode the inputs as the model was trained on them; "
            "texts are tokenized first, and the token ids given."
        )
    if _kind(X) == "c":
        raise ValueError(
            f"{name} must be real. Complex data not supported: got {dtype}."
        )
    if np.ma.is_masked(X):
        # numpy would pass on what lies under the mask.
        raise ValueError(
            f"{name} must have no masked values; got {np.ma.count_masked(X)} of them. "
            f"Fill them with {name}.filled(value), or leave such samples out."
        )


def _kind(X: Any) -> str:
    """Return numpy's letter for the kind of dtype of X, "f" where it has none."""
    if isinstance(X, Tensor):
        return "c" if X.is_complex() else "f"
    if hasattr(X, "dtypes"):  # a data frame, whose columns may be of any kind
        return "O"
    return getattr(getattr(X, "dtype", None), "kind", "f")


def _converts(X: Any, name: str) -> bool:
    """Return True unless X is of objects that are not numbers."""
    if _kind(X) != "O":
        return True
    try:
        np.asarray(X, dtype=float)
    except (ValueError, OverflowError):  # words; whole numbers beyond all floats
        return False
    except TypeError as error:
        if "NAType" in str(error):  # pandas' missing number, reported as NaN later
            return True
        way_out = ""
        if "'dict'" in str(error):
            way_out = " Put samples that are dicts into one dict of arrays."
        raise TypeError(f"{name} must hold numbers: {error}.{way_out}") from error
    return True


def _check_dataset(dataset: Dataset, name: str) -> Dataset:
    if isinstance(dataset, IterableDataset):
        if iter(dataset) is iter(dataset):
            raise ValueError(
                f"{name} must start again each time it is iterated; this "
                "IterableDataset gives the same iterator again. Return a new one from "
                "__iter__."
            )
    elif not hasattr(dataset, "__len__"):
        raise TypeError(
            f"{name} must have a length; {type(dataset).__name__} has no __len__. Add "
            "one, or make it an IterableDataset."
        )
    return dataset


def _check_loader(loader: DataLoader, name: str) -> None:
    """Raise if samples are given out of order or left out, as far as can be seen."""
    inner = getattr(loader.batch_sampler, "sampler", None)
    shuffles = any(
        isinstance(sampler, _RANDOM_SAMPLERS) or getattr(sampler, "shuffle", False)
        for sampler in (loader.sampler, loader.batch_sampler, inner)
    )
    for wrong, what, way_out in (
        (shuffles, "draws its order at random", "shuffle=False"),
        # Before torch 2.7 there is no such attribute.
        (not getattr(loader, "in_order", True), "gives any order", "in_order=True"),
        (
            getattr(loader.batch_sampler, "drop_last", False),
            "leaves out the last samples",
            "drop_last=False",
        ),
    ):
        if wrong:
            raise ValueError(_not_in_order(name, what, way_out))
    # Last, as it draws from a sampler's own generator, if there is one.
    if _order_varies(loader):
        what = "has another order each time"
        raise ValueError(_not_in_order(name, what, "shuffle=False"))


def _order_varies(loader: DataLoader) -> bool:
    """Return True if a loader's sampler gives other indices the second time."""
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return False
    with generators_restored(torch.device("cpu")):
        order, again = (
            list(chain.from_iterable(loader.batch_sampler)) for _ in range(2)
        )
    return order != again


def _not_in_order(name: str, what: str, way_out: str) -> str:
    return (
        f"{name} must give every sample in a fixed order, because answers are in the "
        f"order of reading; this DataLoader {what}. Make one with {way_out}."
    )


def _from_list(X: Any, name: str) -> np.ndarray | Tensor:
    if isinstance(X, (list, tuple)) and X and isinstance(X[0], Tensor):
        return stack_samples(X, name=name)
    if not (isinstance(X, (list, tuple, str, bytes)) or hasattr(X, "__array__")):
        raise TypeError(
            f"{name} must be an array, a tensor, nested lists, a torch Dataset or a "
            f"DataLoader; got {type(X).__name__}. {_instead_of(X)}"
        )
    try:
        return np.asarray(X)
    except ValueError as error:
        raise ValueError(_ragged(X, name)) from error


def _is_ragged(X: np.ndarray) -> bool:
    """Return True for an array of sequences in place of numbers."""
    return X.ndim == 1 and all(isinstance(x, (list, tuple, np.ndarray)) for x in X)


def _ragged(X: Any, name: str) -> str:
    return (
        f"{name} must be rectangular, every sample of the same shape; got a ragged "
        f"{type(X).__name__}. {_TO_ONE_SHAPE} Of pairs (x, y), give the x."
    )


def _instead_of(X: Any) -> str:
    """Return a sentence on what to give in place of an X that holds no samples."""
    if isinstance(X, Mapping):
        return "Give the entry that holds the inputs."
    if hasattr(X, "getpixel"):  # an image of PIL
        return "Give transform(x)[None], with the transform of the model's training."
    return "Collect the samples in one of these."


def stack_samples(samples: Sequence[Any], *, name: str = "X") -> Tensor:
    """Make one batch of samples, each an array, a tensor or a number."""
    # Looking at each sample takes longer than stacking them, so what is wrong with one
    # is looked for when that fails.
    with suppress(TypeError, ValueError, RuntimeError):
        if isinstance(samples[0], np.ndarray):
            return torch.from_numpy(np.stack(samples))
        return torch.stack(list(samples))
    tensors = [as_tensor(numeric(sample, name)) for sample in samples]
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1:
        same_axes = len({len(shape) for shape in shapes}) == 1
        raise ValueError(
            f"{name} must hold samples of one shape; got "
            f"{' and '.join(map(str, sorted(shapes)[:3]))}. "
            + (_TO_ONE_SHAPE if same_axes else "Of a pair (x, y), give x alone.")
        )
    return torch.stack(tensors)


def numeric(sample: Any, name: str) -> Any:
    """Return an entry of a Dataset; raise unless it is an array or a number."""
    known = isinstance(sample, (np.ndarray, np.number, Tensor, int, float))
    if not known or _kind(sample) in NOT_NUMERIC + "O":
        raise TypeError(
            f"{name} must hold or yield numeric arrays or tensors, as x or (x, y); "
            f"got {type(sample).__name__}. Give a Dataset a transform that returns "
            "tensors."
        )
    return sample


def dataset_name(X: Dataset | DataLoader) -> str:
    """Return what a message calls one of `DATASETS`."""
    return f"the {'Dataset ' * isinstance(X, Dataset)}{type(X).__name__}"


def no_samples(name: str = "X") -> str:
    """Return the message for a data set that turned out to be empty."""
    return f"{name} must hold at least one sample; got an empty data set."


def check_not_empty(X: Any, name: str, content: str) -> None:
    """Raise if a part of the data that is needed is empty."""
    if not len(X):
        raise ValueError(f"{name} must hold {content}, at least one; got none.")
