"""What the attacks of foolbox need: a model, a range of values and seeds."""

import os
import random
import warnings
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .._messages import brief
from .._optional import import_package
from ..torch_engine.model_state import as_logits, check_recorded
from ..torch_engine.restoring import torch_seeded
from ._inputs import checked_inputs


def import_library(name):
    """Import a package of the extra ``attacks``."""
    # foolbox's model zoo imports GitPython, which fails where git is not installed.
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    with warnings.catch_warnings():
        # foolbox 3.3 imports a function from where scipy had it long ago.
        warnings.filterwarnings("ignore", "Please import", DeprecationWarning)
        return import_package(name, "This attack needs", "attacks")


def draw_seeds(X, random_state):
    """Draw a seed per input, so that its random numbers do not depend on others."""
    return random_state.randint(2**31 - 1, size=len(checked_inputs(X)))


@contextmanager
def seeded(seed, device):
    """Seed the global generators, from which foolbox draws, and restore them."""
    with torch_seeded(seed, device):
        python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


@dataclass(frozen=True)
class Box:
    """The inputs as foolbox wants them: in float32, between 0 and one number.

    A value x of X is (x - shift) / scale in the box. The scale is 1 where the bounds
    have one width, so that lengths are those of X; otherwise it is the width, and
    lengths are shares of it.
    """

    module: nn.Module  # the model as a function of the values in the box
    x: Tensor  # the clean inputs in the box
    high: float  # the upper bound in the box; the lower one is 0
    shift: Tensor
    scale: Tensor

    @classmethod
    def around(cls, batch):
        """Make the box of a batch."""
        low, high = batch.bounds
        width = high - low
        if not torch.isfinite(width).all():
            raise ValueError(f"bounds must be finite; got {brief(batch.bounds)}.")
        if torch.allclose(width, width.flatten()[0]):
            scale, top = torch.ones_like(width), width.min().float().item()
        else:
            scale, top = width, 1.0
        x = ((batch.x - low) / scale).float().clamp(0, top)
        return cls(_InBox(batch, low, scale), x, top, low, scale)

    def outside(self, found, batch):
        """Return inputs of the box in units of X; unchanged values stay exact."""
        found = found.to(self.x)
        # Values that an attack made NaN, as by dividing by 0, stay clean.
        kept = (found == self.x) | ~torch.isfinite(found)
        outside = found.to(batch.x) * self.scale + self.shift
        return batch.clip(torch.where(kept, batch.x, outside))


class _InBox(nn.Module):
    """A frozen model as a function of the values in a box, in float32.

    The model is hidden from ``modules()`` and ``parameters()``: nothing that foolbox
    does to this wrapper, such as ``to``, ``train`` or ``zero_grad``, reaches it.
    """

    def __init__(self, batch, shift, scale):
        super().__init__()
        self._hidden = (batch, shift, scale)
        self.eval()

    def forward(self, x):
        """Return logits in float32, on the device of x."""
        batch, shift, scale = self._hidden
        # One sample that an attack made NaN must not stop the others of its batch.
        inputs = torch.nan_to_num(x).to(batch.x) * scale + shift
        logits = as_logits(batch.module(inputs.clone()), len(x))
        if x.requires_grad and torch.is_grad_enabled():
            check_recorded(logits, "input")
            x.register_hook(batch.monitor.update)
        return logits.to(x.device, torch.float32)
