"""The only checks of what users give: inputs, matrices, labels and column names.

Each check takes the name of the parameter, so that a message speaks of what the user
wrote, and returns the value in the form in which the package uses it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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

from ._compat import get_feature_names
from ._messages import brief

Data = np.ndarray | Tensor | Dataset | DataLoader

# What is read sample by sample; anything else is cut.
DATASETS = (Dataset, DataLoader)

_RANDOM_SAMPLERS = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)

# numpy's letters for the dtypes of text, raw bytes and times.
_NOT_NUMERIC = "USVMm"


_TO_ONE_SHAPE = (
    "Pad or crop them. For sequences, torch.nn.utils.rnn.pad_sequence does so; give "
    "the model their mask too, as {'input_ids': ids, 'attention_mask': mask}."
)


# Inputs of a network


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
    X = check_numbers(X, name=name)
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
            f"{name} must be dense; got sparse data. Use {name}.toarray(), or "
            "sparse_output=False of an encoder."
        )
    if not hasattr(X, "shape"):
        X = _from_list(X, name)
    _check_numeric(X, name)
    if isinstance(X, Tensor):
        _check_dense(X, name)
    return X


def _check_dense(X: Tensor, name: str) -> None:
    if X.layout != torch.strided or X.is_meta:
        way_out = "Load its values first" if X.is_meta else "Use to_dense()"
        raise ValueError(
            f"{name} must be a dense tensor with values; got layout {X.layout} on "
            f"{X.device}. {way_out}."
        )


def _check_numeric(X: Any, name: str) -> None:
    """Raise unless X holds real numbers, all of them known."""
    dtype = getattr(X, "dtype", "object")
    if _kind(X) in _NOT_NUMERIC or not _converts(X, name):
        raise ValueError(
            f"{name} must be numeric, of shape (n_samples, *input_shape); got dtype "
            f"{dtype}. Load and encode the inputs as the model was trained on them."
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
    except ValueError:
        return False
    except TypeError as error:
        if "NAType" in str(error):  # pandas' missing number, reported as NaN later
            return True
        raise TypeError(f"{name} must hold numbers: {error}") from error
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
            raise ValueError(
                f"{name} must give every sample in a fixed order, because answers are "
                f"in the order of reading; this DataLoader {what}. Make one with "
                f"{way_out}."
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
        raise ValueError(
            f"{name} must be rectangular, every sample of the same shape; got a ragged "
            f"{type(X).__name__}. {_TO_ONE_SHAPE} Of pairs (x, y), give the x."
        ) from error


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
    if not known or _kind(sample) in _NOT_NUMERIC + "O":
        raise TypeError(
            f"{name} must hold or yield numeric arrays or tensors, as x or (x, y); "
            f"got {type(sample).__name__}. Give a Dataset a transform that returns "
            "tensors."
        )
    return sample


def as_tensor(sample: Any) -> Tensor:
    """Return a sample as a tensor; an array is copied."""
    if isinstance(sample, np.ndarray):
        # A native copy: torch takes no other byte order, strides or read-only memory.
        native = sample.dtype.newbyteorder("=")
        return torch.from_numpy(np.array(sample, dtype=native, order="C"))
    return torch.as_tensor(sample)


def dataset_name(X: Dataset | DataLoader) -> str:
    """Return what a message calls one of `DATASETS`."""
    return f"the {'Dataset ' * isinstance(X, Dataset)}{type(X).__name__}"


def no_samples(name: str = "X") -> str:
    """Return the message for a data set that turned out to be empty."""
    return f"{name} must hold at least one sample; got an empty data set."


def all_finite(values: Tensor) -> bool:
    """Return True if no value is NaN or infinite."""
    # The sum is finite only if all values are, and takes a fraction of the time. It may
    # overflow where they are, so then each value decides.
    total = values.sum(dtype=torch.float32 if values.dtype == torch.half else None)
    return math.isfinite(total.item()) or bool(torch.isfinite(values).all())


class NotFiniteError(ValueError):
    """Inputs hold NaN or infinity: those in ``rows`` of the X that was given."""

    def __init__(self, message: str, rows: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.rows = rows


def check_batch_finite(batch: Tensor, name: str) -> None:
    """Raise NotFiniteError, with rows of the batch, if a value is NaN or infinite."""
    if not all_finite(batch):
        finite = torch.isfinite(batch.reshape(len(batch), -1)).all(dim=1)
        raise NotFiniteError(
            f"{name} must be finite in the model's {batch.dtype}; it contains NaN, "
            "infinity or a value too large for that type. Impute, remove or rescale "
            "them.",
            (~finite).nonzero().flatten().tolist(),
        )


@contextmanager
def rows_named() -> Iterator[None]:
    """Add the rows to the message of a NotFiniteError, where X is the user's own."""
    try:
        yield
    except NotFiniteError as error:
        rows = error.rows
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        raise ValueError(
            f"{error} The first are in row{'s' * (len(rows) > 1)} "
            f"{', '.join(map(str, rows[:5]))}{more} of X."
        ) from error


