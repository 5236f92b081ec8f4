"""Per-sample squared gradient norms of every parameter (paper A)."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from .gradient_pass import NoRulesError, Route, RuledPass, samples_in_order
from .model_state import as_logits, check_finite, check_recorded
from .scaling import scale_by_largest, widest_float

# dJ/dz from the logits z, for one or several losses J.
Cotangents = Callable[[Tensor], Iterable[Tensor]]


def gradient_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return all floating-point parameters by name, in model order.

    Frozen parameters are included, and one shared between layers is listed once.
    """
    return {n: p for n, p in module.named_parameters() if p.is_floating_point()}


def squared_gradient_norms(
    module: nn.Module,
    x: Tensor,
    cotangents: Cotangents,
    routes: Mapping[str, Route],
    *,
    create_graph: bool = False,
) -> Tensor:
    """Compute each sample's squared gradient norm of every parameter.

    The model is held by ``frozen(module, parameter_gradients=True)``. ``cotangents``
    takes logits (n_samples, n_classes) and returns dJ/dz of that shape for one or
    several losses J. Returns squared L2 norms (n_samples, n_losses, n_parameters)
    (paper A, Eq. 2), accumulated in float64 because squares of small gradients
    underflow in float32. A parameter on which the logits do not depend has norm 0. With
    ``create_graph``, the norms can be differentiated by x.

    Cost: one forward pass and one backward pass per loss over the whole batch, in which
    no gradient of a weight is computed, for the parameters that have a rule in
    ``routes`` and are used accordingly. If there are others, also one forward and one
    backward pass per sample. Where the order of samples may depend on their values,
    another backward pass per loss checks that each norm is in its sample's place. With
    ``create_graph``, differentiating the result costs about twice as much again.
    """
    parameters = gradient_parameters(module)
    found: dict[str, Tensor] = {}
    if routes:
        try:
            ruled = RuledPass(module, x, parameters, create_graph=create_graph)
            ruled.select(routes)
            found = _norms_by_rules(ruled, cotangents, create_graph)
        except NoRulesError:
            pass
    # What no rule computed goes through autograd, sample by sample.
    missing = {name: p for name, p in parameters.items() if name not in found}
    if missing:
        rows = [
            _norms_of_sample(module, one, cotangents, missing, create_graph)
            for one in x.split(1)
        ]
        found |= zip(missing, torch.stack(rows).unbind(dim=2), strict=True)
    return check_finite(torch.stack([found[name] for name in parameters], dim=2))


def _norms_by_rules(
    ruled: RuledPass, cotangents: Cotangents, create_graph: bool
) -> dict[str, Tensor]:
    """Return the norms (n_samples, n_losses) that the rules give for a batch."""
    logits = ruled.logits
    dtype = widest_float(logits.device)
    # Norms that grow by these squares, in this order, are those of their own samples.
    scales = torch.linspace(1, 2, len(logits), dtype=dtype, device=logits.device)
    names = set(ruled.uses)
    rows: list[dict[str, Tensor]] = []
    for cotangent, size, last in scaled_cotangents(cotangents, logits, create_graph):
        norms = ruled.norms(cotangent, last=last and not ruled.reorders)
        if ruled.reorders:
            rescaled = (cotangent * scales[:, None]).to(cotangent.dtype)
            again = ruled.norms(rescaled, last=last)
            names &= samples_in_order(norms, again, scales, cotangent.dtype)
        names &= norms.keys()
        rows.append({name: norms[name] * size.square() for name in names})
    found = {name: torch.stack([row[name] for row in rows], dim=1) for name in names}
    zeros = scales.new_zeros(len(logits), len(rows))
    return found | dict.fromkeys(ruled.unused, zeros)


def _norms_of_sample(
    module: nn.Module,
    x: Tensor,
    cotangents: Cotangents,
    parameters: Mapping[str, Tensor],
    create_graph: bool,
) -> Tensor:
    """Return the norms (n_losses, n_parameters) of a single sample by autograd."""
    logits = as_logits(module(x.clone()), 1)
    check_recorded(logits, "parameters")
    losses = []
    for cotangent, size, last in scaled_cotangents(cotangents, logits, create_graph):
        gradients = torch.autograd.grad(
            logits,
            list(parameters.values()),
            cotangent,
            retain_graph=create_graph or not last,
            create_graph=create_graph,
            materialize_grads=True,
        )
        squares = [g.to(size.dtype).square().sum().to(size.device) for g in gradients]
        losses.append(torch.stack(squares) * size.square())
    return torch.stack(losses)


def scaled_cotangents(
    cotangents: Cotangents, logits: Tensor, create_graph: bool = False
) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Bring cotangents to the type of the logits, with their size apart.

    Gradients are linear in the cotangent. Scaled so that its largest entry is 1, none
    of them underflows because the logits saturate. Yields for each loss the scaled
    cotangent (n_samples, n_classes), a function of the logits with ``create_graph``;
    the size (n_samples,), with whose square the squared norms are to be multiplied; and
    whether the loss is the last one.
    """
    # One cotangent ahead, as the graph can be freed in the pass of the last one.
    waiting = iter(cotangents(logits if create_graph else logits.detach()))
    following = next(waiting, None)
    while following is not None:
        cotangent, following = following, next(waiting, None)
        scaled, size = scale_by_largest(cotangent)
        yield scaled.to(logits.dtype), size, following is None
