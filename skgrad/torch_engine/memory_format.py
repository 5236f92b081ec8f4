"""The order of images in memory, on which the speed of backward passes depends."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from .._several import Batch, Several
from .gradient_norms import squares, whole_squares
from .model_state import forward

# Torch 2.6 crashes in the gradient of a group normalisation in this order. None between
# it and this version was tried.
_SOUND = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 14)


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
    if not (_SOUND and quick and torch.backends.mkldnn.is_available()):
        return x
    return x.contiguous(memory_format=torch.channels_last)


def takes_channels_last(
    module: nn.Module, x: Batch, parameters: Collection[Tensor]
) -> bool:
    """Return True if images have another order that a model computes the same in.

    It may take views of what its layers return, or read and differentiate values as
    they lie in memory. So logits and gradients of the images and of the parameters are
    compared. The model is held by ``frozen``. Cost, if the order is another one: two
    forward and backward passes, and three times the memory of all parameters.
    """
    last = with_channels_last(x)
    if last is x or isinstance(x, Several) or isinstance(last, Several):
        return False
    try:
        logits, slopes, gradients = _derivatives(module, x, parameters)
        others = _derivatives(module, last, parameters)
    except torch.OutOfMemoryError:  # says nothing about the model
        raise
    except Exception:  # what fails in any order fails again
        return False
    off, sizes = ((v.abs().amax(dim=1)) for v in (others[0] - logits, logits))
    same = bool((off <= 0.001 * sizes).all())
    # A ReLU at its kink may switch by rounding.
    same &= bool((squares(others[1] - slopes) <= 0.001 * squares(slopes)).all())
    if gradients and same:
        # Not in place: a gradient may be one number that is repeated.
        wrong = [b - a for a, b in zip(gradients, others[2], strict=True)]
        expected = whole_squares(gradients)
        # Some gradients are nothing but rounding, as that of a bias before a softmax.
        allowed = 0.001 * expected + 1e-8 * expected.amax()
        same = bool((whole_squares(wrong) <= allowed).all())
    return same


def _derivatives(
    module: nn.Module, x: Tensor, parameters: Collection[Tensor]
) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
    """Return the logits, and the gradients of a sum of them at x and parameters."""
    leaf = x.detach().clone().requires_grad_(True)
    logits = forward(module, leaf)
    weights = torch.linspace(1, 2, logits.numel()).to(logits).view_as(logits)
    slopes, *gradients = torch.autograd.grad(
        logits, [leaf, *parameters], weights, materialize_grads=True
    )
    return logits.detach(), slopes, gradients
