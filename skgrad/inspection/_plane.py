"""A plane through an input: its directions, its points, the loss at them."""

import numpy as np
from scipy.special import logsumexp
from torch.utils.data import Dataset

from .._validation import check_finite, to_array
from ..torch_engine.samples import read_array


class Plane(Dataset):
    """An input, and the points of a plane through it, computed when they are read."""

    def __init__(self, x, along, across, steps):
        self.x, self.along, self.across, self.steps = x, along, across, steps

    def __len__(self):
        return 1 + len(self.steps) ** 2

    def __getitem__(self, i):
        if i == 0:
            return self.x
        a, b = (self.steps[j] for j in divmod(i - 1, len(self.steps)))
        # In float64, as the directions are: float16 would round small steps to none.
        return self.x + a * self.along + b * self.across


def one_input(x, name):
    """Return one input as an array of float64."""
    x = to_array(x, name)
    if x.ndim == 0:
        raise ValueError(f"{name} must be one input, of the model's shape; got {x!r}.")
    X = read_array(x[None], name)
    check_finite(X, name)
    return X[0].astype(np.float64)


def directions(x, towards, across, random_state):
    """Return two orthogonal directions of one length, and where the target lies."""
    shape = x.shape
    if towards is None:
        along, target = random_state.normal(size=shape), None
        length = 0.25 * np.linalg.norm(x) or 1.0
        along *= length / np.linalg.norm(along)
    else:
        along, target = _of_shape(towards, "towards", shape) - x, 1.0
        length = np.linalg.norm(along)
        if length == 0:
            raise ValueError(
                "towards must differ from x, so that there is a direction; they are "
                "equal. Give another input, such as one whose attack succeeded."
            )
    if across is None:
        across = random_state.normal(size=shape)
    across = _of_shape(across, "across", shape)
    before = np.linalg.norm(across)
    # Gram-Schmidt: the part of it that is orthogonal to the first direction.
    across = across - (across * along).sum() / length**2 * along
    # A remainder of this size is rounding.
    if not np.linalg.norm(across) > 1e-9 * before:
        raise ValueError(
            "across must not be parallel to the first direction, and x must hold 2 or "
            f"more values for a plane; x has shape {shape}."
        )
    return along, across * (length / np.linalg.norm(across)), target


def _of_shape(value, name, shape):
    value = one_input(value, name)
    if value.shape != shape:
        raise ValueError(
            f"{name} must have the shape of x, {shape}; got {value.shape}."
        )
    return value


def cross_entropy(logits, k):
    """Return the loss towards class k, exact also where it is almost 0."""
    others = np.delete(logits - logits[:, k : k + 1], k, axis=1)
    return np.logaddexp(0, logsumexp(others, axis=1))
