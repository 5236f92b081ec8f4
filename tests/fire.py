"""Networks in the middle of their user's work, and triggers inside of them."""

from collections import OrderedDict
from functools import cache

import numpy as np
import torch
from doors import DOORS
from networks import BatchNormNet, images, seeded
from torch import nn

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


@cache
def quiet(name):
    """Return what a door gives in quiet."""
    with torch.random.fork_rng(devices=[]):  # of the dropout in use
        return DOORS[name](plain(), X)


# One of each kind: the others share their way in and out.
SOME = (
    *("parameter gradients", "input gradients", "activations", "ODIN", "GradNorm"),
    *("Mahalanobis", "density and uncertainty", "pgd", "cosine attack", "evaluate"),
    *("make_anomalies", "loss_alignment"),
)
