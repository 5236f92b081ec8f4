"""One batched pass in which rules give the gradient norms of parameters."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks

from .cotangents import wide
from .gradient_recorder import Recorder, Use, leaves_in_graph
from .memory import is_out_of_memory
from .model_state import as_logits, check_recorded


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


class NoRulesError(Exception):
    """The model runs in ways that cannot be recorded.

    It uses checkpoints, which run layers again in the backward pass, where no recorder
    sees them; or it fails on detached parameters.
    """


class RuledPass:
    """A forward pass over a batch, and backward passes that show gradient norms.

    Parameters
    ----------
    module : torch.nn.Module
        The model, held by ``frozen(module, parameter_gradients=True)``.
    x : Tensor of shape (n_samples, *input_shape)
        The batch.
    parameters : dict of str to Tensor
        The parameters by name.

    Attributes
    ----------
    logits : Tensor of shape (n_samples, n_classes)
        The logits.
    uses : dict of str to list of Use
        The parameters that enter the logits through a single ruled call, with it.
    unused : list of str
        The parameters on which the logits do not depend.
    reorders : bool
        Whether some operation may have changed the order of the samples.

    Raises
    ------
    NoRulesError
        If the model cannot be recorded.
    """

    def __init__(
        self, module: nn.Module, x: Tensor, parameters: Mapping[str, Tensor]
    ) -> None:
        self._parameters = parameters
        self._recorder = Recorder(parameters.values(), x.device)
        try:
            # A checkpoint works by hooks on what is saved for the backward pass.
            with disable_saved_tensors_hooks("not recorded"), self._recorder:
                output = module(x.clone())
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            # Whatever is wrong with the model itself shows without a recorder too.
            raise NoRulesError from error
        self.logits = as_logits(output, len(x))
        check_recorded(self.logits, "parameters")
        self.reorders = self._recorder.reorders
        self.uses: dict[str, list[Use]] = {}
        self.unused: list[str] = []
        elsewhere = leaves_in_graph(self.logits)
        uses_of: dict[int, list[Use]] = {}
        for use in self._recorder.uses:
            for key in use.norms:
                uses_of.setdefault(key, []).append(use)
        for name, parameter in parameters.items():
            mine = uses_of.get(id(parameter), [])
            if id(parameter) in elsewhere:
                continue
            if not mine:
                self.unused.append(name)
            # A use is uncertain if the model itself ran a backward pass through it.
            elif len({u.call for u in mine}) == 1 and all(u.certain for u in mine):
                self.uses[name] = mine

    def take(self, routes: Mapping[str, Route]) -> None:
        """Prepare for the norms of the parameters that this batch uses as routed.

        Uses of other parameters are forgotten.
        """
        n = len(self.logits)
        self.uses = {
            name: uses
            for name, uses in self.uses.items()
            if name in routes and all(_is_routed(use, routes[name], n) for use in uses)
        }
        taken = {id(self._parameters[name]) for name in self.uses}
        for use in self._recorder.uses:
            use.norms = {key: use.norms[key] for key in use.norms.keys() & taken}
            if not use.norms:
                use.x = None
        for name, uses in self.uses.items():
            for use in uses:
                use.axis = routes[name].axis

    def norms(self, cotangent: Tensor, *, last: bool) -> dict[str, Tensor]:
        """Run a backward pass.

        Parameters
        ----------
        cotangent : Tensor of shape (n_samples, n_classes)
            The gradient of each sample's loss at the logits.
        last : bool
            Whether this is the last pass, so that memory can be given back on the way.

        Returns
        -------
        dict of str to Tensor of shape (n_samples,)
            Squared gradient norms of the parameters taken. One whose layer's input
            was overwritten since is missing.
        """
        sums: dict[int, Tensor] = {}
        overwritten: set[int] = set()
        add = partial(self._add, sums, overwritten, last)
        self._recorder.on_gradient = add
        try:
            torch.autograd.grad(
                self.logits,
                self._recorder.token,
                cotangent,
                allow_unused=True,
                retain_graph=not last,
            )
        finally:  # else the graph would hold itself by way of its taps
            self._recorder.on_gradient = None
        keys = {name: id(self._parameters[name]) for name in self.uses}
        nothing = cotangent.new_zeros(len(cotangent), dtype=wide(cotangent.device))
        return {
            name: sums.get(key, nothing)
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
            overwritten.update(use.norms)
            return
        n, device = len(self.logits), self.logits.device
        rows, gradients = (t.movedim(use.axis, 0) for t in (use.x, gradient))
        for key, norms in use.norms.items():
            term = norms(rows, gradients, n).to(device)
            sums[key] = sums[key] + term if key in sums else term
        if last:
            use.x = None


def _is_routed(use: Use, route: Route, n_samples: int) -> bool:
    """Tell whether a use is of the rule and the shape of a route."""
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
    """Tell for which parameters each norm belongs to the sample in whose place it is.

    Parameters
    ----------
    norms : dict of str to Tensor of shape (n_samples,)
        Squared norms.
    rescaled : dict of str to Tensor of shape (n_samples,)
        Those of a pass whose cotangents were multiplied by ``scales``.
    scales : Tensor of shape (n_samples,)
        Different numbers, in rising order.
    dtype : torch.dtype
        The type of the gradients, whose rounding is let through.

    Returns
    -------
    set of str
        The parameters whose norms grew by the squares of the scales in that order.
    """
    squares = scales.square()
    margin = torch.finfo(dtype).eps ** 0.5
    if len(squares) > 1:
        margin = min(margin, torch.diff(squares).amin().item() / 50)
    grown = {name: squares * norms[name] for name in norms.keys() & rescaled.keys()}
    return {
        name
        for name, expected in grown.items()
        if bool(((rescaled[name] - expected).abs() <= margin * expected).all())
    }
