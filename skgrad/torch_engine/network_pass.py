"""One forward pass over a batch, recorded, and the backward passes that it feeds."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import (
    AbstractContextManager,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._several import Batch, call
from .activations import LOGITS, EndOfPass, OutputHooks
from .cosines import Maps, class_cosines, recorded_cosines
from .gradient_pass import NoRulesError, Route, RuledGraph, recorded_forward
from .gradient_recorder import Recorder
from .input_leaf import InputLeaf
from .memory_format import with_channels_last
from .model_state import (
    as_logits,
    check_finite_gradients,
    check_recorded,
    differentiating,
    sound_normalisations,
)
from .parameter_gradients import (
    Cotangents,
    gradient_parameters,
    norms_by_rules,
    norms_of_sample,
)
from .pooling import LayerOutput


def as_it_is(module: nn.Module, x: Batch) -> AbstractContextManager:
    """Return a context in which a model runs as it is."""
    return nullcontext()


@dataclass(frozen=True)
class Wanted:
    """What a pass is asked for. Requests of several families of features add up by |.

    ``outputs`` are kept of layers, and with ``logits`` the pass runs to its end.
    ``routes`` are those of all parameters whose gradient norms a rule computes, None if
    no norms are wanted. ``inputs`` asks for gradients at the inputs, or at the output
    of the layer ``embedding`` that looks whole numbers up; ``changes`` for the inputs
    as they came, of which a family passes changed copies by `logits_at`. ``n_backward``
    counts the families that run backward passes, the last of which frees the graph.
    ``channels_last`` lays images out in that order in memory, see `Probe`.
    """

    outputs: tuple[LayerOutput, ...] = ()
    logits: bool = False
    routes: Mapping[str, Route] | None = None
    inputs: bool = False
    changes: bool = False
    n_backward: int = 0
    embedding: str | None = None
    channels_last: bool = False

    def __or__(self, other: "Wanted") -> "Wanted":
        routes = self.routes if other.routes is None else other.routes
        if self.routes is not None and other.routes is not None:
            routes = {**self.routes, **other.routes}
        return Wanted(
            tuple(dict.fromkeys((*self.outputs, *other.outputs))),
            self.logits or other.logits,
            routes,
            self.inputs or other.inputs,
            self.changes or other.changes,
            self.n_backward + other.n_backward,
            self.embedding or other.embedding,
            self.channels_last or other.channels_last,
        )


class NetworkPass:
    """A forward pass over a batch in which everything that was asked for is recorded.

    The model is held by ``frozen``, with parameter gradients if norms are wanted. A
    model that works in place may write into ``x`` (n_samples, *input_shape), unless
    gradients are wanted. With ``create_graph`` all results are functions of ``x``,
    a tensor in a graph, that autograd can differentiate.

    Cost: one forward pass, up to the deepest output if nothing else is wanted; and the
    backward passes of the methods. Raises ValueError if the model returns no logits, or
    a layer is not called once up to the end of the pass, or returns anything but finite
    floating-point values with one row per sample.
    """

    def __init__(
        self,
        module: nn.Module,
        x: Batch,
        wanted: Wanted,
        *,
        create_graph: bool = False,
    ) -> None:
        self._module = module
        self._wanted = wanted
        self._create_graph = create_graph
        self._n_backward = wanted.n_backward
        self._graph: RuledGraph | None = None
        self._parameters: dict[str, nn.Parameter] = {}
        if wanted.routes is not None:
            self._parameters = gradient_parameters(module)
        self._leaf: InputLeaf | None = None
        self._given = self._x = x
        if wanted.channels_last and self._differentiates():
            self._x = with_channels_last(x)
        if wanted.inputs and not create_graph:
            embeddings = () if wanted.embedding is None else (wanted.embedding,)
            self._leaf = InputLeaf(self._x, embeddings)
            self._x = self._leaf.x
        kept = tuple(o for o in wanted.outputs if o.layer != LOGITS)
        logits = wanted.logits or wanted.changes
        self._needs_logits = len(kept) < len(wanted.outputs) or logits
        self._outputs = OutputHooks(kept, x, create_graph, self._ends_early())
        with torch.set_grad_enabled(self._differentiates()):
            if self._needs_batch():
                self._run()

    def _has_norms(self) -> bool:
        """Return True if norms come from this pass, not from passes of each sample."""
        routes = self._wanted.routes
        return routes is not None and (bool(routes) or len(self._x) == 1)

    def _differentiates(self) -> bool:
        return self._has_norms() or self._wanted.inputs or self._create_graph

    def _ends_early(self) -> bool:
        # Outputs alone need no more than the layers up to the deepest one.
        return not (self._needs_logits or self._wanted.inputs or self._has_norms())

    def _needs_batch(self) -> bool:
        return bool(
            self._wanted.outputs or self._needs_logits or self._differentiates()
        )

    def _run(self) -> None:
        # The gradient of a single sample is that of the batch: autograd needs no rules.
        if self._wanted.routes and len(self._x) > 1:
            with suppress(NoRulesError):
                self._run_recorded(self._wanted.routes)
                return
        output = None
        with suppress(EndOfPass), self._hooks():
            output = self._called(self._own_copy())
        self._keep(output)

    def _run_recorded(self, routes: Mapping[str, Route]) -> None:
        """Run the model under a recorder of the calls that have rules."""
        recorder = Recorder(
            self._parameters.values(), self._x.device, create_graph=self._create_graph
        )
        with self._hooks():
            output = recorded_forward(self._module, self._x.clone(), recorder)
        self._keep(output)
        self._graph = RuledGraph(
            recorder, self._logits, self._parameters, create_graph=self._create_graph
        )
        self._graph.select(routes)

    @contextmanager
    def _hooks(self) -> Iterator[None]:
        at_inputs = nullcontext() if self._leaf is None else self._leaf.on(self._module)
        with at_inputs, self._outputs.on(self._module):
            yield

    def _keep(self, output: Any) -> None:
        self._outputs.check()
        if not self._outputs.stop:
            self._logits = as_logits(output, len(self._x))

    def _own_copy(self) -> Batch:
        """Return inputs that the model may overwrite."""
        again = self._differentiates() or self._wanted.changes
        return self._x.clone() if again else self._x

    @property
    def x(self) -> Batch:
        """The inputs (n_samples, *input_shape), for families that ask for changes."""
        return self._given if self._create_graph else self._given.detach()

    def logits_at(
        self,
        x: Batch,
        within: Callable[[nn.Module, Batch], AbstractContextManager] = as_it_is,
    ) -> Tensor:
        """Return the logits of other inputs, at one forward pass.

        ``within`` takes the model and the inputs and returns a context for the pass, as
        that in which the output of a layer is changed. Gradients reach the inputs and
        the parameters with ``create_graph``.
        """
        with within(self._module, x):
            return self._logits_of(x, gradients=self._create_graph)

    @property
    def logits(self) -> Tensor:
        """The logits (n_samples, n_classes), in the graph with ``create_graph``."""
        return self._logits if self._create_graph else self._logits.detach()

    def outputs(self, outputs: Sequence[LayerOutput]) -> list[Tensor]:
        """Return pooled outputs (n_samples, n_channels) of layers that were asked for.

        `LOGITS` names the logits.
        """
        found = self._outputs.found
        return [self.logits if o.layer == LOGITS else found[o] for o in outputs]

    def gradient_norms(
        self, cotangents: Cotangents, routes: Mapping[str, Route]
    ) -> Tensor:
        """Compute each sample's squared gradient norm of every parameter.

        ``cotangents`` takes logits (n_samples, n_classes) and returns dJ/dz of that
        shape for one or several losses J; ``routes`` are among those that were asked
        for. Returns squared L2 norms (n_samples, n_losses, n_parameters) (paper A, Eq.
        2), in float64 because squares of small gradients underflow in float32. A
        parameter on which the logits do not depend has norm 0.

        Cost: one backward pass per loss over the whole batch, in which no gradient of a
        weight is computed, for the parameters that have a rule in ``routes`` and are
        used accordingly. If there are others, also one forward and one backward pass
        per sample. Where the order of samples may depend on their values, another
        backward pass per loss checks that each norm is in its sample's place. With
        ``create_graph``, differentiating the result costs about twice as much again.
        """
        last, found = self._is_last(), {}
        if self._graph is not None and routes:
            by_rules = norms_by_rules(
                self._graph, cotangents, last=last, create_graph=self._create_graph
            )
            ruled = {*routes, *self._graph.unused}
            found = {name: by_rules[name] for name in by_rules.keys() & ruled}
        # What no rule computed goes through autograd, sample by sample.
        missing = {n: p for n, p in self._parameters.items() if n not in found}
        if missing:
            norms = self._norms_by_samples(cotangents, list(missing.values()), last)
            found |= zip(missing, norms.unbind(dim=2), strict=True)
        norms = torch.stack([found[name] for name in self._parameters], dim=2)
        # Older versions of torch keep what the rules compute in the graph.
        return check_finite_gradients(norms if self._create_graph else norms.detach())

    def _norms_by_samples(
        self, cotangents: Cotangents, parameters: list[Tensor], last: bool
    ) -> Tensor:
        def norms(logits: Tensor, last: bool) -> Tensor:
            return norms_of_sample(
                logits,
                cotangents,
                parameters,
                last=last,
                create_graph=self._create_graph,
            )

        if len(self._x) == 1:
            return norms(self._logits, last)
        samples = self._given.split(1)
        rows = [norms(self._logits_of(one, gradients=True), True) for one in samples]
        return torch.cat(rows)

    def _logits_of(self, x: Batch, *, gradients: bool) -> Tensor:
        with torch.set_grad_enabled(gradients):
            return as_logits(self._called(x.clone()), len(x))

    def _called(self, x: Batch) -> Any:
        if len(x) > 1 or not torch.is_grad_enabled():
            return call(self._module, x)
        with sound_normalisations(self._module):
            return call(self._module, x)

    def cosines(self, maps: Maps) -> tuple[Tensor, Tensor]:
        """Compute the cosine similarities between the maps of all classes.

        See `class_cosines`; with ``create_graph``, `recorded_cosines`.
        """
        self._is_last()
        check_recorded(self._logits, "input")
        compute = recorded_cosines if self._create_graph else class_cosines
        return compute(self._logits, self._source(), maps)

    def input_gradient(self, cotangent: Callable[[Tensor], Tensor]) -> Tensor:
        """Pull a cotangent at the logits back to the inputs, at one backward pass.

        ``cotangent`` takes the detached logits (n_samples, n_classes) and returns the
        gradient of each sample's objective at them. Returns the gradients at the inputs
        (n_samples, *input_shape), or at the output of an embedding.
        """
        check_recorded(self._logits, "input")
        with differentiating():
            (gradient,) = torch.autograd.grad(
                self._logits,
                self._source(),
                cotangent(self._logits.detach()),
                retain_graph=not self._is_last(),
                materialize_grads=True,
            )
        return check_finite_gradients(gradient)

    def _source(self) -> Any:
        """Return the tensor at which input gradients are taken."""
        return self._x if self._leaf is None else self._leaf.tensor

    def _is_last(self) -> bool:
        """Return True if no other family runs a backward pass after this one."""
        self._n_backward -= 1
        return self._n_backward <= 0
