"""The catalogue of X: what people hand over as inputs, and how it must be answered.

Each entry makes an input from a plain float32 array of images or rows, and says what
is due: a twin, the plain array that gives the same answer, or a refusal.
"""

from dataclasses import dataclass
from tempfile import TemporaryFile

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
)


@dataclass(frozen=True)
class Right:
    """The input ``given`` means the same as the plain array ``twin``."""

    given: object
    twin: np.ndarray


@dataclass(frozen=True)
class Wrong:
    """The input is refused, in words that match ``match``, for what is said or came."""

    given: object
    match: str


class Fails(Dataset):
    """Cannot read its last sample."""

    def __init__(self, X):
        self.X = torch.from_numpy(X)

    def __len__(self):
        return len(self.X)

    def __getitem__(self, index):
        if index == len(self) - 1:
            raise OSError("image file is truncated")
        return self.X[index]


class Yields(Dataset):
    """Gives for each index what a function gives."""

    def __init__(self, n_samples, function):
        self.n_samples, self.function = n_samples, function

    def __len__(self):
        return self.n_samples

    def __getitem__(self, index):
        return self.function(index)


class Once(IterableDataset):
    """A stream that cannot be read twice."""

    def __init__(self, X):
        self.rows = iter(torch.from_numpy(X))

    def __iter__(self):
        return self.rows


class Again(IterableDataset):
    """A stream that can."""

    def __init__(self, X):
        self.X = X

    def __iter__(self):
        return iter(torch.from_numpy(self.X))


def readonly(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def memmap(X):
    with TemporaryFile() as file:
        mapped = np.memmap(file, X.dtype, mode="w+", shape=X.shape)
    mapped[:] = X
    return mapped


def in_inference_mode(X):
    with torch.inference_mode():
        return torch.from_numpy(X.copy())


def arrays(X):
    """Return inputs that are legal wherever arrays are."""
    bits = (X > 0.5).astype(np.float32)
    backwards = np.ascontiguousarray(X[::-1, ..., ::-1])[::-1, ..., ::-1]
    return {
        "float64": Right(X.astype(np.float64), X),
        "float16": Right(X.astype(np.float16), X),
        "longdouble": Right(X.astype(np.longdouble), X),
        "big-endian": Right(X.astype(">f4"), X),
        "integers": Right(bits.astype(np.int64), bits),
        "uint8": Right(bits.astype(np.uint8), bits),
        "booleans": Right(bits.astype(bool), bits),
        "objects, all numbers": Right(X.astype(object), X),
        "nested lists": Right(X.tolist(), X),
        "list of arrays": Right(list(X), X),
        "tuple of arrays": Right(tuple(X), X),
        "Fortran order": Right(np.asfortranarray(X), X),
        "negative strides": Right(backwards, X),
        "read-only": Right(readonly(X), X),
        "memmap": Right(memmap(X), X),
        "broadcast view": Right(
            np.broadcast_to(X[:, :1], X.shape), np.repeat(X[:, :1], X.shape[1], 1)
        ),
        "masked array, nothing masked": Right(np.ma.MaskedArray(X), X),
        "tensor": Right(torch.from_numpy(X), X),
        "tensor, float64": Right(torch.from_numpy(X).double(), X),
        "tensor, float16": Right(torch.from_numpy(X).half(), X),
        "tensor, bfloat16": Right(torch.from_numpy(X).bfloat16(), X),
        "tensor, integers": Right(torch.from_numpy(bits).long(), bits),
        "tensor, booleans": Right(torch.from_numpy(bits).bool(), bits),
        "tensor, not contiguous": Right(torch.from_numpy(X).mT.contiguous().mT, X)
        if X.ndim > 2
        else Right(torch.from_numpy(X.T.copy()).T, X),
        "tensor that requires grad": Right(torch.from_numpy(X).requires_grad_(), X),
        "tensor with a history": Right(torch.from_numpy(X).requires_grad_() * 1, X),
        "tensor of inference mode": Right(in_inference_mode(X), X),
        "list of tensors": Right(list(torch.from_numpy(X)), X),
    }


def frames(X):
    """Return data frames, of rows only."""
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])
    missing = frame.astype("Float64")
    missing.iloc[1, 1] = pd.NA
    return {
        "data frame": Right(frame, X),
        "data frame, nullable": Right(frame.astype("Float64"), X),
        "data frame, missing value": Wrong(missing, "NaN"),
        "data frame, text column": Wrong(
            frame.astype(object).assign(c1="cat"), "numeric.*object"
        ),
    }


