"""Calls of ruled functions, and the squared gradient norms that follow from them."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from .._compat import write_count
from .gradient_norms import whole_squares
from .gradient_rules import Claim, Norms


class Use:
    """One recorded call: its input ``x`` (None once it is no longer wanted) and claim.

    ``call`` is its number, which the uses of one attention share; ``keys`` are the
    identities of its parameters. Those that it takes themselves have a rule. Of those
    that a tensor in its claim was made of, the mapping ``made``, the gradients come
    from autograd: ``replay`` runs the call again on a part of x, in the graph of these
    parameters. ``axis`` is that of x along which the samples lie, set when it is known.
    It is not ``certain`` if a gradient passed through while it was being recorded: the
    model differentiates itself, and the logits depend on the call in a second way.
    """

    def __init__(
        self,
        x: Tensor,
        claim: Claim,
        call: int,
        known: Collection[int],
        made: Mapping[int, Tensor],
        replay: Callable[[Tensor], Tensor],
    ) -> None:
        self.take(x)
        self.claim = claim
        self.call = call
        self.axis = 0
        self.certain = True
        self._norms: dict[int, Norms] = {
            id(tensor): norms for tensor, norms in claim.parts if id(tensor) in known
        }
        self._made = made
        self._replay = replay
        self.keys = {*self._norms, *made}

    def take(self, x: Tensor) -> None:
        """Take the input, which nobody may write into from now on."""
        self.x: Tensor | None = x
        self._writes = write_count(x)

    def overwritten(self) -> bool:
        """Return True if something wrote into the input after the call."""
        return self.x is not None and write_count(self.x) != self._writes

    def keep(self, keys: Collection[int]) -> None:
        """Forget all parameters but these, and the input if none is left."""
        self.keys &= set(keys)
        if not self.keys:
            self.x = None

    def norms(self, gradient: Tensor, axis: int, n: int) -> dict[int, Tensor]:
        """Return the squared norms (n_samples,) of its parameters, by identity.

        The n samples lie along an axis of x and of the gradient at its output.
        """
        if self.x is None:
            return {}
        rows, gradients = (t.movedim(axis, 0) for t in (self.x, gradient))
        found = {
            key: norms(rows, gradients, n)
            for key, norms in self._norms.items()
            if key in self.keys
        }
        # What is made of a parameter that the call also takes itself is in both.
        return found | self._norms_of_made(self.x, gradient, axis, n)

    def _norms_of_made(
        self, x: Tensor, gradient: Tensor, axis: int, n: int
    ) -> dict[int, Tensor]:
        leaves = {key: leaf for key, leaf in self._made.items() if key in self.keys}
        if not leaves:
            return {}
        terms = []
        for part, slope in zip(x.chunk(n, axis), gradient.chunk(n, axis), strict=True):
            with torch.enable_grad():
                output = self._replay(part)
            gradients = torch.autograd.grad(
                output,
                list(leaves.values()),
                slope,
                # Other samples and other calls need the graph of the parameters.
                retain_graph=True,
                create_graph=torch.is_grad_enabled(),
                materialize_grads=True,
            )
            terms.append(whole_squares(gradients))
        return dict(zip(leaves, torch.stack(terms).unbind(dim=1), strict=True))


def leaves_in_graph(
    output: Tensor, beyond: Collection[object] = ()
) -> dict[int, Tensor]:
    """Return all leaf tensors on which an output depends, by identity.

    What lies beyond the nodes ``beyond`` of the graph is left out.
    """
    nodes = nodes_in_graph(output, beyond)
    leaves = (node.variable for node in nodes if hasattr(node, "variable"))
    return {id(leaf): leaf for leaf in leaves}


def nodes_in_graph(output: Tensor, beyond: Collection[object] = ()) -> Iterator[Any]:
    """Yield all nodes of the graph of an output, but those beyond some."""
    seen, waiting = set(beyond), [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        # torch's stand-in for an operator without derivative, as of quantised layers.
        if node.name() == "torch::autograd::WarnNotImplemented":
            continue
        yield node
        waiting += [parent for parent, _ in node.next_functions]
