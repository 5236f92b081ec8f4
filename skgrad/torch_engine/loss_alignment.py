"""Loss gradients near an input against the way back to it (paper B, Theorem 1)."""

from torch import Tensor, nn

from .input_gradients import loss_input_gradient
from .scaling import unit


def gradient_alignment(
    module: nn.Module, x: Tensor, nearby: Tensor, classes: Tensor
) -> Tensor:
    """Compute the cosine between the descent at nearby points and the way back.

    Cost: one forward and one backward pass over the nearby points.

    Parameters
    ----------
    module : torch.nn.Module
        The model, held by ``frozen(module)``.
    x : Tensor of shape (n_points, *input_shape)
        The inputs, or one that broadcasts.
    nearby : Tensor of shape (n_points, *input_shape)
        A point near each.
    classes : Tensor of int64 of shape (n_points,)
        The class of each towards which the cross-entropy is taken.

    Returns
    -------
    Tensor of shape (n_points,)
        Cosines in [-1, 1] (paper B, Eq. 3): positive where descending from the nearby
        point leads back to the input; 0 where the gradient vanishes.
    """
    gradient = loss_input_gradient(module, nearby, classes)
    # <-g, x - nearby> = <g, nearby - x>. The gradient is scaled by a positive factor,
    # which does not change the cosine.
    ascent, away = (unit(part.flatten(1)) for part in (gradient, nearby - x))
    return (ascent * away).sum(dim=1).clamp(-1, 1)
