"""Per-sample squared gradient norms of every parameter (paper A)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointError

from .gradient_recorder import Recorder, Use, parameters_in_graph
from .model_state import as_logits, check_finite, check_recorded, model_dtype

# dJ/dz from the logits z, for one or several losses J.
Cotangents = Callable[[Tensor], Sequence[Tensor]]


class Route(NamedTuple):
    """How the gradient norms of a parameter are computed.

    Attributes
    ----------
    rule : str
        The rule that gives them, such as "conv2d".
    axis : int
        The axis of the layer's input along which the samples lie.
    rows : int
        Entries along that axis per sample.
    """

    rule: str
    axis: int
    rows: int


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


def parameter_routes(
    module: nn.Module, x: Tensor, cotangents: Cotangents
) -> dict[str, Route]:
    """Tell which parameters have their gradient norms by a rule.

    A rule must be certain. Its function must be called exactly once with the
    parameter, which must enter the logits in no other way. Comparing passes over two
    and three samples must show along which axis of the layer's input the samples lie.
    And for these samples the rules must give what autograd gives one by one.

    Parameters
    ----------
    module : torch.nn.Module
        The model, held by ``frozen(module, parameter_gradients=True)``.
    x : Tensor of shape (n_samples, *input_shape)
        Inputs, of which the first three are used. Of fewer, variations are made.
    cotangents : callable
        See `squared_gradient_norms`.

    Returns
    -------
    dict of str to Route
        By parameter name. Parameters that are not in it go through autograd sample by
        sample; those that the logits do not depend on have norm 0 either way.
    """
    parameters = gradient_parameters(module)
    three = _three_samples(x)
    try:
        uses = _certain_uses(module, three, parameters)
        fewer = _certain_uses(module, three[:2], parameters)
        routes = {
            name: route
            for name in uses.keys() & fewer.keys()
            if (route := _route(uses[name], fewer[name]))
        }
        if not routes:
            return {}
        ruled = squared_gradient_norms(module, three, cotangents, routes)
    except CheckpointError:
        # What a checkpoint recomputes in the backward pass, no recorder sees.
        return {}
    exact = squared_gradient_norms(module, three, cotangents, {})
    agree = _agree(ruled, exact, model_dtype(module))
    return {
        n: routes[n]
        for n, good in zip(parameters, agree, strict=True)
        if good and n in routes
    }


def _three_samples(x: Tensor) -> Tensor:
    """Return three different samples: equal ones would hide a change of order."""
    if len(x) >= 3:
        return x[:3]
    rounds = torch.arange(3, device=x.device) // len(x)
    filled = x[torch.arange(3, device=x.device) % len(x)]
    if not x.is_floating_point():
        return torch.stack(
            [one.roll(int(k), -1) for one, k in zip(filled, rounds, strict=True)]
        )
    waves = torch.arange(x[0].numel(), device=x.device).cos().view(x[0].shape)
    shares = rounds.view(-1, *[1] * (x.ndim - 1)) / 10
    return ((1 - shares) * filled + shares * waves).to(x.dtype)


def _certain_uses(
    module: nn.Module, x: Tensor, parameters: Mapping[str, Tensor]
) -> dict[str, list[Use]]:
    """Return the recorded uses of parameters that are used in one call only."""
    recorder = Recorder(parameters.values(), x.device)
    with recorder:
        logits = as_logits(module(x.clone()), len(x))
    check_recorded(logits, "parameters")
    return _used_once(recorder.uses, logits, parameters)


def _used_once(
    uses: Sequence[Use], logits: Tensor, parameters: Mapping[str, Tensor]
) -> dict[str, list[Use]]:
    elsewhere = parameters_in_graph(logits)
    found = {}
    for name, parameter in parameters.items():
        mine = [use for use in uses if id(parameter) in use.norms]
        if len({use.call for use in mine}) == 1 and id(parameter) not in elsewhere:
            found[name] = mine
    return found


def _route(uses: Sequence[Use], fewer: Sequence[Use]) -> Route | None:
    """Find the axis of the samples from a pass over three and one over two."""
    if len(uses) != len(fewer):
        return None
    routes = {_one_route(*pair) for pair in zip(uses, fewer, strict=True)}
    return routes.pop() if len(routes) == 1 else None


def _one_route(use: Use, fewer: Use) -> Route | None:
    if use.x is None or fewer.x is None:
        return None
    claim, shape, short = use.claim, use.x.shape, fewer.x.shape
    if claim.rule != fewer.claim.rule or len(shape) != len(short):
        return None
    axes = [axis for axis in range(len(shape)) if shape[axis] != short[axis]]
    last = 0 if claim.trailing is None else len(shape) - claim.trailing - 1
    if len(axes) != 1 or axes[0] > last:
        return None
    rows, rest = divmod(shape[axes[0]], 3)
    if rest or 2 * rows != short[axes[0]] or (rows > 1 and not claim.rows):
        return None
    return Route(claim.rule, axes[0], rows)


def _agree(ruled: Tensor, exact: Tensor, dtype: torch.dtype) -> list[bool]:
    """Tell for which parameters two computations agree but for rounding.

    A norm far below the largest one of its sample is that of rounding errors, and
    differs as they do.
    """
    rounding = torch.finfo(dtype).eps
    negligible = 1e6 * rounding**2 * exact.amax(dim=-1, keepdim=True)
    near = (ruled - exact).abs() <= 10 * rounding**0.5 * exact + negligible
    return near.flatten(0, -2).all(dim=0).tolist()


def squared_gradient_norms(
    module: nn.Module,
    x: Tensor,
    cotangents: Cotangents,
    routes: Mapping[str, Route] | None = None,
) -> Tensor:
    """Compute each sample's squared gradient norm of every parameter.

    Cost: one forward pass and one backward pass per loss over the whole batch, in
    which no gradient of a weight is computed, for the parameters that have a rule.
    If there are others, one forward and one backward pass per sample besides.

    Parameters
    ----------
    module : torch.nn.Module
        The model, held by ``frozen(module, parameter_gradients=True)``.
    x : Tensor of shape (n_samples, *input_shape)
        The inputs.
    cotangents : callable
        Takes logits (n_samples, n_classes), returns dJ/dz of each sample for one loss
        J or several: a sequence of ``n_losses`` tensors of that shape.
    routes : dict of str to Route, optional
        What `parameter_routes` found for this model and such inputs. Found anew if
        None. Only a parameter that this very batch uses accordingly goes by rule.

    Returns
    -------
    Tensor of shape (n_samples, n_losses, n_parameters)
        Squared L2 norms (paper A, Eq. 2), accumulated in float64 because squares of
        small gradients underflow in float32. A parameter on which the logits do not
        depend has norm 0.

    Raises
    ------
    ValueError
        If autograd did not record how the logits depend on the parameters, or a
        gradient is NaN or infinite.
    """
    if routes is None:
        routes = parameter_routes(module, x, cotangents)
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
    recorder = Recorder(parameters.values(), x.device)
    with recorder:
        logits = as_logits(module(x.clone()), len(x))
    check_recorded(logits, "parameters")
    taken, unused = _sort(recorder.uses, logits, parameters, routes)
    losses: dict[str, list[Tensor]] = {name: [] for name in [*taken, *unused]}
    outdated: set[int] = set()
    for cotangent, scale, last in _scaled(cotangents(logits), logits):
        sums: dict[int, Tensor] = {}
        recorder.on_gradient = partial(_add, sums, outdated, len(x), last)
        torch.autograd.grad(
            logits, recorder.token, cotangent, allow_unused=True, retain_graph=not last
        )
        for name, norms in losses.items():
            reached = sums.get(id(parameters[name]), torch.zeros_like(scale))
            norms.append(reached.to(scale.device) * scale.square())
    return {
        name: torch.stack(norms, dim=1)
        for name, norms in losses.items()
        if id(parameters[name]) not in outdated
    }


def _sort(
    uses: Sequence[Use],
    logits: Tensor,
    parameters: Mapping[str, Tensor],
    routes: Mapping[str, Route],
) -> tuple[list[str], list[str]]:
    """Return the parameters that this batch uses as routed, and those it does not use.

    Uses of other parameters are forgotten.
    """
    certain = _used_once(uses, logits, parameters)
    taken = [
        name
        for name, mine in certain.items()
        if name in routes and all(_follows(use, routes[name], logits) for use in mine)
    ]
    wanted = {id(parameters[name]) for name in taken}
    reached = parameters_in_graph(logits).union(*(use.norms for use in uses))
    for use in uses:
        use.keep_only(wanted)
    return taken, [name for name, p in parameters.items() if id(p) not in reached]


def _follows(use: Use, route: Route, logits: Tensor) -> bool:
    """Set the axis of the samples if a use is as routed, and tell whether it is."""
    if use.x is None or use.claim.rule != route.rule or use.x.ndim <= route.axis:
        return False
    use.axis = route.axis
    return use.x.shape[route.axis] == route.rows * len(logits)


def _add(
    sums: dict[int, Tensor],
    outdated: set[int],
    n_samples: int,
    last: bool,
    use: Use,
    gradient: Tensor,
) -> None:
    """Add the norms of a use, whose output has this gradient, to ``sums``."""
    if use.x is None:
        return
    if use.changed():
        outdated.update(use.norms)
        return
    x, gradient = use.x.movedim(use.axis, 0), gradient.movedim(use.axis, 0)
    for key, norms in use.norms.items():
        term = norms(x, gradient, n_samples)
        sums[key] = sums[key] + term.to(sums[key].device) if key in sums else term
    if last:
        use.x = None


def _scaled(
    cotangents: Sequence[Tensor], logits: Tensor
) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Yield each loss's cotangent in the type of the logits, with its size apart.

    Gradients are linear in it: scaled so that its largest entry is 1, none underflows
    because the logits saturate. Norms are to be multiplied by the square of the size.
    """
    for position, cotangent in enumerate(cotangents, start=1):
        size = cotangent.abs().amax(dim=1)
        size = torch.where(size == 0, 1, size)
        scaled = (cotangent / size[:, None]).to(logits.dtype)
        yield scaled, size, position == len(cotangents)


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
    for cotangent, scale, last in _scaled(cotangents(logits), logits):
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
