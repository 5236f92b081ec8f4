"""Which parameters have their gradient norms by a rule, and which by autograd."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .gradient_norms import whole_squares
from .gradient_pass import Route, RuledGraph
from .gradient_recorder import Recorder
from .gradient_uses import Use
from .model_state import (
    check_finite_gradients,
    check_recorded,
    differentiating,
    model_dtype,
)
from .parameter_gradients import Cotangents, scaled_cotangents
from .probe import N_SAMPLES, Probe


def find_routes(probe: Probe, cotangents: Cotangents) -> dict[str, Route]:
    """Find the parameters whose gradient norms a rule computes correctly.

    For that, a parameter must enter the logits through one call of one ruled function
    and in no other way, which the graph of the logits shows. With the loss of one of
    the three samples alone, the gradient at the output of that call must be exactly 0
    but for the rows of this sample along one axis, and not 0 there for at least two of
    the samples: so none is in another's place. And the rule must agree with autograd,
    up to rounding.

    The probe records norms; of the losses that ``cotangents`` gives, see
    `NetworkPass.gradient_norms`, the first is used. Parameters that are not in the
    result go through autograd sample by sample; those that the logits do not depend on
    have norm 0 either way. Raises ValueError if no gradient reaches the parameters, or
    one is not finite. Cost: three backward passes.
    """
    check_recorded(probe.logits, "parameters")
    # Where a parameter is used does not depend on the loss, so one loss suffices.
    cotangent, size, _ = next(scaled_cotangents(cotangents, probe.logits))
    uses: dict[str, list[Use]] = {}
    if probe.recorder is not None:
        uses = RuledGraph(probe.recorder, probe.logits, probe.parameters).uses
    candidates = {id(use): _Candidates(use) for found in uses.values() for use in found}
    exact = []
    for sample in range(N_SAMPLES):
        # The loss of one sample alone has no gradient at the rows of the others.
        alone = torch.zeros_like(cotangent)
        alone[sample] = cotangent[sample]
        exact.append(_backward(probe, alone, candidates, sample))
    # (n_samples, n_parameters), as the norms of the rules.
    norms = check_finite_gradients(torch.stack(exact) * size.square()[:, None])
    routes, dtype = {}, model_dtype(probe.module)
    by_name = dict(zip(probe.parameters, norms.T, strict=True))
    for name, found in uses.items():
        key, shown = id(probe.parameters[name]), [candidates[id(use)] for use in found]
        for route, squared in _shared_routes(shown, key).items():
            ruled = squared.to(size.device) * size.square()
            if _agree(ruled, by_name[name], norms.amax(dim=1), dtype):
                routes[name] = route
                break
    return routes


def _backward(
    probe: Probe, cotangent: Tensor, candidates: "dict[int, _Candidates]", sample: int
) -> Tensor:
    """Return the squared norms (n_parameters,) of the loss of one sample.

    They are those of autograd. The candidates take the norms of the rules in passing.
    """
    recorder = probe.recorder or Recorder((), probe.x.device)

    def show(use: Use, gradient: Tensor) -> None:
        if id(use) in candidates:
            candidates[id(use)].add(gradient, sample)

    recorder.watcher.on_gradient = show
    try:
        with differentiating():
            _, *gradients = torch.autograd.grad(
                probe.logits,
                [recorder.token, *probe.parameters.values()],
                cotangent,
                retain_graph=True,
                materialize_grads=True,
            )
    finally:  # else the graph would keep itself alive through its taps
        recorder.watcher.on_gradient = None
    return whole_squares(gradients).to(cotangent.device)


class _Candidates:
    """The axes along which the samples may lie in the input of a call.

    ``norms`` holds, for each of them that is still possible, the squared norms of the
    parameters of the call (by identity), one entry per sample. ``n_seen`` counts the
    samples whose loss has a gradient at the output.
    """

    def __init__(self, use: Use) -> None:
        self._use = use
        self.norms: dict[Route, dict[int, list[Tensor]]] = {}
        self.n_seen = 0
        if use.x is None or use.overwritten():
            return
        claim, shape = use.claim, use.x.shape
        last = 0 if claim.trailing is None else len(shape) - claim.trailing - 1
        for axis in range(last + 1):
            # Each sample has equally many rows along it.
            rows, rest = divmod(shape[axis], N_SAMPLES)
            if rows and not rest and (rows == 1 or claim.rows):
                route = Route(claim.rule, axis, rows)
                self.norms[route] = {key: [] for key in use.keys}

    def add(self, gradient: Tensor, sample: int) -> None:
        """Take the gradient at the output, of the loss of one sample alone."""
        self.n_seen += bool(gradient.any())
        for route in list(self.norms):
            if self._use.overwritten() or not _is_alone(gradient, route, sample):
                del self.norms[route]
                continue
            norms = self._use.norms(gradient, route.axis, N_SAMPLES)
            for key, squared in norms.items():
                self.norms[route][key].append(squared[sample])


def _is_alone(gradient: Tensor, route: Route, sample: int) -> bool:
    """Return True if a gradient is 0 but for the rows of a sample."""
    others = gradient.clone()
    others.narrow(route.axis, sample * route.rows, route.rows).zero_()
    return not others.any()


def _shared_routes(candidates: Sequence[_Candidates], key: int) -> dict[Route, Tensor]:
    """Return the routes that all calls of a parameter share, with its squared norms."""
    routes = {}
    for route in candidates[0].norms:
        terms = [c.norms[route][key] for c in candidates if route in c.norms]
        if len(terms) == len(candidates) and all(len(t) == N_SAMPLES for t in terms):
            norms = torch.stack([torch.stack(term) for term in terms]).sum(dim=0)
            # Where two of three samples are in place, so is the third. A norm is 0 also
            # where the input is, as in the first step of a recurrent layer. Of several
            # uses only a norm shows that their sum is right.
            alone = len(candidates) == 1
            if norms.count_nonzero() >= 2 or (alone and candidates[0].n_seen >= 2):
                routes[route] = norms
    return routes


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
