"""The last layer of a model, and the features that it takes."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from .._messages import did_you_mean, listed
from .activations import PENULTIMATE, candidate_layers, is_leaf, same_values
from .model_state import as_logits


def find_head(module: nn.Module, x: Tensor) -> str | None:
    """Return the name of the layer that returns the logits for a few inputs.

    It is the last module called that has parameters and no children, takes a tensor and
    returns what the model returns; "" is the model itself. None if there is no such
    module. The model is held by ``frozen(module)``.
    """
    outputs: dict[str, Tensor] = {}

    def record(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                outputs[name] = output.detach().clone()

        return hook

    with ExitStack() as hooks:
        for name, layer in module.named_modules():
            if is_leaf(layer):
                hooks.enter_context(layer.register_forward_hook(record(name)))
        logits = as_logits(module(x.clone()), len(x))
    found = [name for name, output in outputs.items() if same_values(output, logits)]
    # Layers in a row may return the same values. The last one is the head.
    return found[-1] if found else None


def resolve_penultimate(
    module: nn.Module, x: Tensor, layers: Sequence[str]
) -> tuple[list[str], str | None]:
    """Look up which layer `PENULTIMATE` stands for in a list of names.

    Parameters
    ----------
    module : torch.nn.Module
        The model, held by ``frozen(module)``.
    x : Tensor of shape (n_samples, *input_shape)
        A few inputs.
    layers : sequence of str
        Layer names.

    Returns
    -------
    layers : list of str
        The names. Where no layer returns the logits, `PENULTIMATE` is replaced by the
        last layer with parameters.
    head : str or None
        The layer whose input is meant, for `layer_activations`; None if `PENULTIMATE`
        is not among the names, or was replaced.
    """
    if PENULTIMATE not in layers:
        return list(layers), None
    head = find_head(module, x)
    if head is not None:
        return list(layers), head
    candidates = candidate_layers(module, x)
    if not candidates:
        raise ValueError(
            "layers: 'penultimate' needs a layer that returns the logits, or one with "
            "parameters before them; the model has neither. Name layers, such as "
            "'logits'."
        )
    names = [candidates[-1] if name == PENULTIMATE else name for name in layers]
    return list(dict.fromkeys(names)), None


def find_linear_head(module: nn.Module, x: Tensor) -> str:
    """Return what `find_head` finds, or raise if that is no ``torch.nn.Linear``."""
    head = find_head(module, x)
    if head is None or not isinstance(module.get_submodule(head), nn.Linear):
        raise ValueError(
            "layer must be named for this model: no torch.nn.Linear in it returns the "
            "logits. Name the layer that turns features of shape (n_samples, "
            f"n_features) into them. Valid are {listed(_names(module))}."
        )
    return head


def head_input(module: nn.Module, x: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """Compute the logits, and the features that the last layer takes.

    Autograd records both if it is enabled.

    Parameters
    ----------
    module : torch.nn.Module
        The model, held by ``frozen(module)``.
    x : Tensor of shape (n_samples, *input_shape)
        The inputs.
    layer : str
        Name of the last layer, see `find_head`.

    Returns
    -------
    logits : Tensor of shape (n_samples, n_classes)
        What the model returns.
    features : Tensor of shape (n_samples, n_features)
        The input of the layer.

    Raises
    ------
    ValueError
        If there is no such layer, it is not called exactly once, or takes anything but
        one row of numbers per sample.
    """
    named = dict(module.named_modules())
    if layer not in named:
        raise ValueError(
            f"layer must be the name of a layer of the model; got {layer!r}."
            f"{did_you_mean(layer, _names(module))} Valid are "
            f"{listed(_names(module))}."
        )
    inputs: list[Any] = []
    hook = named[layer].register_forward_pre_hook(lambda _, given: inputs.append(given))
    try:
        logits = as_logits(module(x.clone()), len(x))
    finally:
        hook.remove()
    if len(inputs) != 1:
        raise ValueError(
            f"layer must be called once in the forward pass; {layer!r} is called "
            f"{len(inputs)} times. Name the layer that the model ends with."
        )
    features = inputs[0][0] if len(inputs[0]) == 1 else None
    if not isinstance(features, Tensor) or features.shape[:-1] != (len(x),):
        raise ValueError(
            f"layer must take one tensor of shape (n_samples, n_features); {layer!r} "
            f"takes {_described(inputs[0])}. Name a layer behind the flattening."
        )
    # A clone, as a later layer may write into it.
    return logits, features.clone()


def _names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_modules() if name]


def _described(inputs: Sequence[Any]) -> str:
    return " and ".join(
        f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        for x in inputs
    )
