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
    """Fit a net as its ``fit`` does, but let KeyboardInterrupt through.

    skorch ends the training there as if it were complete, and goes on with weights
    that are not. ``net`` is returned; what it learned before is lost.
    """
    net.initialize()
    net.notify("on_train_begin", X=X, y=y)
    try:
        net.fit_loop(X, y)
    except KeyboardInterrupt:
        if not _stopped_early(net):
            raise
    net.notify("on_train_end", X=X, y=y)
    return net


def _stopped_early(net: Any) -> bool:
    """Return True if `skorch.callbacks.EarlyStopping` raised the interrupt."""
    return any(
        getattr(callback, "misses_", None) == getattr(callback, "patience", 0)
        for _, callback in net.callbacks_
    )
