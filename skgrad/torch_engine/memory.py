"""Batches as large as memory holds."""

import gc
from collections.abc import Callable, Iterator
from typing import Any

import torch

from .._messages import warn


class Pieces:
    """Cuts samples into as many at a time as memory holds.

    Parameters
    ----------
    batch_size : int
        How many at first; halved with a warning when memory runs out, for good.
    device : torch.device
        Where that happens.
    """

    def __init__(self, batch_size: int, device: torch.device) -> None:
        self.batch_size = batch_size
        self.device = device

    def __call__(self, compute: Callable[[Any, int], Any], raw: Any) -> Iterator[Any]:
        """Yield the results for consecutive pieces.

        ``compute`` takes a piece and the number of its first sample, and is called
        anew with a smaller one if memory runs out.
        """
        start = 0
        while start < len(raw):
            piece = raw[start : start + self.batch_size]
            result = _unless_out_of_memory(compute, piece, start)
            if result is None:
                self.batch_size = _halved(len(piece), self.device)
                continue
            yield result
            start += len(piece)


def _unless_out_of_memory(
    compute: Callable[[Any, int], Any], piece: Any, start: int
) -> Any:
    """Return the result for some samples, None if they are too many for the memory.

    The error is dropped here, and with it the tensors that its frames hold.
    """
    try:
        return compute(piece, start)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(piece) == 1:
            say_way_out(error)
            raise
        return None


# Allocations fail in many ways, few of which have a type of their own.
_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate",
    "alloc_failed",
)


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(words in str(error).lower() for words in _OUT_OF_MEMORY)


_TOO_LARGE = (
    "Not even one or two samples at a time fit into the memory. Free some (other "
    "programs, other models), take another device, such as device='cpu', or a smaller "
    "model or inputs."
)


def say_way_out(error: Exception) -> None:
    """Say once what to do where batches cannot be made smaller."""
    if _TOO_LARGE not in getattr(error, "__notes__", []):
        error.add_note(_TOO_LARGE)


def _halved(n_samples: int, device: torch.device) -> int:
    """Return half as many samples, and say so."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    half = (n_samples + 1) // 2
    warn(
        f"Out of memory on {device} with {n_samples} samples at a time; going on with "
        f"{half}. Set batch_size={half} to spare the attempt.",
        RuntimeWarning,
    )
    return half
