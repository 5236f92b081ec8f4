"""Per-sample squared gradient norms of every parameter (paper A)."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from .._compat import is_packed
from .gradient_norms import whole_squares
from .gradient_pass import RuledGraph, samples_in_order
from .model_state import check_recorded
from .scaling import scale_by_largest, widest_float

# dJ/dz from the logits z, for one or several losses J.
Cotangents = Callable[[Tensor], Iterable[Tensor]]


def gradient_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return all floating-point parameters by name, in model order.

    Frozen parameters are included, and one shared between layers is listed once. Those
    of quantised layers are left out.
    """
    return {
        name: parameter
        for name, parameter in module.named_parameters()
        if parameter.is_floating_point() and not is_packed(parameter)
    }


def norms_by_rules(
    graph: RuledGraph, cotangents: Cotangents, *, last: bool, create_graph: bool
) -> dict[str, Tensor]:
    """Return the squared norms (n_samples, n_losses) that the rules give for a batch.

    Parameters whose norms might stand in the place of another sample are left out.
    ``last`` frees the graph in the backward pass of the last loss.
    """
    logits = graph.logits
    dtype = widest_float(logits.device)
    # Norms that grow by these squares, in this order, are those of their own samples.
    scales = torch.linspace(1, 2, len(logits), dtype=dtype, device=logits.device)
    names = set(graph.uses)
    rows: list[dict[str, Tensor]] = []
    for cotangent, size, ends in scaled_cotangents(cotangents, logits, create_graph):
        frees = last and ends
        norms = graph.norms(cotangent, last=frees and not graph.reorders)
        if graph.reorders:
            rescaled = (cotangent * scales[:, None]).to(cotangent.dtype)
            again = graph.norms(rescaled, last=frees)
            names &= samples_in_order(norms, again, scales, cotangent.dtype)
        names &= norms.keys()
        rows.append({name: norms[name] * size.square() for name in names})
    found = {name: torch.stack([row[name] for row in rows], dim=1) for name in names}
    zeros = scales.new_zeros(len(logits), len(rows))
    return found | dict.fromkeys(graph.unused, zeros)


def norms_of_sample(
    logits: Tensor,
    cotangents: Cotangents,
    parameters: Sequence[Tensor],
    *,
    last: bool,
    create_graph: bool,
) -> Tensor:
    """Return the norms (1, n_losses, n_parameters) of a single sample by autograd.

    ``logits`` (1, n_classes) are in the graph of the parameters, which ``last`` frees.
    """
    check_recorded(logits, "parameters")
    losses = []
    for cotangent, size, ends in scaled_cotangents(cotangents, logits, create_graph):
        gradients = torch.autograd.grad(
            logits,
            parameters,
            cotangent,
            retain_graph=create_graph or not (last and ends),
            create_graph=create_graph,
            materialize_grads=True,
        )
        losses.append(whole_squares(gradients).to(size.device) * size.square())
    return torch.stack(losses)[None]


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
