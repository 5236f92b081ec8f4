"""Images with channels side by side in memory, for faster gradients."""

import pytest
import torch
from networks import images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad import (
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
    NetworkFeatures,
)
from skgrad.feature_extraction import GradientNorms, Stability
from skgrad.torch_engine.memory_format import with_channels_last

X = images(5, (3, 6, 6)).astype("float32")
x = torch.from_numpy(X)
pytestmark = pytest.mark.skipif(
    with_channels_last(x) is x, reason="needs oneDNN and a newer torch"
)

GRADIENTS = [
    ConfoundingGradientTransformer,
    lambda net: CosineSimilarityMatrixTransformer(net, sign=False),
]


class Convolutions(nn.Module):
    """Two convolutions with something between, and a head.

    ``orders`` collects whether channels lay side by side in the first one's inputs.
    """

    def __init__(self, between=lambda maps: maps, end=lambda maps: maps.flatten(1)):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4 * 36, 3)
        self.between, self.end, self.orders = between, end, []

    def forward(self, x):
        last = x.is_contiguous(memory_format=torch.channels_last)
        self.orders.append(last and not x.is_contiguous())
        maps = self.between(torch.tanh(self.norm(self.conv1(x))))
        return self.head(self.end(self.conv2(maps)))


def convolutions(**options):
    net = seeded(lambda: Convolutions(**options)).eval()
    net.norm.running_mean.fill_(0.1)
    return net


def strided(maps):
    """Read the numbers as they lie in memory, whatever their axes."""
    return torch.as_strided(maps, (len(maps), 144), (144, 1))


def with_backward(backward):
    """Make an identity whose derivative is a function of gradients."""

    class Identity(torch.autograd.Function):
        @staticmethod
        def forward(ctx, maps):
            ctx.use = 3  # an attribute of a user's function
            return maps.clone()

        @staticmethod
        def backward(ctx, gradient):
            return backward(gradient)

    return Identity.apply


def of_memory(gradient):
    values = strided(gradient)
    scales = torch.linspace(0, 2, 144)
    return (values * scales).view(len(gradient), 4, 6, 6)


def of_views(gradient):
    return gradient.view(len(gradient), -1).view(gradient.shape)


def of_rows(gradient):
    assert gradient.is_contiguous()
    return gradient


def beside(function, share):
    """Make a function that adds a share of another one to its input."""
    return lambda maps: maps + share * function(maps)


def read(maps):
    return maps.flatten(1) + 0.02 * strided(maps)


def test_shape_and_values_are_the_same():
    last = with_channels_last(x)
    assert torch.equal(last, x)
    assert last.stride() == (108, 1, 18, 3)


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (5, 3), (5, 3, 4), (5, 2, 3, 4, 4)])
def test_other_inputs_stay_as_they_are(shape):
    x = torch.rand(shape)
    assert with_channels_last(x) is x


@pytest.mark.parametrize("make", GRADIENTS)
def test_batches_with_gradients_come_in_this_order(make):
    net = convolutions(between=with_backward(lambda gradient: gradient))
    transformer = make(net).fit(X)
    alone = [transformer.transform(X[i : i + 1])[0] for i in range(len(X))]
    net.orders.clear()
    assert_allclose(transformer.transform(X), alone, rtol=1e-4, atol=1e-6)
    assert net.orders == [True]


def test_outputs_alone_are_those_of_the_network_as_it_is():
    net = convolutions()
    transformer = LayerActivationTransformer(net, layers=["conv1"]).fit(X)
    net.orders.clear()
    transformer.transform(X)
    assert net.orders == [False]


@pytest.mark.parametrize("make", GRADIENTS)
@pytest.mark.parametrize(
    "parts",
    [
        {"end": lambda maps: maps.view(-1, 144)},
        {"end": strided},
        {"between": with_backward(of_memory)},
        {"between": with_backward(of_views)},
        {"between": with_backward(of_rows)},
        {"end": read},
        {"between": beside(with_backward(of_memory), 0.1)},
    ],
    ids=[
        "views",
        "memory",
        "backward by memory",
        "backward by views",
        "backward by assertion",
        "a little memory",
        "a little backward by memory",
    ],
)
def test_models_that_depend_on_the_order_keep_theirs(make, parts):
    net, inputs = convolutions(**parts), X.copy()
    inputs[0] = 0  # which looks the same in any order
    transformer = make(net).fit(inputs)
    net.orders.clear()
    features = transformer.transform(X)
    assert net.orders == [False]
    alone = [transformer.transform(X[i : i + 1])[0] for i in range(len(X))]
    assert_allclose(features, alone, rtol=1e-4, atol=1e-6)


class RowsOfPixels(nn.Linear):
    """A network that takes views of images whose channels lie last in memory."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1).view(len(x), -1))


@pytest.mark.parametrize("make", [*GRADIENTS, LayerActivationTransformer])
def test_inputs_that_come_in_this_order_stay_in_it(make):
    last = x.contiguous(memory_format=torch.channels_last)
    net = seeded(lambda: RowsOfPixels(108, 3))
    transformer = make(net).fit(last)
    alone = [transformer.transform(last[i : i + 1])[0] for i in range(len(X))]
    assert_allclose(transformer.transform(last), alone, rtol=1e-4, atol=1e-6)


class Shifted(Convolutions):
    """A network whose shift has a gradient of one number, repeated."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.rand(2, 3))

    def forward(self, x):
        return super().forward(x) * self.shift.sum()


def test_gradient_of_one_number_repeated():
    net = seeded(Shifted).eval()
    transformer = ConfoundingGradientTransformer(net).fit(X)
    net.orders.clear()
    transformer.transform(X)
    assert net.orders[0]


def test_functions_that_change_inputs_get_them_as_they_came():
    def turned(x):
        return x.view(len(x), -1).flip(1).view(x.shape)

    stability = Stability([("turned", turned)])
    families = [("norms", GradientNorms()), ("stability", stability)]
    net = convolutions()
    both = NetworkFeatures(net, families).fit_transform(X)
    alone = NetworkFeatures(net, families[1:]).fit_transform(X)
    # The unchanged inputs go through the network in another order.
    assert_allclose(both[:, -2:], alone, rtol=1e-4, atol=1e-5)
    assert_array_equal(both[:, -1], alone[:, -1])