def check_finite(X: np.ndarray, name: str) -> None:
    """Raise if an array of inputs holds NaN or infinity, and say where the first is."""
    finite = np.isfinite(X).all(axis=tuple(range(1, X.ndim)))
    if not finite.all():
        raise ValueError(
            f"{name} must be finite; got NaN or infinity in {np.sum(~finite)} of "
            f"{len(X)} inputs, first in number {np.argmin(finite)}. Leave them out."
        )


def check_not_empty(X: Any, name: str, content: str) -> None:
    """Raise if a part of the data that is needed is empty."""
    if not len(X):
        raise ValueError(f"{name} must hold {content}, at least one; got none.")


def check_bounds(bounds: Any, shape: tuple, place: dict) -> tuple[Tensor, Tensor]:
    """Return the lowest and highest valid values, tensors that broadcast to a sample.

    ``place`` holds the device and dtype of the model.
    """
    try:
        low, high = (as_tensor(to_array(b, "bounds")).to(**place) for b in bounds)
        fits = torch.broadcast_shapes(low.shape, high.shape, shape) == shape
    except (TypeError, ValueError, RuntimeError):
        fits = False
    if not fits:
        raise ValueError(
            "bounds must be a pair (lowest, highest) of numbers, or of arrays that "
            f"broadcast to one sample of shape {shape}; got {brief(bounds)}."
        )
    if not (low < high).all():
        raise ValueError(f"bounds must have lowest < highest; got {brief(bounds)}.")
    return low, high


def check_within(x: Tensor, low: Tensor, high: Tensor) -> None:
    """Raise if inputs lie beyond the bounds."""
    # Normalised inputs may lie beyond by rounding.
    slack = torch.nan_to_num(1e-5 * (high - low), posinf=0.0)
    if (x < low - slack).any() or (x > high + slack).any():
        raise ValueError(
            f"X must lie within bounds; it spans [{x.min():.4g}, {x.max():.4g}], they "
            f"[{low.min():.4g}, {high.max():.4g}]. Give bounds=, those of the inputs "
            "that the model takes, after any normalisation."
        )


# Matrices of features


def check_matrix(X: Any, *, name: str = "X") -> Any:
    """Return a feature matrix (n_samples, n_features) as scikit-learn takes it.

    The result is an ndarray or data frame of real numbers, not checked for NaN and
    infinity. Raises TypeError if ``X`` is one of `DATASETS`, sparse, or holds no
    samples, else
    ValueError.
    """
    valid = f"{name} must be a matrix of features, of shape (n_samples, n_features)"
    transformer_hint = (
        "For inputs of a model, put a transformer such as LayerActivationTransformer "
        "before the detector."
    )
    if isinstance(X, DATASETS):
        raise TypeError(f"{valid}; got {dataset_name(X)}. {transformer_hint}")
    shape = getattr(X, "shape", None)
    if shape is not None and len(shape) == 1:
        raise ValueError(
            f"{valid}; got shape {tuple(shape)}. Reshape your data: one sample x is "
            "x[None], one feature x[:, None]."
        )
    X = check_inputs(X, name=name)
    if len(X.shape) != 2:
        raise ValueError(f"{valid}; got shape {tuple(X.shape)}. {transformer_hint}")
    return to_numpy(X) if isinstance(X, Tensor) else X


def column_names(X: Any) -> list | None:
    """Return the column names of a FeatureArray or data frame, None if it has none."""
    names = getattr(X, "feature_names", None)
    if names is None and not isinstance(X, np.ndarray):
        names = get_feature_names(X)
    return None if names is None else list(names)


# Labels, scores and other values, one per sample


def to_numpy(tensor: Tensor) -> np.ndarray:
    """Return a tensor of any device and dtype as an array, bfloat16 as float32.

    numpy has no bfloat16, and takes no tensor that autograd watches.
    """
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy(
        force=True
    )


