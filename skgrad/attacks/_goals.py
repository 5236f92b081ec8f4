"""Which class each input is to leave, and which to reach."""

from functools import cache, partial

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._messages import brief
from .._validation import to_array
from ..torch_engine.model_state import forward

# What ``target`` may be besides classes.
TARGETS = ("random", "least_likely")


class Goals:
    """The classes to leave and to reach of all samples under attack.

    Parameters
    ----------
    y : array-like of int of shape (n_samples,) or None
        The classes to leave; None for the model's own predictions.
    target : int, array-like of int, str in `TARGETS` or None
        The classes to reach; None for any but those to leave.
    n_samples : int
        Number of samples.
    random_state : int, RandomState instance or None
        Draws random targets.
    """

    def __init__(self, y, target, n_samples, random_state):
        self.y = None if y is None else _checked_y(y, n_samples)
        self.target, self.draws = target, None
        if isinstance(target, str):
            if target not in TARGETS:
                raise ValueError(f"{_LEGAL_TARGETS}; got {brief(target)}.")
            if target == "random":
                # For all samples at once: the same whatever the batch size.
                self.draws = check_random_state(random_state).uniform(size=n_samples)
        elif target is not None:
            self.target = _checked_target(target, n_samples)

    def check(self, n_classes):
        """Refuse classes that the model does not have."""
        for name, labels in (("y", self.y), ("target", self.target)):
            if isinstance(labels, np.ndarray):
                _check_range(labels, n_classes, name)

    def of(self, module, x, rows, n_classes):
        """Return the classes to leave and those to reach (or None) of a batch."""
        # A pass is made only where there is no other way to know, and only one.
        logits = cache(partial(forward, module, x))
        if self.y is None:
            classes = logits().argmax(dim=1)
        else:
            classes = torch.as_tensor(self.y[rows], device=x.device)
        if self.target is None:
            return classes, None
        if isinstance(self.target, str) and self.target == "least_likely":
            return classes, logits().argmin(dim=1)
        if self.draws is None:
            return classes, torch.as_tensor(self.target[rows], device=x.device)
        # Uniform over the classes other than those to leave.
        steps = 1 + np.floor(self.draws[rows] * (n_classes - 1)).astype(np.int64)
        return classes, (classes + torch.as_tensor(steps, device=x.device)) % n_classes


_LEGAL_TARGETS = (
    "target must be None, one class, one integer class per sample of X, or one of "
    f"{TARGETS}"
)


def _checked_target(target, n_samples):
    labels = to_array(target, "target")
    if labels.ndim == 0 and labels.dtype.kind in "iu":
        labels = np.full(n_samples, labels)
    if not _are_classes(labels, n_samples):
        raise ValueError(
            f"{_LEGAL_TARGETS}; got {labels.dtype} of shape {labels.shape} for "
            f"{n_samples} samples."
        )
    return labels.astype(np.int64)


def _checked_y(y, n_samples):
    labels = to_array(y, "y")
    if not _are_classes(labels, n_samples):
        raise ValueError(
            f"y must be None or {n_samples} integer classes, one per sample of X; "
            f"got {labels.dtype} of shape {labels.shape}."
        )
    return labels.astype(np.int64)


def _are_classes(labels, n_samples):
    return labels.shape == (n_samples,) and labels.dtype.kind in "iu"


def _check_range(labels, n_classes, name):
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(
            f"{name} must hold classes 0 to {n_classes - 1}, as the model has "
            f"{n_classes} logits; got {labels.min()} to {labels.max()}."
        )
