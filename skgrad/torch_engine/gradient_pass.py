"""One batched pass in which rules give the gradient norms of parameters."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks

from .._several import Batch, call
from .gradient_recorder import Recorder
from .gradient_uses import Use, nodes_in_graph
from .model_state import check_recorded
from .scaling import widest_float


class Route(NamedTuple):
    """How a rule such as "conv2d" computes the gradient norms of a parameter.

    In the layer's input the samples lie along ``axis``, with ``rows`` of that axis
    each.
    """

    rule: str
    axis: int
    rows: int


class NoRulesError(Exception):
    """The model cannot be recorded.

    It uses checkpoints, which run layers again in the backward pass, where no recorder
    sees them; or transforms such as vmap, which taps do not support; or it fails on
    detached parameters.
    """


def recorded_forward(module: nn.Module, x: Batch, recorder: Recorder) -> Any:
    """Return the output of a forward pass over x, which the model may overwrite.

    Raises NoRulesError if the model cannot be recorded.
    """
    # Inputs of several tensors have entries.
    recorder.expect(module, getattr(x, "entries", {0: x}).values())
    try:
        # A checkpoint works by hooks on what is saved for the backward pass.
        with disable_saved_tensors_hooks("not recorded"), recorder:
            return call(module, x)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        # An error of the model itself comes again without a recorder.
        raise NoRulesError from error


class RuledGraph:
    """The graph of a recorded pass, and backward passes that compute gradient norms.

    The parameters are given by name. With ``create_graph`` the norms can be
    differentiated by x. ``uses`` holds the parameters that enter the logits through a
    single ruled call, with its uses; ``unused`` those on which the logits do not
    depend; ``reorders`` is True if some operation may have changed the order of the
    samples.
    """

    def __init__(
        self,
        recorder: Recorder,
        logits: Tensor,
        parameters: Mapping[str, Tensor],
        *,
        create_graph: bool = False,
    ) -> None:
        check_recorded(logits, "parameters")
        self.logits = logits
        self.reorders = recorder.reorders
        self._recorder = recorder
        self._parameters = parameters
        self._create_graph = create_graph
        self._sort_parameters()

    def _sort_parameters(self) -> None:
        """Find the parameters with one ruled call, and those without effect."""
        self.uses: dict[str, list[Use]] = {}
        self.unused: list[str] = []
        nodes = list(nodes_in_graph(self.logits, self._recorder.cuts))
        elsewhere = {id(node.variable) for node in nodes if hasattr(node, "variable")}
        uses_of_taps = (getattr(node, "use", None) for node in nodes)
        reached = {id(use) for use in uses_of_taps if isinstance(use, Use)}
        # A layer whose output is thrown away has no effect, unless the model itself
        # runs a backward pass through it.
        by_key: dict[int, list[Use]] = {}
        for use in self._recorder.uses:
            if id(use) in reached or not use.certain:
                for key in use.keys:
                    by_key.setdefault(key, []).append(use)
            else:
                use.keep(())
        for name, parameter in self._parameters.items():
            key = id(parameter)
            uses = by_key.get(key, [])
            # Its gradient has a part beside that of the recorded calls.
            if key in elsewhere:
                continue
            if not uses:
                self.unused.append(name)
            elif len({u.call for u in uses}) == 1 and all(u.certain for u in uses):
                self.uses[name] = uses

    def select(self, routes: Mapping[str, Route]) -> None:
        """Keep the parameters that this batch uses according to their routes."""
        n = len(self.logits)
        self.uses = {
            name: uses
            for name, uses in self.uses.items()
            if name in routes and all(_is_routed(use, routes[name], n) for use in uses)
        }
        # The inputs of all other calls need not be held in memory.
        kept = {id(self._parameters[name]) for name in self.uses}
        for use in self._recorder.uses:
            use.keep(kept)
        for name, uses in self.uses.items():
            for use in uses:
                use.axis = routes[name].axis

    def norms(self, cotangent: Tensor, *, last: bool) -> dict[str, Tensor]:
        """Return the squared norms (n_samples,) of the selected parameters.

        This runs a backward pass from the cotangent (n_samples, n_classes), the
        gradient of each sample's loss at the logits. After the ``last`` pass memory is
        freed. A parameter whose layer's input was overwritten is missing.
        """
        sums: dict[int, Tensor] = {}
        overwritten: set[int] = set()
        self._recorder.watcher.on_gradient = partial(self._add, sums, overwritten, last)
        try:
            torch.autograd.grad(
                self.logits,
                self._recorder.token,
                cotangent,
                allow_unused=True,
                retain_graph=self._create_graph or not last,
                create_graph=self._create_graph,
            )
        finally:  # else the graph would keep itself alive through its taps
            self._recorder.watcher.on_gradient = None
        dtype = widest_float(cotangent.device)
        zeros = cotangent.new_zeros(len(cotangent), dtype=dtype)
        keys = {name: id(self._parameters[name]) for name in self.uses}
        return {
            name: sums.get(key, zeros)
            for name, key in keys.items()
            if key not in overwritten
        }

    def _add(
        self,
        sums: dict[int, Tensor],
        overwritten: set[int],
        last: bool,
        use: Use,
        gradient: Tensor,
    ) -> None:
        """Add the norms of a use, whose output has this gradient."""
        if use.x is None:
            return
        if use.overwritten():
            overwritten.update(use.keys)
            return
        for key, norms in use.norms(gradient, use.axis, len(self.logits)).items():
            # Layers may lie on several devices.
            term = norms.to(self.logits.device)
            sums[key] = sums[key] + term if key in sums else term
        if last:
            use.x = None


def _is_routed(use: Use, route: Route, n_samples: int) -> bool:
    """Return True if a use has the rule and the shape of a route."""
    return (
        use.x is not None
        and use.claim.rule == route.rule
        and use.x.ndim > route.axis
        and use.x.shape[route.axis] == route.rows * n_samples
    )


def samples_in_order(
    norms: Mapping[str, Tensor],
    rescaled: Mapping[str, Tensor],
    scales: Tensor,
    dtype: torch.dtype,
) -> set[str]:
    """Find the parameters whose norms all stand in their samples' places.

    Those are the parameters whose squared norms (n_samples,) grew by the squares of the
    ``scales``, different numbers in rising order, in a pass with cotangents that were
    multiplied by them. Rounding of gradients of type ``dtype`` is tolerated, and so is
    any order of norms that are nothing but rounding beside their sample's largest, as
    those of a bias before a softmax.
    """
    squares, rounding = scales.square(), torch.finfo(dtype).eps
    margin = rounding**0.5
    if len(squares) > 1:
        # Far less than the step from one sample's factor to the next.
        margin = min(margin, torch.diff(squares).amin().item() / 50)
    grown = {name: squares * norms[name] for name in norms.keys() & rescaled.keys()}
    if not grown:
        return set()
    largest = torch.stack(list(grown.values())).amax(dim=0)
    noise = min(1e-8, 100 * rounding**2) * largest
    return {
        name
        for name, expected in grown.items()
        if bool(((rescaled[name] - expected).abs() <= margin * expected + noise).all())
    }
