"""Training a skorch net, so that an interrupt is one."""

from typing import Any


def fit_net(net: Any, X: Any, y: Any = None) -> Any:
    """Fit a net as its ``fit`` does, but let KeyboardInterrupt through.

    skorch ends the training there, as if it were complete, and goes on with weights
    that are not.

    Parameters
    ----------
    net : skorch.NeuralNet
        The net, not trained before.
    X, y : array-like or Dataset
        What its ``fit`` takes.

    Returns
    -------
    skorch.NeuralNet
        The net itself.
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
    """Tell whether it was `skorch.callbacks.EarlyStopping` that interrupted."""
    return any(
        getattr(callback, "misses_", None) == getattr(callback, "patience", 0)
        for _, callback in net.callbacks_
    )
