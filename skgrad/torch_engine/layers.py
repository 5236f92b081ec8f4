"""Layers to take features from: the candidates, and the layer of the logits."""

from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from .._compat import is_quantised
from .activations import LOGITS, has_rows, same_values
from .hidden_layers import warn_of_hidden
from .layer_axes import main_tensor
from .model_state import two_logits
from .probe import Call, Probe, has_parameters


def candidate_layers(probe: Probe) -> list[str]:
    """Name the layers whose outputs could serve as features, in the order of calls.

    These are the modules without children that have parameters, are called once and
    return a finite floating-point tensor of two or more axes with one row per sample.
    The layer that returns the logits is left out, and so is one named `LOGITS`.

    In a network that puts channels last, or has branches that squeeze all positions
    into one, such layers often are parts of a branch: the keys of attention, the gates
    of channels. There the blocks are taken in their place, if there are two or more.
    These are the outermost modules, but for containers, of which several are of one
    class. The probe notes every layer. Warns if other layers are hidden.

    Layers that are called several times, as where blocks share their weights, are
    represented by the innermost module around them that is called once.
    """
    usable = [call for call in probe.calls if _is_usable(probe, call)]
    around = _around_repeated(probe, usable)
    leaves = [c for c in usable if is_leaf(c.module) or c.layer in around]
    branches = _squeezed(leaves)
    if leaves:
        warn_of_hidden(probe.module)
    if branches or any(_has_channels_last(call) for call in leaves):
        blocks = _blocks(usable)
        if len(blocks) > 1:
            return blocks
    return [call.layer for call in leaves if call.layer not in branches]


def _is_usable(probe: Probe, call: Call) -> bool:
    return (
        call.layer not in ("", LOGITS)
        and [other.layer for other in probe.calls].count(call.layer) == 1
        and call.samples is not None
        and has_rows(call.output, len(probe.x), call.samples)
        and bool(torch.isfinite(call.output).all())
        and not _gives_logits(call.output.flatten(1), probe.logits)
    )


def _around_repeated(probe: Probe, usable: Sequence[Call]) -> set[str]:
    """Name the innermost usable modules around layers that are called repeatedly."""
    counts = Counter(call.layer for call in probe.calls if is_leaf(call.module))
    repeated = [name for name, n in counts.items() if n > 1]
    names = [call.layer for call in usable]
    outer = [[n for n in names if name.startswith(f"{n}.")] for name in repeated]
    return {max(found, key=len) for found in outer if found}


def _squeezed(leaves: Sequence[Call]) -> set[str]:
    """Name the layers in branches that squeeze all positions into one.

    A branch begins where maps were pooled between two layers, not by a layer with a
    stride, and ends before a layer with several positions.
    """
    several = [_n_positions(call.output) > 1 for call in leaves]
    found, inside = set(), False
    for place, call in enumerate(leaves):
        pooled = place > 0 and several[place - 1] and _n_positions(call.inputs) == 1
        inside = not several[place] and (inside or pooled)
        if inside and any(several[place:]):
            found.add(call.layer)
    return found


def _n_positions(maps: Any) -> int:
    """Return the number of positions in maps (n_samples, n_channels, *positions)."""
    tensor = main_tensor(maps)
    return prod(tensor.shape[2:]) if isinstance(tensor, Tensor) else 1


def _has_channels_last(call: Call) -> bool:
    """Return True for tokens and maps whose last axis certainly holds the channels."""
    source = call.source
    if source is None or source.layer is not call.module or call.output.ndim < 3:
        return False
    return source.known and source.place == -1


def _blocks(usable: Sequence[Call]) -> list[str]:
    inner = {
        call.layer: type(call.module)
        for call in usable
        if not (is_leaf(call.module) or isinstance(call.module, nn.Sequential))
    }
    counts = Counter(inner.values())
    several = [name for name, kind in inner.items() if counts[kind] > 1]
    found = [n for n in several if not any(n.startswith(f"{o}.") for o in several)]
    # What is a part of blocks elsewhere is one where no block is around it, too.
    parts = {inner[name] for name in several if name not in found}
    return [name for name in found if inner[name] not in parts] or found


def spread_layers(probe: Probe, n_layers: int | None) -> list[str]:
    """Name at most ``n_layers`` candidate layers, spread evenly over the depth.

    The first and the last candidate are among them; None takes all. Candidates without
    a parameter of two or more axes are left out: normalisations add little to the
    layer before.
    """
    # A layer whose parameters are all vectors is a normalisation.
    names = [
        name
        for name in candidate_layers(probe)
        if is_quantised(layer := probe.module.get_submodule(name))
        or any(p.ndim >= 2 for p in layer.parameters())
    ]
    if n_layers is None:
        return names
    n_layers = min(n_layers, len(names))
    places = torch.linspace(0, len(names) - 1, n_layers).round().long().tolist()
    return [names[place] for place in places]


def find_head(probe: Probe) -> str | None:
    """Return the name of the layer that returns the logits.

    It is the last module called that has parameters and no children, takes a tensor and
    returns what the model returns; "" is the model itself. None if there is no such
    module. The probe notes every layer.
    """
    outputs = {
        call.layer: call.output
        for call in probe.calls
        if is_leaf(call.module)
        and call.inputs
        and isinstance(call.inputs[0], Tensor)
        and isinstance(call.result, Tensor)
    }
    found = [n for n, output in outputs.items() if _gives_logits(output, probe.logits)]
    # Layers in a row may return the same values. The last one is the head.
    return found[-1] if found else None


def _gives_logits(output: Tensor, logits: Tensor) -> bool:
    """Return True if an output is the logits, or the one that two were made of."""
    single = output.numel() == len(logits)
    return same_values(two_logits(output) if single else output, logits)


def misses_layers(probe: Probe) -> bool:
    """Return True if the model has layers with weights other than its head.

    Parameters of the model itself are no layer.
    """
    head = find_head(probe)
    return head is None or any(
        p.ndim >= 2
        for name, layer in probe.module.named_modules()
        for p in layer.parameters(recurse=False)
        if name not in ("", head)
    )


def is_leaf(layer: nn.Module) -> bool:
    """Return True if a module has parameters and no layer inside, or is quantised.

    A child without parameters is no layer, such as the padding of a convolution. A
    weight that `torch.nn.utils.parametrize` computes from others, as weight and
    spectral normalisation do, keeps those in a child that is no layer either.
    """
    if is_quantised(layer):
        return True
    made = is_parametrized(layer)
    inside = any(
        has_parameters(child)
        for name, child in layer.named_children()
        if name != "parametrizations"
    )
    return not inside and (made or any(True for _ in layer.parameters(recurse=False)))
