"""From the output of a layer to one row of columns per sample (paper C)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._several import Several, names_of_inputs
from .layer_axes import main_output

# What texts of one batch have at their padded ends, in the words of Hugging Face: 1
# for tokens, 0 for padding.
ATTENTION_MASK = "attention_mask"


class LayerOutput(NamedTuple):
    """An output to keep: of a layer by its name, pooled as one of `POOLINGS`.

    ``head`` is the layer whose input is kept in place of the output. ``samples`` and
    ``channels`` are axes of the output. ``mask`` is the key of the input that says
    which of its positions count, None for all.
    """

    layer: str
    pooling: str
    head: str | None = None
    samples: int = 0
    channels: int = 1
    mask: Any = None


def _mean(maps: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return maps.mean(dim=tuple(range(2, maps.ndim)))
    # Not the sum over the tokens, which may be too large for half precision.
    count = mask.sum(dim=1, keepdim=True)
    share = mask.shape[1] / count.to(torch.promote_types(maps.dtype, torch.float32))
    return _filled(maps, mask, 0).mean(dim=2) * share.to(maps.dtype)


def _max(maps: Tensor, mask: Tensor | None) -> Tensor:
    maps = maps if mask is None else _filled(maps, mask, -torch.inf)
    return maps.amax(dim=tuple(range(2, maps.ndim)))


def _first(maps: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return maps[:, :, 0].clone()
    return _at(maps, mask.int().argmax(dim=1))


def _last(maps: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return maps[:, :, -1].clone()
    return _at(maps, mask.shape[1] - 1 - mask.flip(1).int().argmax(dim=1))


def _every(maps: Tensor, mask: Tensor | None) -> Tensor:
    return maps.flatten(1).clone()


# One number per channel: paper C, Sec. 4, takes the mean over the positions. The maps
# are (n_samples, n_channels, *positions); a layer that works in place may write into
# them later, so that what is no new tensor is cloned. Positions that a mask leaves out
# (n_samples, n_positions) do not count.
POOLINGS: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    "mean": _mean,
    "max": _max,
    "first": _first,
    "last": _last,
    "none": _every,
}


def _filled(maps: Tensor, mask: Tensor, value: float) -> Tensor:
    return maps.masked_fill(~mask[:, None], value)


def _at(maps: Tensor, positions: Tensor) -> Tensor:
    return maps[torch.arange(len(maps), device=maps.device), :, positions]


def mask_key(module: nn.Module, x: Any) -> Any:
    """Return the key of the mask of tokens among several inputs, None without one."""
    if not isinstance(x, Several):
        return None
    for key, name in names_of_inputs(module, x).items():
        if name == ATTENTION_MASK and x.entries[key].ndim == 2:
            return key
    return None


def token_mask(x: Any, key: Any) -> Tensor | None:
    """Return which tokens count, a tensor of bool (n_samples, n_tokens)."""
    if key is None:
        return None
    mask = x.entries[key].detach() > 0
    # Of a sample without tokens, all positions count: there is no mean of none.
    return mask | ~mask.any(dim=1, keepdim=True)


def pooled(
    layer: nn.Module | None, result: Any, output: LayerOutput, mask: Tensor | None
) -> Tensor:
    """Return what a layer returned as one row of columns per sample.

    ``mask`` is that of the tokens, for an output with ``output.mask``. A packed
    sequence has its own.
    """
    if output.pooling == "last" and isinstance(layer, nn.RNNBase):
        return last_states(layer, result)
    maps, packed = main_output(result)
    if maps.ndim == 2:
        return maps.movedim(output.samples, 0).clone()
    if output.pooling == "none":
        return _every(maps.movedim(output.samples, 0), None)
    if output.pooling in ("first", "last") and maps.ndim > 3:
        raise ValueError(
            f"pooling={output.pooling!r} must be used for layers that return sequences "
            f"(n_samples, n_positions, n_channels); {output.layer!r} returns "
            f"{tuple(maps.shape)}. Name others, or use 'mean', 'max' or 'none'."
        )
    maps = maps.movedim((output.samples, output.channels), (0, 1))
    mask = packed if packed is not None else mask
    if mask is not None and mask.shape[1] != maps.shape[2]:
        raise ValueError(
            f"layers: {output.layer!r} returned a position for each token in fit, so "
            f"that the mask of tokens holds for them; now {maps.shape[2]} positions "
            f"come for {mask.shape[1]} tokens. Name another layer."
        )
    return POOLINGS[output.pooling](maps, mask)


def last_states(layer: nn.RNNBase, result: Any) -> Tensor:
    """Return the states that a recurrent layer ends with, of both directions."""
    # That of LSTM is a pair, the state and the memory; (n_layers, n_samples, n_hidden).
    states = result[1][0] if isinstance(result[1], tuple) else result[1]
    return torch.cat(list(states[-1 - layer.bidirectional :]), dim=1)
