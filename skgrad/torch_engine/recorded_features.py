"""The features of the transformers as functions that autograd can differentiate."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .cotangents import class_cotangent
from .gradient_pass import Route
from .gradient_rules import RULES, Norms
from .input_gradients import (
    Maps,
    mapped_classes,
    predicted_position,
    recorded_logits,
    unit_map,
)
from .model_state import at_least_float32, frozen
from .parameter_gradients import Cotangents, gradient_parameters, scaled_cotangents


def recorded_cosines(logits: Tensor, x: Tensor, maps: Maps) -> tuple[Tensor, Tensor]:
    """Compute cosines between the input gradients of classes, in the graph.

    Cost: one backward pass to the input per class, and as many again when the result
    is differentiated. All are held in memory.

    Parameters
    ----------
    logits : Tensor of shape (n_samples, n_classes)
        The logits of x.
    x : Tensor of shape (n_samples, *input_shape)
        The inputs, in the graph of the logits.
    maps : Maps
        What is compared.

    Returns
    -------
    matrices : Tensor of shape (n_samples, n_maps, n_maps)
        Values are what `class_cosines` returns. Signs have no derivative: with
        ``maps.sign`` it is that of the cosines of the gradients themselves.
    predicted : Tensor of int64 of shape (n_samples,)
        The position of the predicted class among the maps.
    """
    classes = mapped_classes(logits, maps.top_n)
    gradients = []
    for column in classes.T:
        cotangent = class_cotangent(logits, column, logit_scale=maps.logit_scale)
        (gradient,) = torch.autograd.grad(
            logits, x, cotangent, create_graph=True, materialize_grads=True
        )
        gradients.append(at_least_float32(gradient))
    matrices = _cosines(gradients, maps)
    if maps.sign:
        signs = [gradient.detach().sign() for gradient in gradients]
        matrices = matrices + (_cosines(signs, maps) - matrices).detach()
    return matrices, predicted_position(classes, logits)


def _cosines(gradients: list[Tensor], maps: Maps) -> Tensor:
    stacked = torch.stack([unit_map(g, maps) for g in gradients], dim=1)
    return (stacked @ stacked.transpose(1, 2)).clamp(-1, 1)


def recorded_gradient_norms(
    module: nn.Module,
    x: Tensor,
    cotangents: Cotangents,
    routes: Mapping[str, Route],
) -> Tensor:
    """Compute each sample's squared gradient norm of every parameter, in the graph.

    Cost: of parameters with a rule one forward pass, and one backward pass per loss,
    over the whole batch, and about twice that when the result is differentiated. If
    there are others, the same for every sample by itself, with its gradients of these
    parameters in memory.

    Parameters
    ----------
    module : torch.nn.Module
        The model, held by ``frozen(module)``, gradients enabled.
    x : Tensor of shape (n_samples, *input_shape)
        The inputs, in a graph.
    cotangents : callable
        See `skgrad.torch_engine.parameter_gradients.squared_gradient_norms`; these
        must be functions of the logits.
    routes : dict of str to Route
        Which parameters have a rule.

    Returns
    -------
    Tensor of shape (n_samples, n_losses, n_parameters)
        What `squared_gradient_norms` returns.
    """
    parameters = gradient_parameters(module)
    found = _by_rules(module, x, cotangents, parameters, routes)
    missing = {name: p for name, p in parameters.items() if name not in found}
    if missing:
        with frozen(module, parameter_gradients=True):
            rows = [_one_sample(module, one, cotangents, missing) for one in x.split(1)]
        found |= zip(missing, torch.stack(rows).unbind(dim=2), strict=True)
    return torch.stack([found[name] for name in parameters], dim=2)


def _one_sample(
    module: nn.Module,
    x: Tensor,
    cotangents: Cotangents,
    parameters: Mapping[str, Tensor],
) -> Tensor:
    """Return the norms (n_losses, n_parameters) of a single sample."""
    logits = recorded_logits(module, x)
    losses = []
    for cotangent, size, _ in scaled_cotangents(cotangents(logits), logits):
        gradients = torch.autograd.grad(
            logits,
            list(parameters.values()),
            cotangent,
            create_graph=True,
            materialize_grads=True,
        )
        squares = [g.to(size.dtype).square().sum() for g in gradients]
        losses.append(torch.stack(squares) * size.square())
    return torch.stack(losses)


def _by_rules(
    module: nn.Module,
    x: Tensor,
    cotangents: Cotangents,
    parameters: Mapping[str, Tensor],
    routes: Mapping[str, Route],
) -> dict[str, Tensor]:
    """Return the norms (n_samples, n_losses) of the parameters that have a rule."""
    rules = {id(parameters[name]): routes[name].rule for name in routes}
    with _Calls(rules) as recorder:
        logits = recorded_logits(module, x)
    # A route is a promise about a single call.
    calls = {key: uses[0] for key, uses in recorder.calls.items() if len(uses) == 1}
    names = [name for name in routes if id(parameters[name]) in calls]
    if not names:
        return {}
    mine = [calls[id(parameters[name])] for name in names]
    outputs = [call.output for call in mine]
    rows = []
    for cotangent, size, _ in scaled_cotangents(cotangents(logits), logits):
        gradients = torch.autograd.grad(
            logits, outputs, cotangent, create_graph=True, materialize_grads=True
        )
        norms = [
            call.squared_norms(gradient, routes[name].axis, len(x)) * size.square()
            for name, call, gradient in zip(names, mine, gradients, strict=True)
        ]
        rows.append(torch.stack(norms))
    return dict(zip(names, torch.stack(rows, dim=2), strict=True))


class _Call(NamedTuple):
    """A call with a parameter whose norms have a rule."""

    x: Tensor
    output: Tensor
    norms: Norms

    def squared_norms(self, gradient: Tensor, axis: int, n_samples: int) -> Tensor:
        x, gradient = (t.movedim(axis, 0) for t in (self.x, gradient))
        return self.norms(x, gradient, n_samples)


class _Calls(TorchFunctionMode):
    """Note the calls of ruled functions with certain parameters.

    Unlike `skgrad.torch_engine.gradient_recorder.Recorder` it leaves all of them in
    the graph.

    Parameters
    ----------
    rules : dict of int to str
        By the identity of each parameter the rule that it goes by.
    """

    def __init__(self, rules: Mapping[int, str]) -> None:
        super().__init__()
        self._rules = rules
        self.calls: dict[int, list[_Call]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        parts = list(self._parts(func, args, kwargs)) if func in RULES else []
        if not parts:
            return func(*args, **kwargs)
        # Copies: whatever works in place further on leaves what is kept alone.
        x = (args[0] if args else kwargs["input"]).clone()
        output = func(*args, **kwargs)
        for key, norms in parts:
            self.calls.setdefault(key, []).append(_Call(x, output, norms))
        return output.clone()

    def _parts(
        self, func: Callable, args: Any, kwargs: Any
    ) -> Iterator[tuple[int, Norms]]:
        claim = RULES[func](*args, **kwargs)
        if claim is not None:
            for tensor, norms in claim.parts:
                if self._rules.get(id(tensor)) == claim.rule:
                    yield id(tensor), norms
