"""Whatever happens around a model and inside of it, it is left as it was.

Cases are doors by circumstances. In each the door gives what it gives in quiet, or a
clear error; and a complete comparison of the model and of the process's settings
follows.
"""

import threading
from collections import OrderedDict
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch
from doors import DOORS
from networks import BatchNormNet, images, seeded
from numpy.testing import assert_allclose
from states import assert_same_state, state_of
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from skgrad import ConfoundingGradientTransformer
from skgrad.torch_engine.model_state import frozen

KIND = "State under fire"
X = images(24, (2, 6, 6)).astype(np.float64)
PLACES = ("first", "middle", "last")


class Trigger:
    """What happens when a network comes to some place for the k-th time."""

    def __init__(self):
        self.arm(None)

    def arm(self, place, call=None, error=None, *, backward=False):
        self.place, self.call, self.error = place, call, error
        self.backward, self.calls = backward, 0

    def pull(self):
        self.calls += 1
        if self.calls == self.call:
            raise self.error

    def __deepcopy__(self, memo):
        return self  # copies of a network count together


class Fuse(nn.Module):
    """Passes its input on, unless the trigger is set for it."""

    def __init__(self, place, trigger):
        super().__init__()
        self.place, self.trigger = place, trigger

    def forward(self, x):
        if self.trigger.place != self.place:
            return x
        if self.trigger.backward:
            return BackwardFuse.apply(x, self.trigger)
        self.trigger.pull()
        return x


class BackwardFuse(torch.autograd.Function):
    """Passes the gradient on, unless the trigger is set for it."""

    @staticmethod
    def forward(ctx, x, trigger):
        ctx.trigger = trigger
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        ctx.trigger.pull()
        return gradient, None


class Pool(nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


def in_use(model):
    """Bring a network into the middle of its user's work."""
    model.train()
    model(torch.from_numpy(X)).sum().backward()
    model.norm.eval()
    model.head.bias.requires_grad_(False)
    model.conv.register_forward_hook(lambda *_: None)
    return model


def fused(trigger):
    """Make a network with three fuses, in use."""

    def make():
        first, middle, last = (Fuse(place, trigger) for place in PLACES)
        layers = OrderedDict(first=first, conv=nn.Conv2d(2, 4, 3, padding=1))
        layers.update(norm=nn.BatchNorm2d(4), bend=nn.Tanh(), middle=middle)
        layers.update(pool=Pool(), drop=nn.Dropout(0.5), head=nn.Linear(4, 3))
        return nn.Sequential(layers | OrderedDict(last=last))

    return in_use(seeded(make, dtype=torch.float64))


def plain():
    """Make a network with statistics other than 0 and 1, in use."""
    return in_use(seeded(BatchNormNet, dtype=torch.float64))


@pytest.fixture(params=DOORS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def quiet():
    """Return a function that tells what a door gives in quiet, computed once."""
    known = {}

    def ask(name):
        if name not in known:
            known[name] = DOORS[name](plain(), X)
        return known[name]

    return ask


ERRORS = {
    "an exception": RuntimeError("cosmic ray"),
    "KeyboardInterrupt": KeyboardInterrupt("cosmic ray"),
    "SystemExit": SystemExit("cosmic ray"),
}


def counts_of_calls(name, trigger, model, *, backward):
    """Return what a door gives, and how often it comes to each place."""
    calls = {}
    for place in PLACES:
        trigger.arm(place, backward=backward)
        expected = DOORS[name](model, X)
        calls[place] = trigger.calls
    return expected, calls


@pytest.mark.parametrize("way", ["forward", "backward"])
def test_errors_inside_of_the_model(name, way, counted):
    counted(KIND, f"an error in the {way} pass: {name}", "told, model as it was")
    trigger = Trigger()
    model = fused(trigger)
    before = state_of(model)
    backward = way == "backward"
    expected, calls = counts_of_calls(name, trigger, model, backward=backward)
    for place, n_calls in calls.items():
        kinds = ERRORS if place == "middle" else ["an exception"]
        for call in sorted({1, n_calls // 2, n_calls} - {0}) if n_calls else []:
            for kind in kinds:
                trigger.arm(place, call, ERRORS[kind], backward=backward)
                outcome = came_through(name, model)
                # One exception while calls are recorded is forgiven: autograd alone
                # gives the same.
                if outcome is not None and kind == "an exception":
                    assert_allclose(outcome, expected, rtol=1e-9, atol=1e-12)
                else:
                    assert outcome is None, kind
                assert_same_state(before, state_of(model))


def came_through(name, model):
    """Return None if the error did, else what the door gave."""
    error = model.first.trigger.error
    interrupts = not isinstance(error, Exception)
    legal = type(error) if interrupts else (RuntimeError, ValueError)
    try:
        given = DOORS[name](model, X)
    except legal as caught:
        assert "cosmic ray" in str(caught)
        assert not interrupts or caught is error
        return None
    return given
