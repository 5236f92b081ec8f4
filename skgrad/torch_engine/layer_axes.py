"""Which axes of the output of a layer hold the samples and the channels."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

# What layers call the number of channels that they make, and where they put these among
# the axes without that of the samples. Layers of other libraries often do alike.
_FIRST, _LAST = 0, -1
_NAMES = {
    "out_channels": _FIRST,
    "num_features": _FIRST,
    "num_channels": _FIRST,
    "num_parameters": _FIRST,
    "out_features": _LAST,
    "embedding_dim": _LAST,
    "embed_dim": _LAST,
    "nf": _LAST,
}


class Source(NamedTuple):
    """A layer that makes channels: how many, and where it usually puts them.

    ``known`` is False for a layer of another library, which may put them elsewhere.
    """

    layer: nn.Module
    n_channels: int
    place: int
    known: bool


def as_source(layer: nn.Module) -> Source | None:
    """Return what a layer with parameters says about channels, None if nothing."""
    known = str(type(layer).forward.__module__).startswith("torch.")
    # Blocks of layers may have attributes of these names that mean something else.
    inside = any(
        next(child.parameters(), None) is not None for child in layer.children()
    )
    if isinstance(layer, nn.Sequential) or (inside and not known):
        return None
    if isinstance(layer, nn.RNNBase):
        width = (layer.proj_size or layer.hidden_size) * (1 + layer.bidirectional)
        return Source(layer, width, _LAST, known)
    for name, place in _NAMES.items():
        n_channels = getattr(layer, name, None)
        # A single channel says nothing about the axis.
        if isinstance(n_channels, int) and n_channels > 1:
            return Source(layer, n_channels, place, known)
    weight = getattr(layer, "weight", None)
    # Normalisations over the last axis.
    if isinstance(weight, Tensor) and weight.ndim == 1 and len(weight) > 1:
        return Source(layer, len(weight), _LAST, known)
    return None


def main_output(result: Any) -> tuple[Any, Tensor | None]:
    """Return the tensor that a layer returned, or the first of several, and a mask.

    Recurrent layers and attention return more behind it, and language models an object.
    A packed sequence is unpacked to (n_samples, n_times, n_channels); the mask
    (n_samples, n_times) says which times there are. It is None for anything else.
    A tensor of quantised numbers is returned as floats.
    """
    if isinstance(result, Mapping) and result:
        result = next(iter(result.values()))
    elif isinstance(result, (tuple, list)) and not isinstance(result, PackedSequence):
        result = result[0] if result else result
    if isinstance(result, Tensor) and result.is_quantized:
        result = result.dequantize()
    return _unpacked(result) if isinstance(result, PackedSequence) else (result, None)


def main_tensor(result: Any) -> Any:
    """Return the tensor of `main_output`."""
    return main_output(result)[0]


def _unpacked(packed: PackedSequence) -> tuple[Any, Tensor | None]:
    """Unpack a sequence whose samples are in the order of the batch."""
    sizes = packed.batch_sizes
    if packed.unsorted_indices is None and sizes[0] != sizes[-1]:
        # The model sorted them by their lengths before, nobody knows from what order.
        return packed, None
    maps, lengths = pad_packed_sequence(packed, batch_first=True)
    times = torch.arange(maps.shape[1], device=maps.device)
    return maps, times < lengths.to(maps.device)[:, None]


def sample_axis(several: Any, alone: Any, n_samples: int) -> int | None:
    """Return the axis of the samples, in outputs for several samples and for one.

    It is the only one in which the shapes differ: as many entries as samples, and one.
    None if there is no such axis, or the outputs are no tensors.
    """
    if not (isinstance(several, Tensor) and isinstance(alone, Tensor)):
        return None
    if several.ndim != alone.ndim:
        return None
    pairs = list(zip(several.shape, alone.shape, strict=True))
    differing = [axis for axis, (one, other) in enumerate(pairs) if one != other]
    is_one = len(differing) == 1 and pairs[differing[0]] == (n_samples, 1)
    return differing[0] if is_one else None


def with_one_channel_changed(source: Source) -> tuple[nn.Parameter, Tensor] | None:
    """Return a parameter of a layer, and other values that change its first channel."""
    layer = source.layer
    bias, weight = getattr(layer, "bias", None), getattr(layer, "weight", None)
    parameter = bias if isinstance(bias, nn.Parameter) else weight
    if not isinstance(parameter, nn.Parameter):
        return None
    changed = parameter.detach().clone()
    first = changed.movedim(-1, 0) if isinstance(layer, nn.Embedding) else changed
    first[0] += 1 + changed.abs().max()
    return parameter, changed


def changed_axis(one: Tensor, other: Tensor, axes: Sequence[int]) -> int | None:
    """Return the only axis along which outputs differ at a single index, else None."""
    differ, found = one != other, []
    for axis in axes:
        others = [other for other in range(one.ndim) if other != axis]
        if torch.count_nonzero(differ.sum(dim=others)) == 1:
            found.append(axis)
    return found[0] if len(found) == 1 else None
