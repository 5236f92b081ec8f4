"""Inputs as arrays, what must not be among them, and means of what is there."""

import numpy as np
import torch
from torch.utils.data import Dataset

from ._labels import distinct, one_per_sample
from .torch_engine.inputs import NO_SAMPLES, as_batchable, called
from .torch_engine.samples import count_samples, take_samples

# Some data sets hold a few inputs in both parts by themselves.
_MOST_SEEN = 0.1


def as_array(X, name):
    """Return inputs as one array (n_samples, *input_shape); data sets are read."""
    with called(name):
        if getattr(X, "shape", (1,))[:1] != (0,):  # no anomalies are fine
            X = as_batchable(X)
        if isinstance(X, Dataset):
            n_samples = count_samples(X)
            if not n_samples:
                raise ValueError(NO_SAMPLES)
            X = take_samples(X, np.arange(n_samples))
    if isinstance(X, torch.Tensor):
        bare = X.detach().cpu()
        X = (bare.float() if bare.dtype == torch.bfloat16 else bare).numpy()
    X = np.asarray(X)
    if X.dtype.kind == "O" or X.dtype == np.longdouble:  # torch takes neither
        X = X.astype(np.float64)
    if X.ndim < 2 or X.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must be numbers of shape (n_samples, *input_shape); got shape "
            f"{X.shape} of dtype {X.dtype}."
        )
    return X


def check_not_empty(X, name, what):
    """Refuse an empty part of the data, without which nothing can be judged."""
    if not len(X):
        raise ValueError(f"{name} must hold {what}, at least one; got none.")


def check_finite(X, name):
    """Refuse NaN and infinity, and say where the first is."""
    good = np.isfinite(X).all(axis=tuple(range(1, X.ndim)))
    if not good.all():
        raise ValueError(
            f"{name} must be finite; got NaN or infinity in {np.sum(~good)} of "
            f"{len(X)} inputs, first in number {np.argmin(good)}. Leave them out."
        )


def check_labels(y, X, name):
    """Return the classes of X, or None."""
    if y is None:
        return None
    y = one_per_sample(y, name)
    if y.shape != (len(X),):
        raise ValueError(
            f"{name} must hold one class for each of the {len(X)} inputs; got shape "
            f"{y.shape}."
        )
    if y.dtype.kind not in "biuf" or not (y == np.floor(y)).all():
        raise ValueError(
            f"{name} must hold classes as whole numbers, as the model's logits are "
            f"numbered; got {distinct(y)[:5]} of dtype {y.dtype}."
        )
    return y


def check_held_out(X_test, X_fit):
    """Refuse to judge detectors by the inputs that they are fitted on."""
    dtype = _coarser(X_test.dtype, X_fit.dtype)
    seen = set(row_prints(X_fit, dtype))
    share = np.mean([row in seen for row in row_prints(X_test, dtype)])
    if share > _MOST_SEEN:
        raise ValueError(
            f"X_test must hold other inputs than X_fit; {share:.0%} of it are equal to "
            "some there, and false alarms among these would be too few. Give inputs "
            "that are in one of the two alone, or X_fit=None for folds of X_test."
        )


def check_new(X, known, name, known_name):
    """Refuse anomalies that are, value by value, in-distribution inputs."""
    check_all_new({name: X}, known, known_name)


def check_all_new(others, known, known_name):
    """Do the same for anomalies of several names; the known inputs are read once."""
    prints: dict = {}
    for name, X in others.items():
        if X.shape[1:] != known.shape[1:]:
            raise ValueError(
                f"{name} must have the shape of {known_name}, {known.shape[1:]} per "
                f"input; got {X.shape[1:]}."
            )
        dtype = _coarser(X.dtype, known.dtype)
        if dtype not in prints:
            prints[dtype] = set(row_prints(known, dtype))
        common = set(row_prints(X, dtype)) & prints[dtype]
        if common:
            raise ValueError(
                f"{name} must be none of the inputs in {known_name}; {len(common)} are "
                "equal to the last digit. A table of them would mislead: leave them "
                "out."
            )


def _coarser(one, two):
    """Return the type to compare in: models see no more digits than it has."""
    if one.kind == two.kind == "f":
        return min(one, two, key=lambda dtype: dtype.itemsize)
    return np.result_type(one, two)


def row_prints(X, dtype=None):
    """Return each input as bytes, to compare them by."""
    # Adding zero makes a zero of -0.0, which equals it in all but the bits.
    return [(row + 0).tobytes() for row in np.asarray(X, dtype=dtype)]


def nan_mean(values, axis=-1):
    """Average what is not NaN; NaN, and no warning, where nothing is."""
    there = ~np.isnan(values)
    return divide_or_nan(np.where(there, values, 0).sum(axis), there.sum(axis))


def divide_or_nan(sums, counts):
    """Return sums / counts; NaN, and no warning, where there is none."""
    return np.divide(
        sums, counts, out=np.full(np.shape(sums), np.nan), where=np.asarray(counts) > 0
    )
