"""Outputs of layers, kept where they arise (paper C)."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from .._finite import all_finite
from .._messages import brief, did_you_mean, listed
from .._several import Batch
from .layer_axes import main_tensor
from .pooling import LayerOutput, pooled, token_mask

LOGITS = "logits"
# The input of the layer that returns the logits, named as if it were a layer itself.
PENULTIMATE = "penultimate"


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


def check_layers(module: nn.Module, layers: Sequence[str]) -> None:
    """Raise if a name is none of ``module.named_modules()``, or comes twice.

    `LOGITS` and `PENULTIMATE` are names too; there must be one name or more.
    """
    named = dict(module.named_modules(remove_duplicate=False))
    valid = list(dict.fromkeys([LOGITS, PENULTIMATE, *filter(None, named)]))
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


class EndOfPass(BaseException):
    """End a forward pass. It is no Exception, so that no model catches it as one."""


@dataclass
class OutputHooks:
    """Hooks that pool the outputs of layers of a batch ``x`` into ``found``.

    With ``gradients`` the results stay in the graph of the batch. With ``stop`` they
    end the pass by `EndOfPass` as soon as all outputs are found.
    """

    outputs: Sequence[LayerOutput]
    x: Batch
    gradients: bool
    stop: bool

    def __post_init__(self) -> None:
        self.found: dict[LayerOutput, Tensor] = {}
        keys = {output.mask for output in self.outputs}
        self._masks = {key: token_mask(self.x, key) for key in keys}

    @contextmanager
    def on(self, module: nn.Module) -> Iterator[None]:
        """Keep the outputs of a model while it runs."""
        self.found.clear()
        with ExitStack() as hooks:
            for output in self.outputs:
                hooks.enter_context(self._hook(module, output))
            yield

    def _hook(self, module: nn.Module, output: LayerOutput) -> Any:
        if output.layer == PENULTIMATE and output.head is not None:
            head = module.get_submodule(output.head)
            return head.register_forward_pre_hook(
                lambda head, inputs: self._keep(output, None, inputs[:1])
            )
        return module.get_submodule(output.layer).register_forward_hook(
            lambda layer, inputs, result: self._keep(output, layer, result)
        )

    def _keep(self, output: LayerOutput, layer: nn.Module | None, result: Any) -> None:
        if output in self.found:
            raise ValueError(called_again(output.layer))
        check_rows(output.layer, result, self.x.shape[0], output.samples)
        with torch.set_grad_enabled(self.gradients):
            mask = self._masks[output.mask]
            self.found[output] = pooled(layer, result, output, mask)
        if self.stop and len(self.found) == len(self.outputs):
            raise EndOfPass

    def check(self) -> None:
        """Raise if a layer was not called, or returned NaN or infinity."""
        for output in self.outputs:
            if output not in self.found:
                raise ValueError(not_called(output.layer))
            # Checked after pooling, on fewer values: the others reach no detector.
            check_finite_output(output.layer, self.found[output])


def same_values(output: Tensor, logits: Tensor) -> bool:
    """Return True if an output is the logits."""
    return output.shape == logits.shape and torch.equal(output.to(logits), logits)


def check_finite_output(layer: str, result: Tensor) -> None:
    """Raise if the pooled output of a layer is NaN or infinite."""
    if not all_finite(result):
        raise ValueError(
            f"layers: {layer!r} returns NaN or infinite values, which no detector can "
            "use. Name another layer, or check the scale of X."
        )


def check_rows(layer: str, result: Any, n_samples: int, samples: int | None) -> None:
    """Raise unless a layer returned a floating-point tensor with a row per sample.

    ``samples`` is the axis of the samples, None if there is none.
    """
    found = main_tensor(result)
    if samples is None or not has_rows(found, n_samples, samples):
        came = f"a {type(result).__name__}"
        if isinstance(found, Tensor):
            came = f"a {found.dtype} tensor of shape {tuple(found.shape)}"
        way_out = "Name a layer inside it or after it."
        if isinstance(found, PackedSequence):
            came = "sequences in the order of their lengths"
            way_out = "Pack them with enforce_sorted=False, which keeps theirs."
        raise ValueError(
            f"layers: {layer!r} must return a floating-point tensor with one row per "
            "sample, that of X in the same place; for "
            f"{n_samples} samples it returns {came}. {way_out}"
        )


def has_rows(result: Any, n_samples: int, samples: int) -> bool:
    """Return True for a floating-point tensor with one row per sample along an axis."""
    return (
        isinstance(result, Tensor)
        and result.is_floating_point()
        and result.ndim >= 2
        and samples < result.ndim
        and result.shape[samples] == n_samples
    )


def called_again(layer: str) -> str:
    """Return the message for a layer that is called twice."""
    return (
        f"layers: {layer!r} is called more than once in the forward pass, so its "
        "output is not one thing. Name a layer that is called once."
    )


def not_called(layer: str) -> str:
    """Return the message for a layer that is never called."""
    return (
        f"layers: {layer!r} was not called in the forward pass, so it has no output. "
        "Name a layer that the model calls as a module."
    )
