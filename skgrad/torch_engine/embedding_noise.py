"""Noise at the output of the embedding that token ids are looked up in."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from .._several import Batch, Several, call
from .activations import EndOfPass
from .input_leaf import embeddings_of
from .model_state import model_device
from .pooling import mask_key, token_mask
from .probe import Call, Probe
from .stability import with_noise

# Samples whose vectors are in memory together.
_N_AT_ONCE = 16


class Embedded(NamedTuple):
    """Where a network turns token ids into vectors.

    The output of the embedding ``layer`` has the ``shape`` for one sample, and beside
    it the axis ``samples``. ``mask`` is the key of the input that says which tokens
    there are, None if none does.
    """

    layer: str
    samples: int
    shape: tuple[int, ...]
    mask: Any = None


def find_embedded(probe: Probe, ids: Sequence[Tensor]) -> Embedded | None:
    """Return where token ids are turned into vectors, None if no layer can be watched.

    It is the first embedding that gets ``ids`` as they are, as the words of a BERT are
    looked up beside their positions; or the first that gets as many numbers, such as
    ids plus an offset. The probe notes the embeddings. Each of the calls of that layer
    must return a row per sample along one axis.
    """
    names = embeddings_of(probe.module)
    calls = [one for one in probe.calls if one.layer in names]
    for are_these in (_are_equal, _have_one_shape):
        for first in calls:
            if any(_gets(first, one, are_these) for one in ids):
                return _as_embedded(probe, first, calls)
    return None


def _gets(one: Call, ids: Tensor, are_these: Callable[[Tensor, Tensor], bool]) -> bool:
    """Return True if ids are the input of a call, also with the samples last."""
    given = one.inputs[0] if one.inputs else None
    if not isinstance(given, Tensor):
        return False
    turned = (ids.T,) if ids.ndim == 2 else ()
    return any(are_these(given, these) for these in (ids, *turned))


def _have_one_shape(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape


def _are_equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one == other).all())


def _as_embedded(probe: Probe, first: Call, calls: Sequence[Call]) -> Embedded | None:
    axes = {one.samples for one in calls if one.layer == first.layer}
    if axes != {first.samples} or first.samples is None:
        return None
    shape = first.output.movedim(first.samples, 0).shape[1:]
    mask = mask_key(probe.module, probe.x)
    return Embedded(first.layer, first.samples, tuple(shape), mask)


def embedded_scale(module: nn.Module, x: Batch, place: Embedded) -> np.ndarray:
    """Return the standard deviation of each coordinate of the vectors of tokens.

    Padding does not count. Cost: passes up to the embedding. The model is held by
    `frozen`.
    """
    # Sums in float64, because all vectors together may be more than memory holds.
    n_tokens, total, squares = 0, 0.0, 0.0
    for part in x.split(_N_AT_ONCE):
        vectors = _vectors(module, part, place).cpu().double().numpy()
        n_tokens += len(vectors)
        total = total + vectors.sum(axis=0)
        squares = squares + np.square(vectors).sum(axis=0)
    variance = squares / n_tokens - np.square(total / n_tokens)
    return np.sqrt(np.clip(variance, 0, None))


def _vectors(module: nn.Module, x: Batch, place: Embedded) -> Tensor:
    """Return the vectors of the tokens of a batch (n_tokens, n_channels)."""
    x, found = _moved(x, model_device(module)), []

    def keep(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        rows = output.detach().movedim(place.samples, 0)
        present = _tokens(layer, inputs, rows, x, place)
        found.append(rows.flatten(0, -2) if present is None else rows[present])
        raise EndOfPass

    with suppress(EndOfPass), torch.no_grad(), _hooked(module, place, keep):
        call(module, x.clone())
    return torch.cat(found)


def _moved(x: Batch, device: torch.device) -> Batch:
    move = partial(Tensor.to, device=device)
    return x.map(move) if isinstance(x, Several) else move(x)


@contextmanager
def noise_at(
    place: Embedded, noise: np.ndarray, module: nn.Module, x: Batch
) -> Iterator[None]:
    """Add noise to the output of an embedding while a model runs on a batch ``x``.

    ``noise`` has the shape of the output for one sample. All samples get the same: of
    sequences the first token that is no padding gets its first row, the next one the
    second, and so on, from the beginning again where there are more. Padding gets none.

    Raises ValueError at the end if the embedding was not called.
    """
    n_calls = 0

    def add(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        nonlocal n_calls
        n_calls += 1
        rows = output.movedim(place.samples, 0)
        present = _tokens(layer, inputs, rows, x, place)
        if present is None:
            rows = with_noise(rows, noise)
        else:
            pattern = torch.as_tensor(noise, dtype=rows.dtype, device=rows.device)
            places = (present.cumsum(dim=1) - 1) % len(pattern)
            rows = rows + pattern[places] * present[:, :, None]
        return rows.movedim(0, place.samples)

    with _hooked(module, place, add):
        yield
    if not n_calls:
        raise ValueError(
            "changes: 'noise' is added to token ids at the output of the embedding "
            f"{place.layer!r}, which was called in fit and not now. Fit again, where "
            "the model calls it as a module each time; or give 'mask' in changes."
        )


def _hooked(module: nn.Module, place: Embedded, hook: Callable) -> Any:
    return module.get_submodule(place.layer).register_forward_hook(hook)


def _tokens(
    layer: nn.Module, inputs: Any, rows: Tensor, x: Batch, place: Embedded
) -> Tensor | None:
    """Return which tokens are no padding (n_samples, n_tokens), None if nothing says.

    A mask says so, and without one the number that the embedding has for padding.
    """
    if rows.ndim != 3:
        return None
    mask = token_mask(x, place.mask)
    padding = getattr(layer, "padding_idx", None)
    if mask is None and padding is not None and inputs:
        mask = inputs[0].movedim(place.samples, 0) != padding
    return mask if mask is not None and mask.shape == rows.shape[:2] else None
