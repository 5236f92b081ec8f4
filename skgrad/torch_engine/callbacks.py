"""Callbacks of skorch nets. Import them where a net is made: skorch is optional."""

from typing import Any

from skorch.callbacks import Callback


class InterruptCallback(Callback):
    """Raise KeyboardInterrupt again at the end of the training that it stopped.

    skorch ends the training there as if it were complete, and goes on with weights
    that are not. `skorch.callbacks.EarlyStopping` raises the same exception, but at the
    end of an epoch: this callback comes before it.
    """

    def initialize(self) -> "InterruptCallback":
        """Set the state before training."""
        self.in_epoch_ = False
        return self

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Note that an epoch runs."""
        self.in_epoch_ = True

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Note that it is complete."""
        self.in_epoch_ = False

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Raise if an epoch is not complete."""
        if self.in_epoch_:
            raise KeyboardInterrupt
