"""Outputs of layers, pooled where they arise (paper C)."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from .._messages import brief, did_you_mean, listed
from .model_state import as_logits, check_finite, check_recorded

LOGITS = "logits"
# The input of the layer that returns the logits, named as if it were a layer itself.
PENULTIMATE = "penultimate"
# One number per channel: paper C, Sec. 4, takes the mean over the positions.
POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda maps: maps.mean(dim=tuple(range(2, maps.ndim))),
    "max": lambda maps: maps.amax(dim=tuple(range(2, maps.ndim))),
    # Cloned, because a layer that works in place may write into its input later.
    "none": lambda maps: maps.flatten(1).clone(),
}


def as_names(layers: Any) -> list[str]:
    """Return the name of one layer, or those of several, as a list."""
    if isinstance(layers, str):
        return [layers]
    # Other iterables may never end.
    if isinstance(layers, (list, tuple)) or hasattr(layers, "__array__"):
        return list(layers)
    raise TypeError(
        f"layers must be the name of a layer or a list of names; got {brief(layers)}."
    )


def find_layers(
    module: nn.Module, layers: Sequence[str], *, head: str | None = None
) -> dict[str, nn.Module]:
    """Look up layers by name in ``module.named_modules()``, in the order of the names.

    `LOGITS`, what the model returns, is left out of the result. ``head`` is the layer
    whose input `PENULTIMATE` stands for, from `head.resolve_penultimate`. Raises
    ValueError if a name does not exist or comes twice, or there is none.
    """
    named = dict(module.named_modules(remove_duplicate=False))
    valid = list(dict.fromkeys([LOGITS, PENULTIMATE, *filter(None, named)]))
    if head is not None:
        named[PENULTIMATE] = named[head]
    if not layers:
        raise ValueError(f"layers must name at least one of {listed(valid)}; got none.")
    for position, name in enumerate(layers):
        if name not in valid:
            raise ValueError(
                "layers must be names of layers of the model; got "
                f"{brief(name)}.{did_you_mean(name, valid)} Valid are {listed(valid)}."
            )
        if name in layers[:position]:
            raise ValueError(f"layers must not repeat a name; got {name!r} twice.")
    return {name: named[name] for name in layers if name != LOGITS}


def layer_activations(
    module: nn.Module,
    x: Tensor,
    layers: Sequence[str],
    *,
    pooling: str,
    whole: bool = False,
    head: str | None = None,
    gradients: bool = False,
) -> list[Tensor]:
    """Compute the pooled outputs of layers in one forward pass, up to the deepest one.

    Returns one block of columns (n_samples, n_channels) per layer, in the order of the
    names. The model is held by ``frozen(module)``; for ``layers`` and ``head`` see
    `find_layers`, for ``pooling`` `POOLINGS`. With ``whole`` the pass runs to its end,
    which shows if a layer is called again. With ``gradients`` the results stay in the
    graph of ``x``, where gradients are enabled. Raises ValueError if a layer is never
    called, called again, or returns anything but finite floating-point values with one
    row per sample.
    """
    found: dict[str, Tensor] = {}
    wanted = find_layers(module, layers, head=head)
    # Without the logits, the pass can end as soon as all layers have been called.
    enough = None if whole or LOGITS in layers else len(wanted)
    with ExitStack() as hooks:
        for name, layer in wanted.items():
            if layers_are_hidden(layer):
                raise ValueError(f"layers: {name!r} cannot be watched.{HIDDEN}")
            pool = POOLINGS[pooling]
            keep = _OutputHook(name, found, pool, len(x), enough, gradients)
            if name == PENULTIMATE and head is not None:
                handle = layer.register_forward_pre_hook(keep.input)
            else:
                handle = layer.register_forward_hook(keep.output)
            hooks.enter_context(handle)
        with suppress(_StopForward):
            # A copy, because a model may work in place.
            logits = as_logits(module(x.clone()), len(x))
            found[LOGITS] = logits if gradients else logits.detach()
    for name in layers:
        if name not in found:
            raise ValueError(
                f"layers: {name!r} was not called in the forward pass, so it has no "
                "output. Name a layer that the model calls as a module."
            )
    return [found[name] for name in layers]


def layer_input_gradient(
    module: nn.Module,
    x: Tensor,
    layer: str,
    objective: Callable[[Tensor], Tensor],
    *,
    pooling: str,
    head: str | None = None,
) -> Tensor:
    """Compute the gradient at the input of a function of one layer's pooled output.

    ``objective`` takes the pooled output (n_samples, n_channels) and returns one value
    per row, of that row alone. Cost: one pass each way, both up to that layer.
    """
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_(True)
        (features,) = layer_activations(
            module, leaf, [layer], pooling=pooling, head=head, gradients=True
        )
        check_recorded(features, "input")
        (gradient,) = torch.autograd.grad(
            objective(features).sum(), leaf, materialize_grads=True
        )
    return check_finite(gradient)


def candidate_layers(module: nn.Module, x: Tensor) -> list[str]:
    """Name the layers whose outputs could serve as features, in the order of calls.

    These are the modules without children that have parameters, are called once and
    return a finite floating-point tensor of two or more axes with one row per sample.
    The layer that returns the logits is left out, and so is one named `LOGITS`. A few
    inputs suffice as ``x``; ``module`` is held by ``frozen``.
    """
    calls, logits = leaf_calls(module, x)
    names = [name for name, _, _ in calls]
    return [
        name
        for name, _, output in calls
        if name not in ("", LOGITS)
        and names.count(name) == 1
        and _has_rows(output, len(x))
        and bool(torch.isfinite(output).all())
        and not same_values(output.flatten(1), logits)
    ]


def leaf_calls(
    module: nn.Module, x: Tensor
) -> tuple[list[tuple[str, Any, Any]], Tensor]:
    """Return the calls of all leaves in order, and the logits.

    Each call is the name of the layer, its inputs and its output.
    """
    calls: list[tuple[str, Any, Any]] = []

    def note(name: str, layer: nn.Module, inputs: Any, output: Any) -> None:
        # Cloned, because a layer that works in place may write into it later.
        kept = output.detach().clone() if isinstance(output, Tensor) else output
        calls.append((name, inputs, kept))

    with ExitStack() as hooks:
        for name, layer in module.named_modules():
            if is_leaf(layer) and not layers_are_hidden(layer):
                hook = partial(note, name)
                hooks.enter_context(layer.register_forward_hook(hook))
        logits = as_logits(module(x.clone()), len(x))
    return calls, logits


HIDDEN = (
    " torch.jit made the model and hides its layers: give the module that it was made "
    "of, or layers='logits'."
)


def layers_are_hidden(module: nn.Module) -> bool:
    """Return True for a module of torch.jit, whose hooks are not called."""
    return isinstance(module, torch.jit.ScriptModule)


def _has_rows(output: Any, n_samples: int) -> bool:
    """Return True for a floating-point tensor with one row per sample."""
    return (
        isinstance(output, Tensor)
        and output.is_floating_point()
        and output.ndim >= 2
        and output.shape[0] == n_samples
    )


def spread_layers(module: nn.Module, x: Tensor, n_layers: int | None) -> list[str]:
    """Name at most ``n_layers`` candidate layers, spread evenly over the depth.

    The first and the last candidate are among them; None takes all. Candidates without
    a parameter of two or more axes are left out: normalisations add little to the
    layer before.
    """
    # A layer whose parameters are all vectors is a normalisation.
    names = [
        name
        for name in candidate_layers(module, x)
        if any(p.ndim >= 2 for p in module.get_submodule(name).parameters())
    ]
    if n_layers is None:
        return names
    n_layers = min(n_layers, len(names))
    places = torch.linspace(0, len(names) - 1, n_layers).round().long().tolist()
    return [names[place] for place in places]


def is_leaf(layer: nn.Module) -> bool:
    """Return True if a module has parameters and no children.

    A weight that `torch.nn.utils.parametrize` computes from others, as weight and
    spectral normalisation do, keeps those in a child that is no layer.
    """
    made = is_parametrized(layer)
    inside = [name for name, _ in layer.named_children() if name != "parametrizations"]
    return not inside and (made or any(True for _ in layer.parameters(recurse=False)))


def same_values(output: Tensor, logits: Tensor) -> bool:
    """Return True if an output is the logits."""
    return output.shape == logits.shape and torch.equal(output.to(logits), logits)


class _StopForward(BaseException):
    """End a forward pass. It is no Exception, so that no model catches it as one."""


@dataclass
class _OutputHook:
    """Hooks that pool the output of one layer, or its input, into ``found``.

    They end the pass as soon as ``enough`` layers are found.
    """

    name: str
    found: dict[str, Tensor]
    pool: Callable[[Tensor], Tensor]
    n_samples: int
    enough: int | None
    gradients: bool

    def input(self, layer: nn.Module, inputs: Any) -> None:
        """Keep the first positional argument."""
        self.output(layer, inputs, inputs[0] if inputs else None)

    def output(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        """Keep the output."""
        self._check(output)
        with torch.set_grad_enabled(self.gradients):
            pooled = self.pool(output) if output.ndim > 2 else output.clone()
        # Checked after pooling, on fewer values: the others reach no detector.
        if not torch.isfinite(pooled).all():
            raise ValueError(
                f"layers: {self.name!r} returns NaN or infinite values, which no "
                "detector can use. Name another layer, or check the scale of X."
            )
        self.found[self.name] = pooled
        if len(self.found) == self.enough:
            raise _StopForward

    def _check(self, output: Any) -> None:
        if self.name in self.found:
            raise ValueError(
                f"layers: {self.name!r} is called more than once in the forward pass, "
                "so its output is not one thing. Name a layer that is called once."
            )
        if not _has_rows(output, self.n_samples):
            came = f"a {type(output).__name__}"
            if isinstance(output, Tensor):
                came = f"a {output.dtype} tensor of shape {tuple(output.shape)}"
            raise ValueError(
                f"layers: {self.name!r} must return a floating-point tensor with one "
                f"row per sample; for {self.n_samples} samples it returns {came}. Name "
                "a layer inside it or after it."
            )
