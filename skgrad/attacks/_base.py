"""What all attacks share: the limits of parameters, the batches and the result."""

from dataclasses import dataclass, replace
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor, nn

from .._bounds import check_bounds, check_within
from .._compat import Interval, StrOptions, validate_params
from .._conversion import to_numpy
from ..torch_engine.batching import batches, map_batches, prepare_batch
from ..torch_engine.input_gradients import input_gradient
from ..torch_engine.model_state import (
    as_logits,
    at_least_float32,
    frozen,
    on_device,
    placement,
    unwrap_model,
)
from ._balls import BALLS
from ._goals import Goals
from ._inputs import AttackedInputs

POSITIVE = Interval(Real, 0, None, closed="neither")
POSITIVE_INTEGER = Interval(Integral, 1, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="both")

# The parameters that several attacks have; scikit-learn skips those that one lacks.
# Inputs, labels, models and detectors have checks whose messages say more.
CONSTRAINTS = {
    "eps": [POSITIVE],
    "norm": [StrOptions(set(BALLS))],
    "step_size": [POSITIVE, None],
    "n_steps": [POSITIVE_INTEGER],
    "stop_at_success": ["boolean"],
    "random_start": ["boolean"],
    "softplus_beta": [POSITIVE],
    "batch_size": [POSITIVE_INTEGER],
    "device": [str, torch.device, None],
    "random_state": ["random_state"],
}


def checked(**constraints):
    """Check the parameters of an attack; the constraints are those of its own."""
    return validate_params(
        {**CONSTRAINTS, **constraints}, prefer_skip_nested_validation=True
    )


@dataclass(frozen=True)
class AttackResult:
    """What an attack returns.

    Parameters
    ----------
    X_adv : ndarray of shape (n_samples, *input_shape)
        The adversarial inputs, in the order of X. Of several inputs, all of them as
        `skgrad.model_selection.indexable_inputs` returns them.
    success : ndarray of bool of shape (n_samples,)
        Whether the goal is reached: another class than y, or the target.
    predicted : ndarray of int of shape (n_samples,)
        The classes that the model predicts for the adversarial inputs.
    linf : ndarray of shape (n_samples,)
        Largest absolute change of any value.
    l2 : ndarray of shape (n_samples,)
        Euclidean length of the change.
    l0 : ndarray of int of shape (n_samples,)
        Number of values that were changed.

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import fgsm
    >>> fgsm(torch.nn.Linear(2, 2), [[0.5, 0.5]], eps=0.25).linf.tolist()
    [0.25]
    """

    X_adv: np.ndarray
    success: np.ndarray
    predicted: np.ndarray
    linf: np.ndarray
    l2: np.ndarray
    l0: np.ndarray


class GradientMonitor:
    """Notes whether any gradient of an attack was other than zero."""

    def __init__(self):
        self._nonzero = None  # before the first gradient

    def update(self, gradient):
        """Take some gradients into account."""
        # One that is not zero is enough, and saves looking at all later ones.
        self._nonzero = self._nonzero or bool(gradient.any())

    def check(self, success):
        """Raise if all gradients were zero and some input needed one."""
        if self._nonzero is False and not success.all():
            raise ValueError(
                "model must be differentiable; its input gradient is exactly zero at "
                "every sample of X. Look for round, sign, argmax or a comparison in "
                "its forward, or use an attack without gradients, such as random_noise."
            )


@dataclass(frozen=True)
class Batch:
    """Some inputs under attack, and what the attack may know and do."""

    module: nn.Module  # the model, frozen
    x: Tensor  # the clean inputs
    classes: Tensor  # the classes to leave (n_samples,)
    target: Tensor | None  # the classes to reach (n_samples,); None for any other
    bounds: tuple[Tensor, Tensor]  # as given; they broadcast with one sample
    low: Tensor  # the lowest valid values, of the shape of x
    high: Tensor
    rows: slice  # the place of these inputs among all, even if some are selected
    monitor: GradientMonitor  # shared by all batches

    def logits(self, x):
        """Run the model on a copy, because it may work in place."""
        return as_logits(self.module(x.clone()), len(x))

    def gradient(self, x, cotangent):
        """Return the gradient and the logits at x, as `input_gradient` does."""
        gradient, logits = input_gradient(self.module, x, cotangent)
        self.monitor.update(gradient)
        return gradient, logits

    def select(self, mask):
        """Return the part of the batch where the mask is True."""
        target = None if self.target is None else self.target[mask]
        names = ("x", "classes", "low", "high")
        parts = {name: getattr(self, name)[mask] for name in names}
        return replace(self, target=target, **parts)

    def reached(self, logits):
        """Return for which inputs the goal is reached."""
        predicted = logits.argmax(dim=1)
        if self.target is None:
            return predicted != self.classes
        return predicted == self.target

    def clip(self, x):
        """Clip to the bounds."""
        return x.clamp(self.low, self.high)


def run_attack(
    perturb,
    model,
    X,
    y,
    target,
    bounds,
    batch_size,
    device,
    random_state,
    *,
    reached=Batch.reached,
):
    """Run an attack batch by batch, the model frozen, and return its `AttackResult`.

    ``perturb`` takes a `Batch` and returns the adversarial inputs. ``reached`` takes a
    `Batch` and their logits, and returns for which of them the goal is reached. The
    other parameters are those of the attacks; ``random_state`` draws random targets.
    """
    module = on_device(unwrap_model(model), device)
    place = placement(module)
    monitor = GradientMonitor()
    measures: list[tuple[Tensor, ...]] = []
    with frozen(module):
        inputs = AttackedInputs(module, X)
        floats, batch_size = inputs.floats, inputs.most_at_once(batch_size)
        low, high = bounds = check_bounds(bounds, tuple(floats.shape[1:]), place)
        for raw in batches(floats, batch_size):  # raise before any time is spent
            check_within(prepare_batch(raw, input_shape=None, **place), low, high)
        goals = Goals(y, target, len(floats), inputs.n_classes, random_state)

        def attack(x):
            start = sum(len(measured[0]) for measured in measures)
            rows = slice(start, start + len(x))
            model = inputs.model_at(rows)
            classes, aim = goals.of(model, x, rows)
            # A value that rounding left outside stays; eps and bounds hold for all.
            lowest, highest = torch.minimum(low, x), torch.maximum(high, x)
            batch = Batch(
                model, x, classes, aim, bounds, lowest, highest, rows, monitor
            )
            adversarial = perturb(batch).detach()
            measures.append(_measures(batch, adversarial, reached))
            return adversarial

        X_adv = map_batches(attack, floats, batch_size=batch_size, **place)
    columns = (to_numpy(torch.cat(parts)) for parts in zip(*measures, strict=True))
    result = AttackResult(inputs.changed(to_numpy(X_adv)), *columns)
    monitor.check(result.success)
    return result


def _measures(batch, adversarial, reached):
    """Return success, predicted, linf, l2 and l0 of one batch."""
    logits = batch.logits(adversarial)
    # In half precision the length of a change may be beyond the largest number.
    change = at_least_float32(adversarial) - at_least_float32(batch.x)
    change = change.flatten(1)
    measures = (
        reached(batch, logits),
        logits.argmax(dim=1),
        change.abs().amax(dim=1),
        change.norm(dim=1),
        change.count_nonzero(dim=1),
    )
    return tuple(measure.cpu() for measure in measures)
