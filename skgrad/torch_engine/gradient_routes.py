"""Which parameters have their gradient norms by a rule, and which by autograd."""

from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor, nn

from .gradient_pass import NoRulesError, Route, RuledPass
from .gradient_recorder import Use
from .model_state import model_dtype
from .parameter_gradients import (
    Cotangents,
    gradient_parameters,
    scaled_cotangents,
    squared_gradient_norms,
)


def parameter_routes(
    module: nn.Module, x: Tensor, cotangents: Cotangents
) -> dict[str, Route]:
    """Find the parameters whose gradient norms a rule computes correctly.

    For that, a parameter must enter the logits through one call of one ruled function
    and in no other way, which the graph of the logits shows. Passes over two and three
    samples must show by their shapes along which axis of the layer's input the samples
    lie. With the loss of one of the three samples alone, the norms of the others must
    be exactly 0, and its own positive for at least two of them: so none is in another's
    place. And the rules must agree with autograd, up to rounding.

    The arguments are those of `squared_gradient_norms`; the first three inputs and the
    first loss are used. Parameters that are not in the result go through autograd
    sample by sample; those that the logits do not depend on have norm 0 either way.
    """
    parameters = gradient_parameters(module)
    three = _three_samples(x)

    # Where a parameter is used does not depend on the loss, so one loss suffices.
    def first_loss(logits: Tensor) -> list[Tensor]:
        return list(islice(cotangents(logits), 1))

    try:
        ruled = RuledPass(module, three, parameters)
        fewer = RuledPass(module, three[:2], parameters).uses
        routes = {
            name: route
            for name, uses in ruled.uses.items()
            if name in fewer and (route := _route(uses, fewer[name]))
        }
        if not routes:
            return {}
        ruled.select(routes)
        norms = _owned_norms(ruled, first_loss)
    except NoRulesError:
        return {}
    # Without routes, every parameter goes through autograd.
    exact = squared_gradient_norms(module, three, first_loss, {})[:, 0]
    by_name = dict(zip(parameters, exact.T, strict=True))
    size, dtype = exact.amax(dim=1), model_dtype(module)
    return {
        name: routes[name]
        for name, found in norms.items()
        if _agree(found, by_name[name], size, dtype)
    }


def _three_samples(x: Tensor) -> Tensor:
    """Return three different samples, as equal ones would hide a change of order."""
    if len(x) >= 3:
        return x[:3]
    rounds = torch.arange(3, device=x.device) // len(x)
    filled = x[torch.arange(3, device=x.device) % len(x)]
    if not x.is_floating_point():
        rolled = zip(filled, rounds.tolist(), strict=True)
        return torch.stack([one.roll(k, -1) for one, k in rolled])
    waves = torch.arange(x[0].numel(), device=x.device).cos().view(x[0].shape)
    shares = rounds.view(-1, *[1] * (x.ndim - 1)) / 10
    return ((1 - shares) * filled + shares * waves).to(x.dtype)


def _route(uses: Sequence[Use], fewer: Sequence[Use]) -> Route | None:
    """Find the axis of the samples from a pass over three and one over two."""
    if len(uses) != len(fewer):
        return None
    routes = {_route_of_use(*pair) for pair in zip(uses, fewer, strict=True)}
    return routes.pop() if len(routes) == 1 else None


def _route_of_use(use: Use, fewer: Use) -> Route | None:
    if use.x is None or fewer.x is None:
        return None
    claim, shape, short = use.claim, use.x.shape, fewer.x.shape
    if claim.rule != fewer.claim.rule or len(shape) != len(short):
        return None
    # The samples lie along the one axis that is shorter with two samples than with
    # three, and not along an axis that belongs to the layer itself.
    axes = [axis for axis in range(len(shape)) if shape[axis] != short[axis]]
    last = 0 if claim.trailing is None else len(shape) - claim.trailing - 1
    if len(axes) != 1 or axes[0] > last:
        return None
    # Each sample has equally many rows along it, or the axis holds something else too.
    rows, rest = divmod(shape[axes[0]], 3)
    if rest or 2 * rows != short[axes[0]] or (rows > 1 and not claim.rows):
        return None
    return Route(claim.rule, axes[0], rows)


def _owned_norms(ruled: RuledPass, loss: Cotangents) -> dict[str, Tensor]:
    """Return the norms of the parameters that keep the samples apart."""
    ((cotangent, size, _),) = scaled_cotangents(loss, ruled.logits)
    owned: dict[str, list[Tensor]] = {name: [] for name in ruled.uses}
    for sample in range(3):
        # The loss of one sample alone has no gradient at the rows of the others.
        alone = torch.zeros_like(cotangent)
        alone[sample] = cotangent[sample]
        shown = ruled.norms(alone, last=sample == 2)
        for name in list(owned):
            norms = shown.get(name)
            if norms is None or norms.count_nonzero() > (norms[sample] != 0):
                del owned[name]
            else:
                owned[name].append(norms[sample] * size[sample].square())
    stacked = {name: torch.stack(norms) for name, norms in owned.items()}
    # Where two of three samples are in place, so is the third.
    return {name: n for name, n in stacked.items() if n.count_nonzero() >= 2}


def _agree(norms: Tensor, exact: Tensor, largest: Tensor, dtype: torch.dtype) -> bool:
    """Return True if norms agree up to rounding, with a wide margin.

    In float32 and float64 no wrong formula passes, as it would be wrong by a factor. In
    half precision only gross errors show. A norm below 1e-8 of its sample's largest may
    be nothing but rounding, as that of a bias before a normalisation is, and then has
    no digits to agree in.
    """
    rounding = torch.finfo(dtype).eps
    margin = 10 * rounding**0.5 * exact + min(1e-8, 1e6 * rounding**2) * largest
    return bool(((norms - exact).abs() <= margin).all())
