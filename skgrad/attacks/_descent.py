"""The steps that the attacks by gradients share."""

from functools import partial

import torch

from ..torch_engine.cotangents import class_cotangent, squared_error_cotangent

# Losses by name, as their gradients at the logits up to a positive factor.
LOSSES = {"cross_entropy": class_cotangent, "mse": squared_error_cotangent}


def toward_goal(batch, x, loss="cross_entropy"):
    """Return the input gradient towards the goal, and the logits.

    It points up the loss of the class to leave or, with a target, down the loss of the
    target. Each sample's gradient has an unknown positive factor, which neither signs
    nor normalised gradients show, and does not vanish where the softmax saturates.
    """
    return batch.gradient(x, partial(goal_cotangent, batch, loss=loss))


def goal_cotangent(batch, logits, loss="cross_entropy"):
    """Return the gradient at the logits of what leads to the goal, up to its size."""
    if batch.target is None:
        return LOSSES[loss](logits, batch.classes)
    # Minus, because all attacks ascend and the loss of the target is to fall.
    return -LOSSES[loss](logits, batch.target)


def descend(
    batch,
    *,
    ball,
    step_size,
    n_steps,
    ascent=toward_goal,
    start=None,
    stop_at_success=False,
):
    """Return where a walk towards the goal, within the ball around the inputs, ends.

    ``step_size`` is in the norm of the ball, None for eps / 4. ``ascent`` takes a
    `Batch` and some x, returns the gradient of what is to grow, and the logits.
    ``start`` is the generator that draws the starts, None to start at the clean inputs.
    """
    step_size, x = ball.eps / 4 if step_size is None else step_size, batch.x
    if start is not None:
        x = batch.clip(x + ball.draw(start, x))
    ends, active = x.clone(), torch.arange(len(x), device=x.device)
    for _ in range(n_steps):
        gradient, logits = ascent(batch, x)
        if stop_at_success:
            # Samples that stay cost no further passes.
            going = ~batch.reached(logits)
            ends[active] = x
            active, batch = active[going], batch.select(going)
            x, gradient = x[going], gradient[going]
            if not len(x):
                break
        moved = x + step_size * ball.direction(gradient)
        x = batch.clip(ball.project(moved, batch.x))
    ends[active] = x
    return ends
