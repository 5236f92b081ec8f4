"""Slightly changed copies of inputs, and what a network says about them."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .._several import Batch, entries_of
from .model_state import at_least_float32

# How the names of the columns begin, and how the first of them ends.
LOG_ODDS, UNCHANGED = "log_odds_", "unchanged"
# The samples that show how inputs vary.
N_SPREAD = 256

# What `fit` learnt about one sample; a tensor where it stays on the device.
Values = np.ndarray | Tensor


class Spread(NamedTuple):
    """How inputs vary: their standard deviation, lowest and highest values.

    Of each column of rows, and of each channel, the first axis, of larger samples; the
    arrays broadcast to one sample.
    """

    scale: np.ndarray
    low: np.ndarray
    high: np.ndarray


def spread_of(x: Batch) -> dict[Any, Spread]:
    """Return the spread of each of the inputs that are floats."""
    return {
        key: _spread(entry)
        for key, entry in entries_of(x).items()
        if entry.is_floating_point()
    }


def _spread(x: Tensor) -> Spread:
    x = at_least_float32(x.detach())
    axes = (0, *range(2, x.ndim))
    measures = (
        x.std(dim=axes, correction=0, keepdim=True),
        x.amin(dim=axes, keepdim=True),
        x.amax(dim=axes, keepdim=True),
    )
    return Spread(*(measure[0].cpu().numpy() for measure in measures))


def log_odds(logits: Tensor, classes: Tensor) -> Tensor:
    """Return log p / (1 - p) of one class per sample, with p the softmax of the logits.

    It is the logit of the class less the log-sum-exp of all others, which stays exact
    where p rounds to 0 or 1.
    """
    logits, classes = at_least_float32(logits), classes[:, None]
    others = logits.scatter(1, classes, -torch.inf).logsumexp(dim=1)
    return logits.gather(1, classes)[:, 0] - others


# Changes of floats (n_samples, *sample_shape)


def with_noise(x: Tensor, noise: Values) -> Tensor:
    """Add the same pattern to each sample."""
    return x + _like(x, noise)


def rounded(x: Tensor, span: tuple[Values, Values], n_levels: int) -> Tensor:
    """Round to levels that are evenly spread over a span, and go on beyond it.

    The derivative is 0 almost everywhere; where autograd records it, 1 takes its place
    (straight-through).
    """
    low, high = span
    lowest, step = _like(x, low), _like(x, (high - low) / (n_levels - 1))
    # Values that never varied have no levels.
    safe = torch.where(step > 0, step, 1)
    levels = torch.where(step > 0, lowest + ((x - lowest) / safe).round() * safe, x)
    return x + (levels - x).detach() if x.requires_grad else levels


def shifted(x: Tensor, n_pixels: int) -> Tensor:
    """Move images down and to the right; their edges fill the gap."""
    return _moved(_moved(x, n_pixels, -2), n_pixels, -1)


def blurred(x: Tensor) -> Tensor:
    """Blur images by the weights 1, 2, 1 down and across, with edges repeated."""
    for axis in (-2, -1):
        x = (_moved(x, -1, axis) + 2 * x + _moved(x, 1, axis)) / 4
    return x


def flipped(x: Tensor) -> Tensor:
    """Mirror images, left to right."""
    return x.flip(-1)


def _moved(x: Tensor, n: int, axis: int) -> Tensor:
    length = x.shape[axis]
    places = torch.arange(length, device=x.device) - n
    return x.index_select(axis, places.clamp(0, length - 1))


def _like(x: Tensor, values: Values) -> Tensor:
    """Return values for one sample on the device of x, repeated where x is longer."""
    values = torch.as_tensor(values, dtype=x.dtype, device=x.device)
    for axis, length in enumerate(x.shape[1:]):
        if values.shape[axis] not in (1, length):
            places = torch.arange(length, device=x.device) % values.shape[axis]
            values = values.index_select(axis, places)
    return values


# Changes of sequences of tokens (n_samples, length)


def masked(ids: Tensor, mask: Tensor | None, token: int, step: int) -> Tensor:
    """Replace one of ``step`` tokens by another one."""
    present = torch.ones_like(ids) if mask is None else mask
    return ids.masked_fill(_every(present, step), token)


def dropped(mask: Tensor, step: int) -> Tensor:
    """Take one of ``step`` tokens out of the attention mask."""
    return mask.masked_fill(_every(mask, step), 0)


def _every(mask: Tensor, step: int) -> Tensor:
    """Return True for one of ``step`` tokens, never the first one.

    Only those in the mask count, so that the padding of a batch does not matter.
    """
    present = mask != 0
    return present & ((present.cumsum(-1) - 1) % step == step // 2)
