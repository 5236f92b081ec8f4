"""The order of images in memory, on which the speed of backward passes depends."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .._several import Batch, Several
from .gradient_norms import whole_squares
from .model_state import forward


def with_channels_last(x: Batch) -> Batch:
    """Return images (n_samples, n_channels, height, width) with channels side by side.

    Shape and values are the same. On a CPU oneDNN computes convolutions of float32, and
    torch their normalisations and gradients, faster in this order, or as fast. Other
    inputs are returned as they are, and so is a single image, whose strides may leave
    the order open.
    """
    if isinstance(x, Several) or x.ndim != 4 or len(x) == 1:
        return x
    quick = x.device.type == "cpu" and x.dtype == torch.float32
    if not (quick and torch.backends.mkldnn.is_available()):
        return x
    return x.contiguous(memory_format=torch.channels_last)


def takes_channels_last(
    module: nn.Module, x: Batch, parameters: Iterable[Tensor]
) -> bool:
    """Return True if a model computes the same of images in this order, and faster.

    It may take views of what its layers return, or read and differentiate values as
    they lie in memory. So logits and gradients of the images and of the parameters are
    compared. The model is held by ``frozen``. Cost: two forward and backward passes.
    """
    last = with_channels_last(x)
    if last is x or isinstance(x, Several) or isinstance(last, Several):
        return False
    try:
        orders = [_logits_and_gradients(module, one, parameters) for one in (x, last)]
    except torch.OutOfMemoryError:  # says nothing about the model
        raise
    except (RuntimeError, ValueError):  # what fails in any order fails again
        return False
    differences = [b - a for a, b in zip(*orders, strict=True)]
    expected, wrong = whole_squares(orders[0]), whole_squares(differences)
    # A ReLU at its kink may switch by rounding, and a gradient may be nothing else.
    # Values in another order change all of them.
    return bool((wrong <= 0.01 * expected + 1e-8 * expected.amax()).all())


def _logits_and_gradients(
    module: nn.Module, x: Tensor, parameters: Iterable[Tensor]
) -> list[Tensor]:
    leaf = x.detach().clone().requires_grad_(True)
    logits = forward(module, leaf)
    weights = torch.linspace(1, 2, logits.numel()).to(logits).view_as(logits)
    gradients = torch.autograd.grad(
        logits, [leaf, *parameters], weights, materialize_grads=True
    )
    return [logits.detach(), *gradients]
