"""Loss gradients near an input against the way back to it (paper B, Theorem 1)."""

from torch import Tensor, nn

from .input_gradients import loss_input_gradient
from .scaling import unit


def gradient_alignment(
    module: nn.Module, x: Tensor, nearby: Tensor, classes: Tensor
) -> Tensor:
    """Compute the cosine between the descent at nearby points and the way back.

    Cost: one forward and one backward pass over the nearby points.

    The result (n_points,) is positive where descending the cross-entropy towards a
    point's class leads from the nearby point back to x, and 0 where the gradient
    vanishes (paper B, Eq. 3). The inputs x may be one that broadcasts. The model is
    held by ``frozen(module)``.
    """
    gradient = loss_input_gradient(module, nearby, classes)
    # <-g, x - nearby> = <g, nearby - x>. The gradient is scaled by a positive factor,
    # which does not change the cosine.
    ascent, away = (unit(part.flatten(1)) for part in (gradient, nearby - x))
    return (ascent * away).sum(dim=1).clamp(-1, 1)
