"""Layer outputs, pooled where they arise (paper C)."""

import difflib
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn

from .model_state import as_logits

LOGITS = "logits"
POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda maps: maps.mean(dim=tuple(range(2, maps.ndim))),
    "max": lambda maps: maps.amax(dim=tuple(range(2, maps.ndim))),
    # Cloned: an in-place layer further on may write into what it was given.
    "none": lambda maps: maps.flatten(1).clone(),
}


def find_layers(module: nn.Module, layers: Sequence[str]) -> dict[str, nn.Module]:
    """Look up layers by name.

    Parameters
    ----------
    module : torch.nn.Module
        The model.
    layers : sequence of str
        Names in ``module.named_modules()``; `LOGITS` stands for what the model
        returns and is left out of the result.

    Returns
    -------
    dict of str to Module
        The layers, in the order asked for.

    Raises
    ------
    ValueError
        If a name does not exist or comes twice, or there is none.
    """
    named = dict(module.named_modules(remove_duplicate=False))
    legal = [LOGITS, *(name for name in named if name)]
    if not layers:
        raise ValueError(
            f"layers must name at least one of {_listed(legal)}; got none."
        )
    for position, name in enumerate(layers):
        if name not in legal:
            close = difflib.get_close_matches(str(name), legal, n=3)
            hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
            raise ValueError(
                f"layers must be names of layers of the model; {name!r} is none: "
                f"{hint}Legal are {_listed(legal)}."
            )
        if name in layers[:position]:
            raise ValueError(f"layers must not repeat a name; got {name!r} twice.")
    return {name: named[name] for name in layers if name != LOGITS}


def _listed(names: Sequence[str], most: int = 40) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def layer_activations(
    module: nn.Module,
    x: Tensor,
    layers: Sequence[str],
    *,
    pooling: str,
    whole: bool = False,
    recorded: bool = False,
) -> list[Tensor]:
    """Compute the pooled outputs of several layers in one forward pass.

    The pass ends with the deepest layer asked for.

    Parameters
    ----------
    module : torch.nn.Module
        The model, held by ``frozen(module)``.
    x : Tensor of shape (n_samples, *input_shape)
        The inputs.
    layers : sequence of str
        Layer names; `LOGITS` for the model's logits.
    pooling : {"mean", "max", "none"}
        What becomes of the axes after the second: averaged (paper C, Sec. 4), the
        largest value, or flattened into columns.
    whole : bool, default=False
        Run the pass to its end all the same, which shows whether a layer is called
        again.
    recorded : bool, default=False
        Leave the outputs in the graph, where gradients are enabled.

    Returns
    -------
    list of Tensor of shape (n_samples, n_channels)
        One block of columns per layer, in the order asked for.

    Raises
    ------
    ValueError
        If a layer is never called, called again before the pass ends, returns no
        floating-point tensor with one row per sample, or one with NaN or infinite
        values; or if `find_layers` does not find it.
    """
    found: dict[str, Tensor] = {}
    wanted = find_layers(module, layers)
    enough = None if whole or LOGITS in layers else len(wanted)
    with ExitStack() as hooks:
        hooks.enter_context(nullcontext() if recorded else torch.no_grad())
        for name, layer in wanted.items():
            hook = _keep(name, found, POOLINGS[pooling], len(x), enough)
            hooks.enter_context(layer.register_forward_hook(hook))
        with suppress(_Enough):
            # A copy goes in: a model may work in place, and the batch be needed again.
            found[LOGITS] = as_logits(module(x.clone()), len(x))
    for name in layers:
        if name not in found:
            raise ValueError(
                f"layers: {name!r} was not called in the forward pass, so it has no "
                "output. Name a layer that the model calls as a module."
            )
    return [found[name] for name in layers]


