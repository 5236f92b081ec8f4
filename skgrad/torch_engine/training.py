"""Train a skorch net: seeded, and so that an interrupt ends the call."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .restoring import torch_seeded


@contextmanager
def seeded_training(seed: int, device: torch.device) -> Iterator[None]:
    """Train a network inside, with torch's generators seeded and restored at the end.

    Autograd is enabled inside, whatever the caller's grad or inference mode.
    """
    with torch_seeded(seed, device), torch.inference_mode(False), torch.enable_grad():
        yield


def fit_net(net: Any, X: Any, y: Any = None) -> Any:
    """Fit a net as its ``fit`` does, but let KeyboardInterrupt through; return it."""
    from .callbacks import InterruptCallback

    net.callbacks = [("interrupt", InterruptCallback()), *(net.callbacks or [])]
    return net.fit(X, y)
