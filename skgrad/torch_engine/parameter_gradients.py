"""Per-sample squared gradient norms of every parameter (paper A)."""

import torch
from torch import Tensor, nn

from .model_state import as_logits, check_finite, check_recorded


def gradient_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that have gradients, by name, in model order.

    Parameters
    ----------
    module : torch.nn.Module
        The model. A parameter shared between layers is listed once.

    Returns
    -------
    dict of str to Parameter
        All floating-point parameters, frozen ones included.
    """
    return {n: p for n, p in module.named_parameters() if p.is_floating_point()}


def confounding_cotangent(logits: Tensor, label: Tensor) -> Tensor:
    """Differentiate the confounding-label loss with respect to the logits.

    The loss is the binary cross-entropy between logits and label, mean over classes
    (paper A, Eq. 1), so that dJ/dz = (sigmoid(z) - y) / C. For y = 1 and large z that
    difference rounds to 0; written as below it keeps all its digits.

    Parameters
    ----------
    logits : Tensor of shape (n_samples, n_classes)
        The logits z.
    label : Tensor of shape (n_classes,)
        The label y, entries in [0, 1].

    Returns
    -------
    Tensor of shape (n_samples, n_classes)
        The gradient of the loss of each sample.
    """
    upward = (1 - label) * torch.sigmoid(logits)
    downward = label * torch.sigmoid(-logits)
    return (upward - downward) / logits.shape[1]


def squared_gradient_norms(module: nn.Module, x: Tensor, label: Tensor) -> Tensor:
    """Compute each sample's squared gradient norm of every parameter.

    Cost: one forward and one backward pass per sample, one sample at a time. That is
    exact for every architecture that autograd differentiates.

    Parameters
    ----------
    module : torch.nn.Module
        The model, held by ``frozen(module, parameter_gradients=True)``.
    x : Tensor of shape (n_samples, *input_shape)
        The inputs.
    label : Tensor of shape (n_classes,)
        The confounding label.

    Returns
    -------
    Tensor of shape (n_samples, n_parameters)
        Squared L2 norms (paper A, Eq. 2), accumulated in float64 because squares of
        small gradients underflow in float32. A parameter on which the logits do not
        depend has norm 0.

    Raises
    ------
    ValueError
        If autograd did not record how the logits depend on the parameters, or a
        gradient is NaN or infinite.
    """
    parameters = list(gradient_parameters(module).values())
    return torch.stack(
        [_one_sample(module, one, label, parameters) for one in x.split(1)]
    )


def _one_sample(
    module: nn.Module, x: Tensor, label: Tensor, parameters: list[nn.Parameter]
) -> Tensor:
    logits = as_logits(module(x), 1)
    check_recorded(logits, "parameters")
    cotangent = confounding_cotangent(logits.detach(), label)
    gradients = torch.autograd.grad(logits, parameters, cotangent, allow_unused=True)
    # MPS has no float64.
    wide = torch.float32 if x.device.type == "mps" else torch.float64
    zero = torch.zeros((), dtype=wide, device=x.device)
    norms = [
        zero if g is None else g.to(wide).square().sum().to(x.device) for g in gradients
    ]
    return check_finite(torch.stack(norms))