def datasets(X):
    """Return torch Datasets, legal where a model reads batch by batch."""
    tensor = torch.from_numpy(X)
    labels = torch.zeros(len(X), dtype=torch.long)
    text = "must hold or yield numeric.*str"
    return {
        "Dataset of x": Right(TensorDataset(tensor), X),
        "Dataset of (x, y)": Right(TensorDataset(tensor, labels), X),
        "Dataset of arrays": Right(Yields(len(X), lambda i: X[i]), X),
        "Subset of a Dataset": Right(Subset(TensorDataset(tensor), range(len(X))), X),
        "ConcatDataset": Right(
            ConcatDataset([TensorDataset(tensor[:5]), TensorDataset(tensor[5:])]), X
        ),
        "IterableDataset": Right(Again(X), X),
        "IterableDataset, one reading": Wrong(Once(X), "start anew.*Return a new one"),
        "Dataset, empty": Wrong(TensorDataset(tensor[:0]), "at least one.*got.*empty"),
        "Dataset, ragged": Wrong(
            Yields(len(X), lambda i: X[i][: 1 + i % 2]), "one shape; got .* and"
        ),
        "Dataset of strings": Wrong(Yields(len(X), lambda i: "a cat"), text),
        "Dataset of None": Wrong(
            Yields(len(X), lambda i: None), "yield numeric.*NoneType"
        ),
        "Dataset of numbers": Wrong(
            Yields(len(X), float), r"single numbers|samples of shape \(\)"
        ),
        "Dataset with NaN": Wrong(
            TensorDataset(torch.full_like(tensor, torch.nan)), "finite.*NaN"
        ),
    }


def spoilt(X, value, dtype=np.float64):
    X = X.astype(dtype)
    X[1, ..., 0] = value
    return X


def wrong_numbers(X):
    """Return arrays of numbers that are none of use, or of a wrong shape."""
    return {
        "scalar": Wrong(1.0, "got float"),
        "one sample without its axis": Wrong(
            X[0, ..., 0].ravel(), r"got shape \(12,|got shape \(1,"
        ),
        "empty": Wrong(X[:0], r"got shape \(0,"),
        "empty list": Wrong([], r"got shape \(0,"),
        "no features": Wrong(X.reshape(len(X), -1)[:, :0], r"0 feature"),
        "ragged list": Wrong([[1.0, 2.0], [3.0]], "ragged list"),
        "complex": Wrong(X.astype(complex), "(?i)complex"),
        "NaN": Wrong(spoilt(X, np.nan), "NaN"),
        "infinity": Wrong(spoilt(X, np.inf), "infinity"),
        "-infinity": Wrong(spoilt(X, -np.inf), "infinity"),
        "NaN among objects": Wrong(spoilt(X, np.nan, object), "NaN"),
        "None among objects": Wrong(spoilt(X, None, object), "NaN"),
        "masked array": Wrong(np.ma.masked_less(X, 0.3), "mask"),
        "sparse matrix": Wrong(sp.csr_matrix(X.reshape(len(X), -1)), "(?i)sparse"),
        "sparse array": Wrong(sp.coo_array(X.reshape(len(X), -1)), "(?i)sparse"),
        "tensor, complex": Wrong(torch.from_numpy(X).cfloat(), "(?i)complex"),
        "tensor, sparse": Wrong(torch.from_numpy(X).to_sparse(), "sparse.*to_dense"),
        "tensor, meta device": Wrong(torch.from_numpy(X).to("meta"), "meta"),
        "tensor, NaN": Wrong(torch.from_numpy(spoilt(X, np.nan)), "NaN"),
    }


def wrong_kinds(X):
    """Return what holds no numbers."""
    text = X.astype(str)
    mixed = spoilt(X, "a cat", object)
    days = np.zeros(X.shape, "datetime64[D]")
    return {
        "None": Wrong(None, "NoneType|none"),
        "string": Wrong("images", "numeric.*got dtype <U"),
        "strings": Wrong(text, "numeric.*got dtype <U"),
        "bytes": Wrong(X.astype("S"), "numeric.*S32"),
        "objects, some text": Wrong(mixed, "numeric.*object"),
        "dates": Wrong(days, "datetime64"),
        "records": Wrong(
            np.zeros((len(X), 2), dtype=[("a", float), ("b", float)]),
            r"numeric",
        ),
        "dict": Wrong({"x": X}, "dict"),
        "set": Wrong({1.0, 2.0}, "set"),
        "generator": Wrong((x for x in X), "generator"),
        "function": Wrong(lambda: X, "function"),
        "DataLoader": Wrong(
            DataLoader(TensorDataset(torch.from_numpy(X))), "DataLoader"
        ),
    }


def catalogue(X):
    """Return all inputs that can be made of X, by name."""
    entries = arrays(X) | wrong_numbers(X) | wrong_kinds(X) | datasets(X)
    return entries | frames(X) if X.ndim == 2 else entries
