"""Inputs X as people pass them: valid ones and wrong ones.

Each is made from a float32 array of images or rows.
"""

from tempfile import TemporaryFile
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
)


class Valid(NamedTuple):
    """The input ``X`` gives the result of the plain array ``twin``."""

    X: object
    twin: np.ndarray


class Wrong(NamedTuple):
    """The input ``X`` raises an error whose message matches ``match``."""

    X: object
    match: str


class Yields(Dataset):
    """A Dataset whose samples are what a function returns for their index."""

    def __init__(self, n_samples, function):
        self.n_samples, self.function = n_samples, function

    def __len__(self):
        return self.n_samples

    def __getitem__(self, index):
        return self.function(index)


class Stream(IterableDataset):
    """A stream of what a function returns each time that it is read."""

    def __init__(self, start):
        self.start = start

    def __iter__(self):
        return self.start()


class Turning(Sampler):
    """A sampler that turns its order around each time."""

    def __init__(self, n_samples):
        self.order = list(range(n_samples))

    def __len__(self):
        return len(self.order)

    def __iter__(self):
        self.order = self.order[::-1]
        return iter(self.order)


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
    """Return inputs that are valid wherever arrays are."""
    bits = (X > 0.5).astype(np.float32)
    backwards = np.ascontiguousarray(X[::-1, ..., ::-1])[::-1, ..., ::-1]
    return {
        "float64": Valid(X.astype(np.float64), X),
        "float16": Valid(X.astype(np.float16), X),
        "big-endian": Valid(X.astype(">f4"), X),
        "integers": Valid(bits.astype(np.int64), bits),
        "uint8": Valid(bits.astype(np.uint8), bits),
        "booleans": Valid(bits.astype(bool), bits),
        "objects, all numbers": Valid(X.astype(object), X),
        "nested lists": Valid(X.tolist(), X),
        "list of arrays": Valid(list(X), X),
        "Fortran order": Valid(np.asfortranarray(X), X),
        "negative strides": Valid(backwards, X),
        "read-only": Valid(readonly(X), X),
        "memmap": Valid(memmap(X), X),
        "masked array, nothing masked": Valid(np.ma.MaskedArray(X), X),
        "tensor": Valid(torch.from_numpy(X), X),
        "tensor, float64": Valid(torch.from_numpy(X).double(), X),
        "tensor, float16": Valid(torch.from_numpy(X).half(), X),
        "tensor, bfloat16": Valid(torch.from_numpy(X).bfloat16(), X),
        "tensor, integers": Valid(torch.from_numpy(bits).long(), bits),
        "tensor, booleans": Valid(torch.from_numpy(bits).bool(), bits),
        "tensor, not contiguous": Valid(torch.from_numpy(X).mT.contiguous().mT, X)
        if X.ndim > 2
        else Valid(torch.from_numpy(X.T.copy()).T, X),
        "tensor that requires grad": Valid(torch.from_numpy(X).requires_grad_(), X),
        "tensor of inference mode": Valid(in_inference_mode(X), X),
        "list of tensors": Valid(list(torch.from_numpy(X)), X),
    }


def frames(X):
    """Return data frames, of rows only."""
    frame = pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])
    missing = frame.astype("Float64")
    missing.iloc[1, 1] = pd.NA
    return {
        "data frame": Valid(frame, X),
        "data frame, nullable": Valid(frame.astype("Float64"), X),
        "data frame, missing value": Wrong(missing, "NaN"),
        "data frame, text column": Wrong(
            frame.astype(object).assign(c1="cat"), "numeric.*object"
        ),
    }


