"""The layer that returns the logits."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from .activations import is_leaf, same_values
from .model_state import as_logits


def find_head(module: nn.Module, x: Tensor) -> str | None:
    """Name the layer that returns the logits.

    Parameters
    ----------
    module : torch.nn.Module
        The model, held by ``frozen(module)``.
    x : Tensor of shape (n_samples, *input_shape)
        A few inputs.

    Returns
    -------
    str or None
        The last module called that has parameters and no children, takes a tensor and
        returns what the model returns; "" is the model itself. None if the logits come
        about otherwise.
    """
    outputs: dict[str, Tensor] = {}

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                outputs[name] = output.detach().clone()

        return hook

    with ExitStack() as hooks:
        for name, layer in module.named_modules():
            if is_leaf(layer):
                hooks.enter_context(layer.register_forward_hook(note(name)))
        logits = as_logits(module(x.clone()), len(x))
    found = [name for name, output in outputs.items() if same_values(output, logits)]
    return found[-1] if found else None
