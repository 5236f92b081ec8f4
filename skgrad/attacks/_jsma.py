"""The saliency map attack."""

from functools import partial
from numbers import Real

import numpy as np
import torch

from .._compat import Interval
from ._base import POSITIVE, Batch, checked, run_attack


@checked(
    theta=[POSITIVE, Interval(Real, None, 0, closed="neither")],
    gamma=[Interval(Real, 0, 1, closed="right")],
)
def jsma(
    model,
    X,
    y=None,
    *,
    theta=0.1,
    gamma=1.0,
    target=None,
    bounds=(0.0, 1.0),
    batch_size=128,
    device=None,
    random_state=None,
):
    """Jacobian-based saliency map attack: change few values, each by much.

    In each step the two values with the largest gradient of the target's logit are
    changed by ``theta``, until the model predicts the target or too many values have
    been changed.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    X : array-like of shape (n_samples, *input_shape)
        The clean inputs, within the bounds.
    y : array-like of int of shape (n_samples,), default=None
        The classes to leave; None for the model's own predictions.
    theta : float, default=0.1
        Change of a value per step, in units of X; negative to decrease values.
    gamma : float, default=1.0
        Largest share of the values that may be changed.
    target : int, array-like of int, {"random", "least_likely"} or None, default=None
        The classes to reach; "random" excludes y, None is any other than y.
    bounds : tuple of two floats or arrays, default=(0.0, 1.0)
        Lowest and highest valid values; arrays broadcast to one sample.
    batch_size : int, default=128
        Samples per pass.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    random_state : int, RandomState instance or None, default=None
        Draws random targets.

    Returns
    -------
    AttackResult
        The adversarial inputs, their success and the size of their changes.

    Notes
    -----
    Cost: two forward passes and a backward pass per step, of the inputs that have not
    succeeded yet. Without a target the attack aims at a random one.

    As in the Adversarial Robustness Toolbox, values are chosen by the gradient of the
    target's logit alone. The paper also asks that of the other classes' sum to be
    negative (Eq. 8 and Algorithm 3), and searches all pairs.

    References
    ----------
    Papernot et al. (2016), "The Limitations of Deep Learning in Adversarial Settings",
    Sec. III.

    Examples
    --------
    >>> import torch
    >>> from skgrad.attacks import jsma
    >>> jsma(torch.nn.Linear(3, 2), [[0.8, 0.5, 0.2]], target=1).X_adv.shape
    (1, 3)
    """
    reached = Batch.reached
    if target is None:
        # The attack needs a class to aim at, but any other than y is a success.
        target, reached = "random", _left
    perturb = partial(_perturb, theta=theta, gamma=gamma)
    shared = (model, X, y, target, bounds, batch_size, device, random_state)
    return run_attack(perturb, *shared, reached=reached)


def _left(batch, logits):
    """Return which inputs left their class, whatever the target."""
    return logits.argmax(dim=1) != batch.classes


def _perturb(batch, *, theta, gamma):
    """Change two values of each input per step until it reaches the goal."""
    x, limit = batch.x, (batch.high if theta > 0 else batch.low).flatten(1)
    changed = torch.zeros_like(limit, dtype=torch.bool)
    active = ~batch.reached(batch.logits(x))
    while active.any():
        part = batch.select(active)
        gradient, _ = part.gradient(x[active], partial(_target_logit, part))
        saliency = gradient.flatten(1) * np.sign(theta)
        # Values at the bound cannot change any more.
        saliency[x[active].flatten(1) == limit[active]] = -torch.inf
        best = saliency.topk(min(2, saliency.shape[1]), dim=1).indices
        pairs = torch.zeros_like(changed)
        pairs[active] = pairs[active].scatter(1, best, True)
        # A value that is changed twice counts once towards gamma.
        changed |= pairs
        moved = batch.clip(x + theta * pairs.view_as(x).to(x))
        # Inputs that succeeded or cannot change further stay, and cost no more passes.
        active &= ~batch.reached(batch.logits(moved))
        active &= changed.double().mean(dim=1) <= gamma
        active &= (moved != x).flatten(1).any(dim=1)
        x = moved
    return x


def _target_logit(batch, logits):
    """Return the gradient of the target's logit at the logits."""
    return torch.zeros_like(logits).scatter(1, batch.target[:, None], 1)
