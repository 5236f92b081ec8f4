"""Which class each input is to leave, and which to reach."""

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._labels import check_classes, to_array
from .._messages import brief
from ..torch_engine.model_state import forward

TARGETS = ("random", "least_likely")


class Goals:
    """The classes to leave and to reach of all samples under attack."""

    def __init__(self, y, target, n_samples, n_classes, random_state):
        self.n_classes = n_classes
        self.y, self.target = y, target
        if y is not None:
            self.y = check_classes(y, n_samples, "y", n_classes=n_classes)
        if isinstance(target, str):
            if target not in TARGETS:
                raise ValueError(
                    "target must be None, one class, one class per sample of X, or "
                    f"one of {TARGETS}; got {brief(target)}."
                )
            # For all samples at once, so that they do not depend on the batch size.
            if target == "random":
                draws = check_random_state(random_state).uniform(size=n_samples)
                self.steps = 1 + (draws * (n_classes - 1)).astype(np.int64)
        elif target is not None:
            target = to_array(target, "target")
            if target.ndim == 0:
                target = np.full(n_samples, target)
            self.target = check_classes(
                target, n_samples, "target", n_classes=n_classes
            )

    def of(self, module, x, rows):
        """Return the classes to leave and those to reach (or None) of a batch."""
        least_likely = isinstance(self.target, str) and self.target == "least_likely"
        # A pass is made only where classes depend on the model, and only one.
        if self.y is None or least_likely:
            logits = forward(module, x)
        if self.y is None:
            classes = logits.argmax(dim=1)
        else:
            classes = torch.as_tensor(self.y[rows], device=x.device)
        if self.target is None:
            return classes, None
        if least_likely:
            return classes, logits.argmin(dim=1)
        if isinstance(self.target, str):
            # So many places after the class to leave: uniform over all others.
            steps = torch.as_tensor(self.steps[rows], device=x.device)
            return classes, (classes + steps) % self.n_classes
        return classes, torch.as_tensor(self.target[rows], device=x.device)