def to_array(values: Any, name: str) -> np.ndarray:
    """Return values, one or more per sample, as an array.

    Raises TypeError if they are one of `DATASETS`, ValueError if they are ragged,
    masked, or a tensor without values.
    """
    if isinstance(values, DATASETS):  # numpy would iterate over it, perhaps forever
        raise TypeError(
            f"{name} must be an array of one value per sample; got "
            f"{dataset_name(values)}. Stack its values first."
        )
    if np.ma.is_masked(values):  # numpy would pass on what lies under the mask
        raise ValueError(
            f"{name} must have no masked values; got {np.ma.count_masked(values)} of "
            "them. Leave such samples out."
        )
    if isinstance(values, Tensor):
        _check_dense(values, name)
        return to_numpy(values)
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name} must hold one value per sample; got a ragged "
            f"{type(values).__name__}."
        ) from error


def distinct(labels: np.ndarray) -> list:
    """Return the distinct labels of an array, also those of mixed types."""
    try:
        return np.unique(labels).tolist()
    except TypeError:  # text among numbers has no order
        return sorted(map(str, set(map(str, labels.ravel().tolist()))))


def check_per_sample(values: Any, n_samples: int, name: str) -> np.ndarray:
    """Return values as an array of shape (n_samples,)."""
    values = to_array(values, name)
    if values.shape != (n_samples,):
        raise ValueError(
            f"{name} must hold one value for each of the {n_samples} samples, shape "
            f"({n_samples},); got shape {values.shape}."
        )
    return values


def check_classes(
    y: Any, n_samples: int, name: str, *, n_classes: int | None = None
) -> np.ndarray:
    """Return class labels, whole numbers, as an array of int64 (n_samples,).

    With ``n_classes`` they must lie between 0 and ``n_classes - 1``.
    """
    y = check_per_sample(y, n_samples, name)
    whole = y.dtype.kind in "biuf" and (np.isfinite(y) & (y == np.floor(y))).all()
    if not whole:
        raise ValueError(
            f"{name} must hold classes as whole numbers, as the model's logits are "
            f"numbered; got {distinct(y)[:5]} of dtype {y.dtype}."
        )
    y = y.astype(np.int64)
    if n_classes is not None and n_samples and (y.min() < 0 or y.max() >= n_classes):
        raise ValueError(
            f"{name} must hold classes 0 to {n_classes - 1}, as the model has "
            f"{n_classes} logits; got {y.min()} to {y.max()}."
        )
    return y


def check_signs(y: Any, n_samples: int, name: str, *, both: bool = False) -> np.ndarray:
    """Return labels +1 (in-distribution) and -1 (anomalies) as an array (n_samples,).

    Some must be +1, and with ``both`` some must be -1 too.
    """
    y = to_array(y, name)
    labels = distinct(y)
    if y.shape != (n_samples,) or set(labels) - {1, -1}:
        raise ValueError(
            f"{name} must hold +1 (in-distribution) or -1 (anomaly) for each of the "
            f"{n_samples} inputs; got shape {y.shape} with values "
            f"{brief(labels[:5])}.{_signs_hint(labels)}"
        )
    for sign, kind in ((1, "in-distribution"), (-1, "anomalies")):
        if (sign == 1 or both) and sign not in labels:
            raise ValueError(
                f"{name} must label some inputs {sign:+d}, {kind}; all {n_samples} are "
                f"{-sign:+d}. In cross-validation, NoveltyKFold tests on both kinds."
            )
    return y.astype(np.int64)


def _signs_hint(labels: list) -> str:
    if labels == [0, 1]:
        return (
            " Where 0 means in-distribution, give np.where(y == 0, 1, -1); where 1 "
            "does, np.where(y == 1, 1, -1)."
        )
    return ""


def check_scores(
    scores: Any, name: str, n_samples: int | None = None, *, empty: bool = False
) -> np.ndarray:
    """Return scores as an array of float64 (n_samples,) without NaN.

    ``n_samples`` None accepts any number of them, ``empty`` also none.
    """
    values = to_array(scores, name)
    if n_samples is not None:
        values = check_per_sample(values, n_samples, name)
    if values.ndim != 1 or values.dtype.kind in _NOT_NUMERIC + "c":
        raise ValueError(
            f"{name} must hold numbers, shape (n_samples,); got dtype {values.dtype} "
            f"of shape {values.shape}."
        )
    try:
        values = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers: {error}") from error
    if np.isnan(values).any() or not (len(values) or empty):
        raise ValueError(
            f"{name} must hold {'numbers' if empty else 'at least one number'} and no "
            f"NaN; got {len(values)} values, {np.isnan(values).sum()} of them NaN."
        )
    return values
