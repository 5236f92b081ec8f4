"""The layer of a model that returns the logits."""

from collections.abc import Sequence

from torch import Tensor, nn

from .activations import (
    HIDDEN,
    PENULTIMATE,
    candidate_layers,
    layers_are_hidden,
    leaf_calls,
    same_values,
)


def find_head(module: nn.Module, x: Tensor) -> str | None:
    """Return the name of the layer that returns the logits for a few inputs.

    It is the last module called that has parameters and no children, takes a tensor and
    returns what the model returns; "" is the model itself. None if there is no such
    module. The model is held by ``frozen(module)``.
    """
    calls, logits = leaf_calls(module, x)
    outputs = {
        name: output
        for name, inputs, output in calls
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor)
    }
    found = [name for name, output in outputs.items() if same_values(output, logits)]
    # Layers in a row may return the same values. The last one is the head.
    return found[-1] if found else None


def resolve_penultimate(
    module: nn.Module, x: Tensor, layers: Sequence[str]
) -> tuple[list[str], str | None]:
    """Look up which layer `PENULTIMATE` stands for in a list of names.

    Returns the names and the layer whose input is meant, the ``head`` of
    `layer_activations`, which is None if `PENULTIMATE` is not among the names. Where no
    layer returns the logits of the few inputs ``x``, it is replaced by the last layer
    with parameters. The model is held by ``frozen(module)``.
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
            "parameters before them; the model has neither."
            + (HIDDEN if layers_are_hidden(module) else " Name layers, as 'logits'.")
        )
    names = [candidates[-1] if name == PENULTIMATE else name for name in layers]
    return list(dict.fromkeys(names)), None