def datasets(X):
    """Return torch Datasets, valid where a model reads batch by batch."""
    tensor, rows = torch.from_numpy(X), iter(torch.from_numpy(X))
    labels = torch.zeros(len(X), dtype=torch.long)
    text = "must hold or yield numeric.*str"
    return {
        "Dataset of x": Valid(TensorDataset(tensor), X),
        "Dataset of (x, y)": Valid(TensorDataset(tensor, labels), X),
        "Dataset of arrays": Valid(Yields(len(X), lambda i: X[i]), X),
        "Subset of a Dataset": Valid(Subset(TensorDataset(tensor), range(len(X))), X),
        "IterableDataset": Valid(Stream(lambda: iter(tensor)), X),
        "DataLoader of x": Valid(DataLoader(TensorDataset(tensor), 2), X),
        "DataLoader of (x, y)": Valid(
            DataLoader(TensorDataset(tensor, labels), batch_size=3), X
        ),
        "DataLoader, custom collate": Valid(
            DataLoader(Yields(len(X), lambda i: X[i]), collate_fn=np.stack), X
        ),
        "DataLoader of a stream": Valid(DataLoader(Stream(lambda: iter(tensor)), 2), X),
        "DataLoader of batches": Valid(
            DataLoader(
                Yields(len(X), lambda i: tensor[i : i + 1]),
                batch_size=None,
            ),
            X,
        ),
        "DataLoader, backwards": Valid(
            DataLoader(TensorDataset(tensor), sampler=range(len(X))[::-1]), X[::-1]
        ),
        "DataLoader, batch sampler": Valid(
            DataLoader(
                TensorDataset(tensor),
                batch_sampler=[[0], range(1, len(X))],
            ),
            X,
        ),
        "DataLoader, shuffled": Wrong(
            DataLoader(TensorDataset(tensor), shuffle=True),
            "fixed order.*shuffle=False",
        ),
        "DataLoader, shuffled batches": Wrong(
            DataLoader(
                TensorDataset(tensor),
                batch_sampler=BatchSampler(RandomSampler(X), 2, drop_last=False),
            ),
            "fixed order.*shuffle=False",
        ),
        "DataLoader, another order each time": Wrong(
            DataLoader(TensorDataset(tensor), sampler=Turning(len(X))),
            "fixed order.*another order each time.*shuffle=False",
        ),
        "DataLoader, incomplete": Wrong(
            DataLoader(TensorDataset(tensor), batch_size=2, drop_last=True),
            "every sample.*drop_last=False",
        ),
        "DataLoader of dicts": Wrong(
            DataLoader(Yields(len(X), lambda i: {"x": X[i]})),
            "one array of inputs here|shape.*{'x'",
        ),
        "DataLoader, empty": Wrong(
            DataLoader(TensorDataset(tensor[:0])), "at least one.*got.*empty"
        ),
        "DataLoader, one reading": Wrong(
            DataLoader(Stream(lambda: rows)), "start again.*Return a new one"
        ),
        "IterableDataset, one reading": Wrong(
            Stream(lambda: rows), "start again.*Return a new one"
        ),
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


def with_value(X, value, dtype=np.float64):
    """Return X with a value in its second sample."""
    X = X.astype(dtype)
    X[1, ..., 0] = value
    return X


def wrong_numbers(X):
    """Return arrays of unusable numbers or of a wrong shape."""
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
        "NaN": Wrong(with_value(X, np.nan), "NaN"),
        "infinity": Wrong(with_value(X, np.inf), "infinity"),
        "-infinity": Wrong(with_value(X, -np.inf), "infinity"),
        "NaN among objects": Wrong(with_value(X, np.nan, object), "NaN"),
        "None among objects": Wrong(with_value(X, None, object), "NaN"),
        "masked array": Wrong(np.ma.masked_less(X, 0.3), "mask"),
        "sparse matrix": Wrong(sp.csr_matrix(X.reshape(len(X), -1)), "(?i)sparse"),
        "sparse array": Wrong(sp.coo_array(X.reshape(len(X), -1)), "(?i)sparse"),
        "tensor, complex": Wrong(torch.from_numpy(X).cfloat(), "(?i)complex"),
        "tensor, sparse": Wrong(torch.from_numpy(X).to_sparse(), "sparse.*to_dense"),
        "tensor, nested": Wrong(
            torch.nested.nested_tensor(list(torch.from_numpy(X)), layout=torch.jagged),
            "nested tensor.*Pad",
        ),
        "tensor, meta device": Wrong(torch.from_numpy(X).to("meta"), "meta"),
        "tensor, NaN": Wrong(torch.from_numpy(with_value(X, np.nan)), "NaN"),
    }


def wrong_kinds(X):
    """Return objects that hold no numbers."""
    text = X.astype(str)
    mixed = with_value(X, "a cat", object)
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
        "dict": Wrong({"x": X}, "dict|shape.*{'x'"),
        "set": Wrong({1.0, 2.0}, "set"),
        "generator": Wrong((x for x in X), "generator"),
        "function": Wrong(lambda: X, "function"),
    }


def all_inputs(X):
    """Return all inputs that are made from X, by name."""
    entries = arrays(X) | wrong_numbers(X) | wrong_kinds(X) | datasets(X)
    return entries | frames(X) if X.ndim == 2 else entries


def one_of_each_kind(X):
    """Return a few wrong inputs that any validator must reject, by name."""
    return {
        "None": None,
        "NaN": with_value(X, np.nan),
        "ragged": [[1.0, 2.0], [3.0]],
        "Dataset of text": Yields(len(X), lambda i: "a cat"),
        "too many channels": np.repeat(X, 2, axis=1),
    }
