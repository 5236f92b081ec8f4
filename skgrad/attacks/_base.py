"""The one way in and out of every attack."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..torch_engine.batching import as_batchable, batches, prepare_batch
from ..torch_engine.model_state import (
    as_logits,
    forward,
    frozen,
    on_device,
    placement,
    unwrap_model,
)

# What ``target`` may be besides classes.
TARGETS = ("random", "least_likely")


@dataclass(frozen=True)
class AttackResult:
    """What an attack returns.

    Parameters
    ----------
    X_adv : ndarray of shape (n_samples, *input_shape)
        The adversarial inputs, in the order of X.
    success : ndarray of bool of shape (n_samples,)
        Whether the attack reached its goal: the model predicts another class than y;
        of a targeted attack, that it predicts the target.
    predicted : ndarray of int of shape (n_samples,)
        The classes that the model predicts for the adversarial inputs.
    linf : ndarray of shape (n_samples,)
        Largest absolute change of any value.
    l2 : ndarray of shape (n_samples,)
        Euclidean length of the change.
    l0 : ndarray of int of shape (n_samples,)
        How many values were changed.
    """

    X_adv: np.ndarray
    success: np.ndarray
    predicted: np.ndarray
    linf: np.ndarray
    l2: np.ndarray
    l0: np.ndarray


@dataclass(frozen=True)
class Batch:
    """Some inputs under attack, and what the attack may know and do.

    Attributes
    ----------
    module : torch.nn.Module
        The model, held still.
    x : Tensor of shape (n_samples, *input_shape)
        The clean inputs.
    classes : Tensor of int64 of shape (n_samples,)
        The classes to leave.
    target : Tensor of int64 of shape (n_samples,) or None
        The classes to reach; None for any other.
    low, high : Tensor of shape (n_samples, *input_shape)
        The lowest and highest legal values.
    rows : slice
        Which of all samples these are.
    """

    module: nn.Module
    x: Tensor
    classes: Tensor
    target: Tensor | None
    low: Tensor
    high: Tensor
    rows: slice

    def logits(self, x):
        """Run the model. A copy goes in: it may work in place."""
        return as_logits(self.module(x.clone()), len(x))

    def reached(self, logits):
        """Tell for which inputs the goal is reached."""
        predicted = logits.argmax(dim=1)
        if self.target is None:
            return predicted != self.classes
        return predicted == self.target

    def within(self, x):
        """Clip to the legal values."""
        return x.clamp(self.low, self.high)


def run_attack(
    perturb,
    model,
    X,
    y,
    *,
    bounds,
    batch_size,
    device,
    target=None,
    random_state=None,
    reached=Batch.reached,
):
    """Run an attack batch by batch, the model held still.

    Parameters
    ----------
    perturb : callable
        Takes a `Batch`, returns the adversarial inputs, a Tensor of the shape of its
        ``x``.
    model : torch.nn.Module or fitted skorch net
        The classifier under attack.
    X : array-like of shape (n_samples, *input_shape)
        Clean inputs.
    y : array-like of int of shape (n_samples,) or None
        Their classes; None for the model's own predictions.
    bounds : tuple of two floats or arrays
        The lowest and highest legal value.
    batch_size : int
        Samples per batch.
    device : str, torch.device or None
        Where to compute.
    target : int, array-like of int, str in `TARGETS` or None, default=None
        The classes to reach; None for any but y.
    random_state : int, RandomState instance or None, default=None
        Draws random targets.
    reached : callable, default=Batch.reached
        Takes a `Batch` and the logits of the adversarial inputs, returns whether the
        goal is reached.

    Returns
    -------
    AttackResult
        The adversarial inputs and how they fare.
    """
    module = on_device(unwrap_model(model), device)
    place = placement(module)
    X = as_batchable(X)
    if isinstance(X, Dataset):
        raise TypeError("X must be an array or tensor; got a Dataset. Stack it first.")
    y = _checked_labels(y, len(X), "y")
    choose_target = _target_chooser(target, len(X), random_state)
    low, high = _checked_bounds(bounds, tuple(X.shape[1:]), place)
    parts = []
    with frozen(module):
        for number, raw in enumerate(batches(X, batch_size)):
            x = prepare_batch(raw, input_shape=None, **place)
            _check_within(x, low, high)
            rows = slice(number * batch_size, number * batch_size + len(x))
            logits = forward(module, x)
            classes = _classes(logits, y, rows)
            # A value that rounding left outside stays; eps and bounds hold for all.
            lowest, highest = torch.minimum(low, x), torch.maximum(high, x)
            aim = choose_target(logits, classes, rows)
            batch = Batch(module, x, classes, aim, lowest, highest, rows)
            parts.append(_measured(batch, perturb(batch).detach(), reached))
    return AttackResult(*map(_to_numpy, zip(*parts, strict=True)))


def _measured(batch, adversarial, reached):
    """Return the fields of the result for one batch."""
    logits = batch.logits(adversarial)
    change = (adversarial - batch.x).flatten(1)
    return (
        adversarial,
        reached(batch, logits),
        logits.argmax(dim=1),
        change.abs().amax(dim=1),
        change.norm(dim=1),
        change.count_nonzero(dim=1),
    )


def _to_numpy(batches):
    joined = torch.cat(batches).cpu()
    # numpy has no bfloat16.
    return (joined.float() if joined.dtype == torch.bfloat16 else joined).numpy()


def _classes(logits, y, rows):
    """Return the classes that the attack is to leave, as a tensor beside the logits."""
    if y is None:
        return logits.argmax(dim=1)
    _check_range(y, logits.shape[1], "y")
    return torch.as_tensor(y[rows], device=logits.device)


def _check_range(labels, n_classes, name):
    if labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(
            f"{name} must hold classes 0 to {n_classes - 1}, as the model has "
            f"{n_classes} logits; got {labels.min()} to {labels.max()}."
        )


def _checked_labels(labels, n_samples, name):
    if labels is None:
        return None
    labels = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if labels.shape != (n_samples,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be None or {n_samples} integer classes, one per sample of X; "
            f"got {labels.dtype} of shape {labels.shape}."
        )
    return labels.astype(np.int64)


def _target_chooser(target, n_samples, random_state):
    """Return the function that tells the targets of a batch.

    It takes logits, the classes to leave and the rows, and returns classes or None.
    """
    if target is None:
        return lambda logits, classes, rows: None
    if isinstance(target, str):
        if target not in TARGETS:
            raise ValueError(
                "target must be None, one class, one class per sample of X, or one of "
                f"{TARGETS}; got {target!r}."
            )
        if target == "least_likely":
            return lambda logits, classes, rows: logits.argmin(dim=1)
        # Drawn for all samples at once: the same whatever the batch size.
        draws = check_random_state(random_state).uniform(size=n_samples)
        return lambda logits, classes, rows: _other_class(draws[rows], logits, classes)
    if np.ndim(target) == 0:
        target = np.full(n_samples, target)
    target = _checked_labels(target, n_samples, "target")

    def given(logits, classes, rows):
        _check_range(target, logits.shape[1], "target")
        return torch.as_tensor(target[rows], device=logits.device)

    return given


def _other_class(draws, logits, classes):
    """Turn draws from [0, 1) into classes other than those to leave."""
    n_classes = logits.shape[1]
    steps = 1 + np.floor(draws * (n_classes - 1)).astype(np.int64)
    return (classes + torch.as_tensor(steps, device=classes.device)) % n_classes


def _checked_bounds(bounds, shape, place):
    """Return the bounds as two tensors that broadcast with one sample."""
    try:
        low, high = (torch.as_tensor(bound, **place) for bound in bounds)
        fits = torch.broadcast_shapes(low.shape, high.shape, shape) == shape
    except (TypeError, ValueError, RuntimeError):
        fits = False
    if not fits:
        raise ValueError(
            "bounds must be a pair (lowest, highest) of numbers, or of arrays that "
            f"broadcast to one sample of shape {shape}; got {bounds!r}."
        )
    if not (low < high).all():
        raise ValueError(f"bounds must have lowest < highest; got {bounds!r}.")
    return low, high


def _check_within(x, low, high):
    # Room for the rounding of a normalisation.
    slack = torch.nan_to_num(1e-5 * (high - low), posinf=0.0)
    if (x < low - slack).any() or (x > high + slack).any():
        raise ValueError(
            f"X must lie within bounds; it spans [{x.min().item():.4g}, "
            f"{x.max().item():.4g}]. Give the bounds of the inputs that the model "
            "takes, after any normalisation."
        )
