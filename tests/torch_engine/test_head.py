"""The layer that returns the logits, what goes into it, and gradients of layers."""

import pytest
import torch
from networks import AnyWidth, BatchNormNet, LeNet, images, seeded
from numpy.testing import assert_allclose
from torch import nn

from skgrad.torch_engine.activations import (
    find_layers,
    layer_activations,
    layer_input_gradient,
    spread_layers,
)
from skgrad.torch_engine.head import find_head
from skgrad.torch_engine.model_state import frozen


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 5)
        self.weight = nn.Parameter(torch.ones(5, 3))

    def forward(self, x):
        return self.body(x).tanh() @ self.weight


@pytest.mark.parametrize(
    ("net", "shape", "expected"),
    [
        (LeNet(), (1, 28, 28), "fc3"),
        (BatchNormNet().eval(), (2, 6, 6), "head"),
        (AnyWidth(), (4,), "head"),
        (nn.Linear(4, 3), (4,), ""),
        (Functional(), (4,), None),
    ],
)
def test_head(net, shape, expected):
    x = torch.from_numpy(images(2, shape)).to(next(net.parameters()))
    with frozen(net):
        assert find_head(net, x) == expected


def test_penultimate_is_what_the_head_takes():
    net = seeded(LeNet, dtype=torch.float64)
    x = torch.from_numpy(images(3, (1, 28, 28))).double()
    with frozen(net):
        features, logits = layer_activations(
            net, x, ["penultimate", "logits"], pooling="mean", head="fc3"
        )
        expected = features @ net.fc3.weight.T + net.fc3.bias
    assert features.shape == (3, 84)
    assert (features >= 0).all()
    assert_allclose(expected, logits, rtol=1e-12)


def test_penultimate_is_no_name_without_a_head():
    with pytest.raises(ValueError, match="'penultimate' is none"):
        find_layers(LeNet(), ["penultimate"])


def test_all_layers_with_weights():
    net = seeded(LeNet)
    with frozen(net):
        found = spread_layers(net, torch.zeros(2, 1, 28, 28), None)
    assert found == ["conv1", "conv2", "fc1", "fc2"]


@pytest.mark.parametrize("layer", ["conv1", "penultimate", "logits"])
def test_gradient_of_a_layer_by_finite_differences(layer):
    net = seeded(LeNet, dtype=torch.float64)
    x = torch.from_numpy(images(2, (1, 28, 28))).double()
    towards = torch.from_numpy(images(2, (1, 28, 28), seed=1)).double() - 0.5

    def objective(features):
        return features.sin().square().sum(dim=1)

    def value(x):
        options = {"pooling": "mean", "head": "fc3"}
        return objective(layer_activations(net, x, [layer], **options)[0])

    with frozen(net):
        gradient = layer_input_gradient(
            net, x, layer, objective, pooling="mean", head="fc3"
        )
        step = 1e-6
        rise = (value(x + step * towards) - value(x - step * towards)) / (2 * step)
    assert_allclose((gradient * towards).sum(dim=(1, 2, 3)), rise, rtol=1e-5)


def test_layer_out_of_reach_of_autograd():
    class Detached(nn.Linear):
        def forward(self, x):
            return super().forward(x.detach())

    net = nn.Sequential(Detached(4, 5), nn.Linear(5, 3))
    with frozen(net), pytest.raises(ValueError, match="must let autograd reach"):
        layer_input_gradient(
            net, torch.ones(2, 4), "0", lambda f: f.sum(dim=1), pooling="mean"
        )
