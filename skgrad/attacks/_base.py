"""The one way in and out of every attack."""

from dataclasses import dataclass, field, replace
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from .._compat import Interval
from .._validation import check_inputs
from ..torch_engine.batching import batches, prepare_batch
from ..torch_engine.input_gradients import input_gradient
from ..torch_engine.model_state import (
    as_logits,
    at_least_float32,
    forward,
    frozen,
    on_device,
    placement,
    unwrap_model,
)
from ._bounds import check_within, checked_bounds
from ._goals import Goals

# What `sklearn.utils._param_validation.validate_params` checks of every attack.
CONSTRAINTS = {
    "model": "no_validation",  # the engine's message says more
    "batch_size": [Interval(Integral, 1, None, closed="left")],
    "device": [str, torch.device, None],
}
POSITIVE = Interval(Real, 0, None, closed="neither")


@dataclass(frozen=True)
class AttackResult:
    """What an attack returns.

    All attacks return it. Each of its parameters is an attribute of the same name.

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

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import fgsm
    >>> result = fgsm(torch.nn.Linear(2, 2), [[0.5, 0.5]], eps=0.25)
    >>> result.X_adv.shape, result.linf.tolist()
    ((1, 2), [0.25])
    """

    X_adv: np.ndarray
    success: np.ndarray
    predicted: np.ndarray
    linf: np.ndarray
    l2: np.ndarray
    l0: np.ndarray


class GradientWatch:
    """Tells whether any gradient of an attack was other than zero.

    Attributes
    ----------
    seen : bool
        Whether there were gradients at all.
    alive : bool
        Whether one of them was not exactly zero.
    """

    def __init__(self):
        self.seen = self.alive = False

    def see(self, gradient):
        """Take note of some gradients."""
        self.seen = True
        # One that is alive is enough, and spares the look at all later ones.
        self.alive = self.alive or bool(gradient.any())

    def check(self, success):
        """Refuse a model none of whose gradients was other than zero.

        Where all inputs reached the goal without one, none was needed.
        """
        if self.seen and not self.alive and not success.all():
            raise ValueError(
                "model must be differentiable for this attack, but its input gradient "
                "is exactly zero at every sample of X: look for round, sign, argmax "
                "or a comparison in its forward. Use an attack without gradients: one "
                "that asks for decisions alone, or random_noise, semantic, rotate."
            )


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
        Which of all samples the attack began with in this batch.
    watch : GradientWatch
        Sees the gradients of all batches.
    """

    module: nn.Module
    x: Tensor
    classes: Tensor
    target: Tensor | None
    low: Tensor
    high: Tensor
    rows: slice
    watch: GradientWatch = field(default_factory=GradientWatch)

    def logits(self, x):
        """Run the model. A copy goes in: it may work in place."""
        return as_logits(self.module(x.clone()), len(x))

    def gradient(self, x, cotangent):
        """Pull a cotangent back to x: every attack by gradients passes here.

        Returns the gradient and the logits, as `input_gradient` does.
        """
        gradient, logits = input_gradient(self.module, x, cotangent)
        self.watch.see(gradient)
        return gradient, logits

    def take(self, keep):
        """Return the part of the batch that a mask keeps."""
        target = None if self.target is None else self.target[keep]
        return replace(
            self,
            x=self.x[keep],
            classes=self.classes[keep],
            target=target,
            low=self.low[keep],
            high=self.high[keep],
        )

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
    target : int, array-like of int, str or None, default=None
        The classes to reach, see `Goals`; None for any but y.
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
    X = check_inputs(X)
    if isinstance(X, Dataset):
        raise TypeError("X must be an array or tensor; got a Dataset. Stack it first.")
    goals = Goals(y, target, len(X), random_state)
    low, high = checked_bounds(bounds, tuple(X.shape[1:]), place)

    def prepare(raw):
        return prepare_batch(raw, input_shape=None, **place)

    for raw in batches(X, batch_size):  # before any time is spent
        check_within(prepare(raw), low, high)
    watch = GradientWatch()
    with frozen(module):
        # A model that squeezes its output would fail on a single sample.
        n_classes = forward(module, prepare(X[:2])).shape[1]
        goals.check(n_classes)

        def attack(start):
            raw = X[start : start + batch_size]
            x, rows = prepare(raw), slice(start, start + len(raw))
            classes, aim = goals.of(module, x, rows, n_classes)
            # A value that rounding left outside stays; eps and bounds hold for all.
            lowest, highest = torch.minimum(low, x), torch.maximum(high, x)
            batch = Batch(module, x, classes, aim, lowest, highest, rows, watch)
            return _measured(batch, perturb(batch).detach(), reached)

        parts = [attack(start) for start in range(0, len(X), batch_size)]
    result = AttackResult(*map(_to_numpy, zip(*parts, strict=True)))
    watch.check(result.success)
    return result


def _measured(batch, adversarial, reached):
    """Return the fields of the result for one batch."""
    logits = batch.logits(adversarial)
    # In half precision the length of a change may be beyond the largest number.
    change = at_least_float32(adversarial) - at_least_float32(batch.x)
    change = change.flatten(1)
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
