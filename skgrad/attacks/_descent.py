"""The steps that the attacks by gradients share."""

from functools import partial
from numbers import Integral

import torch

from .._compat import Interval
from ..torch_engine.cotangents import class_cotangent, squared_error_cotangent

# Losses by name, as their gradients at the logits up to a positive factor.
LOSSES = {"cross_entropy": class_cotangent, "mse": squared_error_cotangent}
N_STEPS = Interval(Integral, 1, None, closed="left")


def toward_goal(batch, x, loss="cross_entropy"):
    """Return the input gradient towards the goal, and the logits.

    Up the loss of the class to leave or, with a target, down the loss of the target.
    Each sample's gradient is so up to a positive factor, which neither signs nor
    normalised gradients show, and which does not vanish where the softmax saturates.
    """
    return batch.gradient(x, partial(goal_cotangent, batch, loss=loss))


def goal_cotangent(batch, logits, loss="cross_entropy"):
    """Return the gradient at the logits of what leads to the goal, up to its size."""
    if batch.target is None:
        return LOSSES[loss](logits, batch.classes)
    return -LOSSES[loss](logits, batch.target)


def descend(
    batch, x, *, ball, step_size, n_steps, ascent=toward_goal, stop_at_success=False
):
    """Walk from x towards the goal, within the ball around the clean inputs.

    Parameters
    ----------
    batch : Batch
        The inputs under attack.
    x : Tensor of shape (n_samples, *input_shape)
        Where to start.
    ball : LinfBall or L2Ball
        The ball.
    step_size : float
        Length of a step in the norm of the ball.
    n_steps : int
        Largest number of steps.
    ascent : callable, default=toward_goal
        What to climb: takes a `Batch` and some x of its shape, returns a gradient and
        the logits.
    stop_at_success : bool, default=False
        Whether a sample stays where it first reaches the goal.

    Returns
    -------
    Tensor of shape (n_samples, *input_shape)
        Where the walk ends.
    """
    ends, active = x.clone(), torch.arange(len(x), device=x.device)
    for _ in range(n_steps):
        gradient, logits = ascent(batch, x)
        if stop_at_success:
            going = ~batch.reached(logits)
            ends[active] = x
            active, batch = active[going], batch.take(going)
            x, gradient = x[going], gradient[going]
        if not len(x) or not batch.watch.alive:
            break  # without any gradient all further steps are the same
        x = ball.project(x + step_size * ball.direction(gradient), batch.x)
        x = batch.within(x)
    ends[active] = x
    return ends
