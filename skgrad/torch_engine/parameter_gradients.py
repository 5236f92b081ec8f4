"""Per-sample squared gradient norms of every parameter (paper A)."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from .cotangents import wide
from .gradient_pass import NoRulesError, Route, RuledPass, samples_in_order
from .model_state import as_logits, check_finite, check_recorded

# dJ/dz from the logits z, for one or several losses J.
Cotangents = Callable[[Tensor], Iterable[Tensor]]


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


def squared_gradient_norms(
    module: nn.Module,
    x: Tensor,
    cotangents: Cotangents,
    routes: Mapping[str, Route],
) -> Tensor:
    """Compute each sample's squared gradient norm of every parameter.

    Cost: one forward pass and one backward pass per loss over the whole batch, in
    which no gradient of a weight is computed, for the parameters that have a rule.
    If there are others, one forward and one backward pass per sample besides. Where
    the order of samples may depend on their values, another backward pass per loss
    sees whether each norm is in its sample's place.

    Parameters
    ----------
    module : torch.nn.Module
        The model, held by ``frozen(module, parameter_gradients=True)``.
    x : Tensor of shape (n_samples, *input_shape)
        The inputs.
    cotangents : callable
        Takes logits (n_samples, n_classes), gives dJ/dz of each sample for one loss
        J or several: an iterable of ``n_losses`` tensors of that shape.
    routes : dict of str to Route
        What `skgrad.torch_engine.gradient_routes.parameter_routes` found for this
        model and such inputs. Only a parameter that this very batch uses accordingly
        goes by rule; without any, all go through autograd.

    Returns
    -------
    Tensor of shape (n_samples, n_losses, n_parameters)
        Squared L2 norms (paper A, Eq. 2), accumulated in float64 because squares of
        small gradients underflow in float32. A parameter on which the logits do not
        depend has norm 0.

    Raises
    ------
    ValueError
        If the model returns no finite logits, autograd did not record how they depend
        on the parameters, or a gradient is NaN or infinite.
    """
    parameters = gradient_parameters(module)
    found: dict[str, Tensor] = {}
    if routes:
        found = _batched_norms(module, x, cotangents, parameters, routes)
    missing = {name: p for name, p in parameters.items() if name not in found}
    if missing:
        found |= _looped_norms(module, x, cotangents, missing)
    return check_finite(torch.stack([found[name] for name in parameters], dim=2))


def _batched_norms(
    module: nn.Module,
    x: Tensor,
    cotangents: Cotangents,
    parameters: Mapping[str, Tensor],
    routes: Mapping[str, Route],
) -> dict[str, Tensor]:
    """Return the norms (n_samples, n_losses) that the rules give for this batch."""
    try:
        ruled = RuledPass(module, x, parameters)
        ruled.take(routes)
        return _norms_of_losses(ruled, cotangents)
    except NoRulesError:
        return {}


def _norms_of_losses(ruled: RuledPass, cotangents: Cotangents) -> dict[str, Tensor]:
    """Run a backward pass for each loss, and another where samples may have moved."""
    logits = ruled.logits
    scales = torch.linspace(1, 2, len(logits), dtype=wide(logits.device))
    scales = scales.to(logits.device)
    names = set(ruled.uses)
    rows: list[dict[str, Tensor]] = []
    for cotangent, size, last in scaled_cotangents(cotangents(logits), logits):
        norms = ruled.norms(cotangent, last=last and not ruled.reorders)
        if ruled.reorders:
            rescaled = (cotangent * scales[:, None]).to(cotangent.dtype)
            again = ruled.norms(rescaled, last=last)
            names &= samples_in_order(norms, again, scales, cotangent.dtype)
        names &= norms.keys()
        rows.append({name: norms[name] * size.square() for name in names})
    found = {name: torch.stack([row[name] for row in rows], dim=1) for name in names}
    nothing = scales.new_zeros(len(logits), len(rows))
    return found | dict.fromkeys(ruled.unused, nothing)


def scaled_cotangents(
    cotangents: Iterable[Tensor], logits: Tensor
) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Bring cotangents to the type of the logits, with their size apart.

    Gradients are linear in the cotangent: scaled so that its largest entry is 1, none
    underflows because the logits saturate.

    Parameters
    ----------
    cotangents : iterable of Tensor of shape (n_samples, n_classes)
        One per loss.
    logits : Tensor of shape (n_samples, n_classes)
        The logits.

    Yields
    ------
    scaled : Tensor of shape (n_samples, n_classes)
        The scaled cotangent.
    size : Tensor of shape (n_samples,)
        With whose square the squared norms are to be multiplied.
    last : bool
        Whether it is that of the last loss.
    """
    waiting = iter(cotangents)
    following = next(waiting, None)
    while following is not None:
        cotangent, following = following, next(waiting, None)
        size = cotangent.abs().amax(dim=1)
        size = torch.where(size == 0, 1, size)
        scaled = (cotangent / size[:, None]).to(logits.dtype)
        yield scaled, size, following is None


def _looped_norms(
    module: nn.Module,
    x: Tensor,
    cotangents: Cotangents,
    parameters: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Return the norms (n_samples, n_losses) by autograd, sample by sample."""
    rows = [
        _one_sample(module, one.clone(), cotangents, list(parameters.values()))
        for one in x.split(1)
    ]
    return dict(zip(parameters, torch.stack(rows).unbind(dim=2), strict=True))


def _one_sample(
    module: nn.Module, x: Tensor, cotangents: Cotangents, parameters: list[Tensor]
) -> Tensor:
    logits = as_logits(module(x), 1)
    check_recorded(logits, "parameters")
    losses = []
    for cotangent, scale, last in scaled_cotangents(cotangents(logits), logits):
        gradients = torch.autograd.grad(
            logits, parameters, cotangent, allow_unused=True, retain_graph=not last
        )
        squares = [
            scale.new_zeros(()) if g is None else g.to(scale.dtype).square().sum()
            for g in gradients
        ]
        squares = [square.to(scale.device) for square in squares]
        losses.append(torch.stack(squares) * scale.square())
    return torch.stack(losses)
