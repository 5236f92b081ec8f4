"""Which parameters autograd reaches, and at what price."""

from collections import Counter

import torch
from sklearn.exceptions import EfficiencyWarning
from torch import nn

from .._compat import is_quantised
from .._messages import listed, warn
from .._several import call
from .fingerprint import class_name
from .gradient_pass import Route
from .model_state import as_logits, check_recorded
from .probe import Changed, Probe

# Smaller networks take no time worth a word.
_TINY = 100_000


def check_reach(probe: Probe) -> None:
    """Warn of weights that matter though no gradient reaches them, raise if none does.

    Norms of exactly 0 look like features. A dead ReLU lets no warning arise: it passes
    a gradient, of zeros. Nor does a parameter without influence, as of a layer that is
    not used. The probe records norms. Cost: a forward pass if a parameter is not
    reached.
    """
    check_recorded(probe.logits, "parameters")
    reached = probe.reached
    if not reached:
        check_recorded(probe.logits.detach(), "parameters")
    cut_off = [name for name in probe.parameters if name not in reached]
    if cut_off and _matter(probe, cut_off):
        warn(
            f"model lets no gradient reach {len(cut_off)} of its "
            f"{len(probe.parameters)} parameters, though its logits depend on them: "
            f"{listed(cut_off, 3)}. Their gradient norms are 0, as behind "
            "torch.no_grad(), .detach(), whole numbers or quantised layers.",
            UserWarning,
        )
    quantised = [n for n, part in probe.module.named_modules() if is_quantised(part)]
    if quantised:
        warn(
            f"model has quantised layers, {listed(quantised, 3)}, whose weights have "
            "no gradient and no column. Give the module that it was made of.",
            UserWarning,
        )


def _matter(probe: Probe, names: list[str]) -> bool:
    """Return True if the logits change with other values of some parameters."""
    others = {name: _other(probe.parameters[name]) for name in names}
    try:
        output = call(Changed(probe.module, others), probe.x.detach().clone())
    except RuntimeError:  # a module of torch.jit, which keeps its parameters
        return False
    changed = as_logits(output, len(probe.x)).detach()
    return not torch.equal(changed, probe.logits.detach())


def _other(parameter: nn.Parameter) -> torch.Tensor:
    # A shift by one number alone could be without effect, as before a softmax.
    values = parameter.detach()
    waves = torch.arange(values.numel(), device=values.device).cos().view_as(values)
    return values + (values.abs().mean() + 0.1) * waves.to(values.dtype)


def warn_of_slow(probe: Probe, routes: dict[str, Route]) -> None:
    """Warn of parameters without a route, which take passes for each sample.

    These passes together cost more than the batched one, however few they are for.
    Where most parameters have no gradient, so that zeros show no rule, says that.
    """
    unruled = probe.reached - set(routes)
    slow = [name for name in probe.parameters if name in unruled]
    if 2 * len(slow) > len(probe.parameters) and _all_zero(probe, slow):
        warn(
            f"model has gradients of 0 at {len(slow)} of {len(probe.parameters)} "
            f"parameters, {listed(slow, 3)}: for all three samples that fit looks at. "
            "Their norms say nothing if that is so everywhere. Look for weights of 0 "
            "in a later layer, such as the head of a network that was not trained.",
            UserWarning,
        )
        return
    if not slow or sum(p.numel() for p in probe.parameters.values()) < _TINY:
        return
    kinds = Counter(_owner(probe.module, name) for name in slow)
    shown = ", ".join(f"{kind} ({n})" for kind, n in kinds.most_common(3))
    more = f" and {len(kinds) - 3} more classes" if len(kinds) > 3 else ""
    warn(
        f"{len(slow)} of {len(probe.parameters)} parameters have no rule for gradient "
        "norms and take a forward and a backward pass for each sample, most of the "
        f"time: those of {shown}{more}. routes_ names them.",
        EfficiencyWarning,
    )


def routes_that_pay(probe: Probe, routes: dict[str, Route]) -> dict[str, Route]:
    """Return all routes, or none where a pass for each sample alone costs less.

    Parameters without a route take such passes anyway. The gradients of all others add
    at most a third to them, less than the batched pass costs, unless most weights have
    a route: those of a recurrent cell have none.
    """
    sizes = {n: probe.parameters[n].numel() for n in probe.reached}
    ruled = sum(size for name, size in sizes.items() if name in routes)
    return routes if 2 * ruled > sum(sizes.values()) else {}


def _all_zero(probe: Probe, names: list[str]) -> bool:
    """Return True if the sum of the logits has no gradient at some parameters."""
    gradients = torch.autograd.grad(
        probe.logits.sum(),
        [probe.parameters[name] for name in names],
        retain_graph=True,
        materialize_grads=True,
    )
    return not any(gradient.any() for gradient in gradients)


def _owner(module: nn.Module, name: str) -> str:
    # Modules of torch.jit have no get_submodule.
    return class_name(dict(module.named_modules())[name.rpartition(".")[0]])
