"""Gradients at the input, of the logits or of one layer's output."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .._several import Batch, floats_of, with_floats
from .model_state import check_finite_gradients, check_recorded
from .network_pass import NetworkPass, Wanted
from .pooling import LayerOutput


def input_gradient(
    module: nn.Module, x: Batch, cotangent: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Pull a cotangent at the logits back to the input, at one pass each way.

    ``cotangent`` takes the detached logits (n_samples, n_classes) and returns the
    gradient of each sample's objective at them. Returns the gradients at the inputs
    (n_samples, *input_shape), of several at the only one of floats, and the detached
    logits. The model is held by
    ``frozen(module)``.
    """
    run = NetworkPass(module, x, Wanted(inputs=True))
    return run.input_gradient(cotangent), run.logits


def layer_input_gradient(
    module: nn.Module,
    x: Batch,
    output: LayerOutput,
    objective: Callable[[Tensor], Tensor],
) -> Tensor:
    """Compute the gradient at the input of a function of one layer's pooled output.

    ``objective`` takes the pooled output (n_samples, n_channels) and returns one value
    per row, of that row alone. Cost: one pass each way, both up to that layer.
    """
    with torch.enable_grad():
        leaf = floats_of(x).detach().clone().requires_grad_(True)
        x = with_floats(x, leaf)
        run = NetworkPass(module, x, Wanted((output,)), create_graph=True)
        (features,) = run.outputs([output])
        check_recorded(features, "input")
        (gradient,) = torch.autograd.grad(
            objective(features).sum(), leaf, materialize_grads=True
        )
    return check_finite_gradients(gradient)