def candidate_layers(module: nn.Module, x: Tensor) -> list[str]:
    """Name the layers whose outputs could serve as features.

    Parameters
    ----------
    module : torch.nn.Module
        The model, held by ``frozen(module)``.
    x : Tensor of shape (n_samples, *input_shape)
        A few inputs.

    Returns
    -------
    list of str
        In the order of their calls: the modules without children that have parameters
        of their own, are called once and return a finite floating-point tensor of two
        or more axes with one row per sample. The one that returns the logits is left
        out.
    """
    outputs: dict[str, Tensor | None] = {}
    with ExitStack() as hooks:
        for name, layer in module.named_modules():
            if name and _is_leaf(layer):
                hook = _note(name, outputs, len(x))
                hooks.enter_context(layer.register_forward_hook(hook))
        logits = as_logits(module(x.clone()), len(x))
    return [
        name
        for name, output in outputs.items()
        if output is not None and not _same_values(output, logits)
    ]


def spread_layers(module: nn.Module, x: Tensor, n_layers: int) -> list[str]:
    """Name layers with a matrix or kernel of weights, spread evenly over the depth.

    Parameters
    ----------
    module : torch.nn.Module
        The model, held by ``frozen(module)``.
    x : Tensor of shape (n_samples, *input_shape)
        A few inputs.
    n_layers : int
        How many, at most.

    Returns
    -------
    list of str
        Of the candidate layers those with a parameter of two or more axes, the first
        and the last among them; normalisations have none.
    """
    names = [
        name
        for name in candidate_layers(module, x)
        if any(p.ndim >= 2 for p in module.get_submodule(name).parameters())
    ]
    n_layers = min(n_layers, len(names))
    places = torch.linspace(0, len(names) - 1, n_layers).round().long().tolist()
    return [names[place] for place in places]


def _is_leaf(layer: nn.Module) -> bool:
    """Tell whether a module has parameters of its own and no children."""
    return not any(layer.children()) and any(
        True for _ in layer.parameters(recurse=False)
    )


def _same_values(output: Tensor, logits: Tensor) -> bool:
    return output.shape == logits.shape and torch.equal(output.to(logits), logits)


def _note(
    name: str, outputs: dict[str, Tensor | None], n_samples: int
) -> Callable[[nn.Module, Any, Any], None]:
    """Make the hook that notes an output, or None for one that cannot be used."""

    def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
        usable = (
            name not in outputs
            and isinstance(output, Tensor)
            and output.is_floating_point()
            and output.ndim >= 2
            and output.shape[0] == n_samples
            and bool(torch.isfinite(output).all())
        )
        # Cloned: an in-place layer further on may write into what it was given.
        outputs[name] = output.detach().flatten(1).clone() if usable else None

    return hook


class _Enough(BaseException):
    """Ends a forward pass. No error, so that no model takes it for one."""


def _keep(
    name: str,
    found: dict[str, Tensor],
    pool: Callable[[Tensor], Tensor],
    n_samples: int,
    enough: int | None,
) -> Callable[[nn.Module, Any, Any], None]:
    """Make the forward hook that pools the output of one layer into ``found``.

    With ``enough`` layers found, it ends the pass.
    """

    def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
        if name in found:
            raise ValueError(
                f"layers: {name!r} is called more than once in the forward pass, so "
                "its output is not one thing. Name a layer that is called once."
            )
        if not isinstance(output, Tensor):
            raise ValueError(
                f"layers: {name!r} must return a tensor; it returns "
                f"{type(output).__name__}. Name a layer inside it."
            )
        if not output.is_floating_point():
            raise ValueError(
                f"layers: {name!r} must return floating-point values; it returns "
                f"{output.dtype}."
            )
        if output.ndim < 2 or output.shape[0] != n_samples:
            raise ValueError(
                f"layers: {name!r} must return one row per sample; for {n_samples} "
                f"samples it returns shape {tuple(output.shape)}."
            )
        pooled = pool(output) if output.ndim > 2 else output.clone()
        # What pooling passes on of NaN and infinity, and it leaves less to check.
        if not torch.isfinite(pooled).all():
            raise ValueError(
                f"layers: {name!r} returns NaN or infinite values, which no detector "
                "can use. Name another layer, or check the scale of X."
            )
        found[name] = pooled
        if len(found) == enough:
            raise _Enough

    return hook
