"""Dropout at prediction time, with masks that all samples share."""

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .._compat import DROPOUTS
from .restoring import torch_seeded


def dropout_layers(module: nn.Module) -> list[str]:
    """Return the names of torch's dropout modules with a probability above 0.

    Dropout that is no module, such as `torch.nn.functional.dropout` in a forward or
    that within recurrent and attention layers, is not found.
    """
    return [
        name
        for name, part in module.named_modules()
        if isinstance(part, DROPOUTS) and part.p > 0
    ]


@contextmanager
def shared_dropout(module: nn.Module, seed: int, n_samples: int) -> Iterator[None]:
    """Enable the dropout modules alone, with one mask for all samples.

    With a mask drawn for a batch, a sample's result would depend on the others. Here
    each call of a dropout module draws a mask for one sample, and drops the same units
    of all samples, which for each of them is the same distribution of masks. In the
    same order of calls the same ``seed`` draws the same masks, on any device.

    The model is held by ``frozen(module)``. The random state is restored at the end;
    other threads wait for their turn to draw. Raises ValueError if ``n_samples``
    samples do not lie along the first axis of what a dropout module is given: a mask
    for the other axes would depend on how many they are.
    """
    # The generator belongs to the whole process: without `torch_seeded` the draws of
    # two threads on different networks would mix.
    with torch_seeded(seed, torch.device("cpu")), ExitStack() as hooks:
        for name in dropout_layers(module):
            layer = module.get_submodule(name)
            drop = partial(_drop, name, n_samples)
            hooks.enter_context(layer.register_forward_hook(drop))
        yield


def _drop(
    name: str, n_samples: int, layer: nn.Module, inputs: Any, output: Tensor
) -> Tensor:
    """Replace the output of dropout in evaluation mode, which is its input."""
    if len(output) != n_samples:
        raise ValueError(
            f"model must give its dropout module {name!r} one row per sample, for the "
            f"uncertainty; for {n_samples} samples it gives shape "
            f"{tuple(output.shape)}. Bring samples to the first axis, or set "
            "n_passes=0 for the density alone."
        )
    # A copy, so that the user's module stays as it is.
    drawing = copy.copy(layer)
    drawing.training = True
    # All kinds of dropout map each entry x to shift + scale * x, so those of zeros
    # and ones determine both. They are drawn on the CPU, as its generator is the
    # same on all machines.
    shape, state = (1, *output.shape[1:]), torch.get_rng_state()
    shift = drawing.forward(torch.zeros(shape, dtype=torch.float64))
    torch.set_rng_state(state)
    scale = drawing.forward(torch.ones(shape, dtype=torch.float64)) - shift
    return shift.to(output) + scale.to(output) * output
