"""Images with channels side by side in memory, for faster gradients."""

import pytest
import torch
from networks import images, seeded
from numpy.testing import assert_allclose
from torch import nn

from skgrad import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
)
from skgrad.torch_engine.memory_format import in_order_of_axes, with_channels_last

X = images(5, (3, 6, 6))
GRADIENTS = [
    ConfoundingGradientTransformer,
    lambda net: CosineSimilarityMatrixTransformer(net, sign=False),
]


class Convolutions(nn.Module):
    """Two convolutions, what is done with the output of the first, and a head.

    ``orders`` collects whether channels lay side by side in the first one's inputs.
    """

    def __init__(self, between=lambda maps: maps.flatten(1)):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4 * 36, 3)
        self.between, self.orders = between, []

    def forward(self, x):
        last = x.is_contiguous(memory_format=torch.channels_last)
        self.orders.append(last and not x.is_contiguous())
        maps = self.conv2(torch.tanh(self.norm(self.conv1(x))))
        return self.head(self.between(maps))


def convolutions(**options):
    net = seeded(lambda: Convolutions(**options)).double().eval()
    net.norm.running_mean.fill_(0.1)
    return net


def strided(maps):
    """Read the numbers as they lie in memory, whatever their axes."""
    return torch.as_strided(maps, (len(maps), 144), (144, 1))


def test_shape_and_values_are_the_same():
    x = torch.from_numpy(X)
    last = with_channels_last(x)
    assert torch.equal(last, x)
    assert last.stride() == (108, 1, 18, 3)
    assert in_order_of_axes(last).stride() == x.stride()


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (5, 3), (5, 3, 4), (5, 2, 3, 4, 4)])
def test_other_inputs_stay_as_they_are(shape):
    x = torch.rand(shape)
    assert with_channels_last(x) is x


@pytest.mark.parametrize("make", GRADIENTS)
def test_batches_with_gradients_come_in_this_order(make):
    net = convolutions()
    transformer = make(net).fit(X)
    alone = [transformer.transform(X[i : i + 1])[0] for i in range(len(X))]
    net.orders.clear()
    assert_allclose(transformer.transform(X), alone, rtol=1e-9, atol=1e-12)
    assert net.orders == [True]


def test_outputs_alone_are_those_of_the_network_as_it_is():
    net = convolutions()
    transformer = LayerActivationTransformer(net, layers=["conv1"]).fit(X)
    net.orders.clear()
    transformer.transform(X)
    assert net.orders == [False]


@pytest.mark.parametrize("make", GRADIENTS)
@pytest.mark.parametrize("between", [lambda maps: maps.view(-1, 144), strided])
def test_models_that_depend_on_the_order_keep_theirs(make, between):
    net = convolutions(between=between)
    transformer = make(net).fit(X)
    net.orders.clear()
    features = transformer.transform(X)
    assert net.orders == [False]
    same = make(convolutions()).fit(X).transform(X)
    assert_allclose(features, same, rtol=1e-9, atol=1e-12)
