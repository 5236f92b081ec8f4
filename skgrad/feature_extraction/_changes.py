"""The small changes that have a name, and those that are users' functions."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from .._messages import brief, did_you_mean, listed
from .._several import Several, entries_of, sample_shape
from ..torch_engine import stability
from ..torch_engine.pooling import ATTENTION_MASK

AUTO = "auto"
# What "auto" takes, by the kind of the inputs.
DEFAULT_CHANGES = {
    # Photographs are as likely the other way round, which digits and letters are not.
    "colour images": ("noise", "flip"),
    "grey images": ("noise", "blur"),
    "floats": ("noise",),
    "embedded token ids": ("noise",),
    "token ids": ("mask",),
}
IDS = "input_ids"
# Most channels of images; others may be series of matrices, or have channels last.
_MOST_CHANNELS, _FEWEST_COLOURS = 4, 3
# Of fewer pixels a blur takes too much: of 8 x 8 a quarter of each side.
_FEWEST_PIXELS = 16


def _is_image(entry):
    # With channels last, the last two axes are not those of the pixels.
    return entry.ndim == 4 and not entry.shape[-1] <= _MOST_CHANNELS < entry.shape[1]


def kind_of_images(shapes):
    """Return which kind of images have these shapes, None if any is no image."""
    if not shapes or not all(
        channels <= _MOST_CHANNELS and min(sides) >= _FEWEST_PIXELS
        for channels, *sides in shapes
    ):
        return None
    in_colour = all(channels >= _FEWEST_COLOURS for channels, *_ in shapes)
    return "colour images" if in_colour else "grey images"


# The inputs that a change may act on: what messages call them, and how to find them by
# the names of the model's arguments; a single one has none.
KINDS = {
    "floats": lambda name, entry: entry.is_floating_point() and name != ATTENTION_MASK,
    "images": lambda name, entry: entry.is_floating_point() and _is_image(entry),
    "token ids": lambda name, entry: (
        not entry.is_floating_point() and entry.ndim > 1 and name in ("", IDS)
    ),
    "whole numbers": lambda name, entry: (
        not entry.is_floating_point() and name != ATTENTION_MASK
    ),
    "an attention_mask": lambda name, entry: name == ATTENTION_MASK,
}


# "noise" acts on these beside floats.
WITH_EMBEDDING = "floats or token ids that a torch.nn.Embedding of the model gets"


class _Change(NamedTuple):
    """A change by name: the inputs it acts on, and a function of family, key, x."""

    kind: str
    of: Callable


CHANGES = {
    "noise": _Change(
        "floats", lambda own, key, x, _: stability.with_noise(x, own._noise[key])
    ),
    "grey": _Change(
        "floats",
        lambda own, key, x, _: stability.rounded(x, own._range[key], own.n_levels),
    ),
    "shift": _Change(
        "images", lambda own, key, x, _: stability.shifted(x, own.n_pixels)
    ),
    "blur": _Change("images", lambda own, key, x, _: stability.blurred(x)),
    "flip": _Change("images", lambda own, key, x, _: stability.flipped(x)),
    "mask": _Change(
        "token ids",
        lambda own, key, x, mask: stability.masked(x, mask, own.token, own._step()),
    ),
    "drop": _Change(
        "an attention_mask",
        lambda own, key, x, mask: stability.dropped(x, own._step()),
    ),
}


def as_pair(change):
    """Return the name of a change and its function, None for one of `CHANGES`."""
    if isinstance(change, str):
        if change not in CHANGES:
            raise ValueError(
                f"changes must be {AUTO!r}, names among {listed(list(CHANGES))}, "
                f"functions, or pairs (name, function); got {brief(change)}."
                f"{did_you_mean(change, CHANGES)}"
            )
        return change, None
    pair = change if isinstance(change, tuple) else ("", change)
    name, function = pair if len(pair) == 2 else ("", None)
    name = name or getattr(function, "__name__", "")
    if not isinstance(name, str) or not callable(function):
        raise ValueError(
            "changes must be a name, a function, a pair (name, function) or a list of "
            f"these; got {brief(change)}."
        )
    # Double underscores separate prefixes in the names of columns.
    if not name or name == "<lambda>" or "__" in name:
        raise ValueError(
            f"changes: {brief(function)} needs a name without double underscores, for "
            f"its column; got {name!r}. Give a pair (name, function)."
        )
    return name, function


def described(x):
    """Say for messages of which shapes and types inputs are."""
    dtypes = {str(entry.dtype) for entry in entries_of(x).values()}
    return f"of shape {sample_shape(x)} and {' and '.join(sorted(dtypes))}"


def way_out(valid, x):
    """Say for messages which changes are valid for inputs, and how to give others."""
    what = "a dictionary of tensors" if isinstance(x, Several) else "a tensor"
    names = f"Valid are {listed(valid)}, or g" if valid else "G"
    return f"{names}ive a pair (name, function) that takes and returns {what}."


def by_function(name, function, x):
    """Apply a function of the user to a copy of the inputs."""
    given = {key: entry.clone() for key, entry in entries_of(x).items()}
    several = isinstance(x, Several)
    changed = function(given if several else given[""])
    as_dict = changed if several else {"": changed}
    if isinstance(as_dict, Mapping) and all(
        _is_like(as_dict.get(key), entry) for key, entry in entries_of(x).items()
    ):
        return Several({key: as_dict[key] for key in given}) if several else changed
    what = "a dictionary of tensors" if several else "a tensor"
    raise ValueError(
        f"changes: {name!r} must return {what} as it gets, {described(x)}; got "
        f"{_returned(changed)}."
    )


def _is_like(changed: Any, entry: torch.Tensor) -> bool:
    return (
        isinstance(changed, torch.Tensor)
        and (changed.shape, changed.dtype) == (entry.shape, entry.dtype)
        and changed.device == entry.device
    )


def _returned(changed):
    if isinstance(changed, torch.Tensor):
        return f"shape {tuple(changed.shape)} and {changed.dtype} on {changed.device}"
    return brief(changed)
