"""The layer that returns the logits, what goes into it, and gradients of layers."""

import pytest
import torch
from networks import (
    AnyWidth,
    BatchNormNet,
    LeNet,
    images,
    layer_activations,
    lenet_and_images,
    seeded,
)
from numpy.testing import assert_allclose
from torch import nn

from skgrad.torch_engine.input_gradients import layer_input_gradient
from skgrad.torch_engine.layer_outputs import find_outputs
from skgrad.torch_engine.layers import find_head, spread_layers
from skgrad.torch_engine.model_state import frozen
from skgrad.torch_engine.pooling import LayerOutput
from skgrad.torch_engine.probe import Probe


def probed(net, x):
    with frozen(net):
        return Probe(net, x, every=True)


def found(net, x):
    return find_head(probed(net, x))


@pytest.mark.parametrize(
    "remake",
    [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm],
)
@pytest.mark.parametrize("bias", [True, False])
def test_layers_of_remade_weights(remake, bias):
    net = nn.Sequential(
        remake(nn.Linear(4, 5, bias=bias)), nn.Tanh(), remake(nn.Linear(5, 3, bias))
    )
    x = torch.randn(2, 4)
    probe = probed(net, x)
    assert find_head(probe) == "2"
    assert spread_layers(probe, None) == ["0"]


def test_penultimate_is_what_the_head_takes():
    net, x = lenet_and_images(3)
    with frozen(net):
        features, logits = layer_activations(
            net, x, ["penultimate", "logits"], pooling="mean", head="fc3"
        )
        expected = features @ net.fc3.weight.T + net.fc3.bias
    assert features.shape == (3, 84)
    assert (features >= 0).all()
    assert_allclose(expected, logits, rtol=1e-12)


def test_penultimate_is_resolved():
    x = torch.from_numpy(images(2, (1, 28, 28)))
    for net, given, expected in (
        (LeNet(), ["conv1"], [("conv1", None)]),
        (LeNet(), ["conv1", "penultimate"], [("conv1", None), ("penultimate", "fc3")]),
        (nn.Sequential(LeNet(), nn.ReLU()), ["penultimate"], [("0.fc3", None)]),
    ):
        outputs = find_outputs(probed(net, x), given, "mean")
        assert [(output.layer, output.head) for output in outputs] == expected
    net = nn.Sequential(nn.Flatten(), nn.ReLU())
    probe = probed(net, x)
    with pytest.raises(ValueError, match="'penultimate' needs a layer"):
        find_outputs(probe, ["penultimate"], "mean")


def test_all_layers_with_weights():
    net = seeded(LeNet)
    found = spread_layers(probed(net, torch.zeros(2, 1, 28, 28)), None)
    assert found == ["conv1", "conv2", "fc1", "fc2"]


@pytest.mark.parametrize("layer", ["conv1", "penultimate", "logits"])
def test_gradient_of_a_layer_by_finite_differences(layer):
    net, x = lenet_and_images(2)
    towards = torch.from_numpy(images(2, (1, 28, 28), seed=1)).double() - 0.5

    def objective(features):
        return features.sin().square().sum(dim=1)

    def value(x):
        options = {"pooling": "mean", "head": "fc3"}
        return objective(layer_activations(net, x, [layer], **options)[0])

    with frozen(net):
        head = "fc3" if layer == "penultimate" else None
        output = LayerOutput(layer, "mean", head)
        gradient = layer_input_gradient(net, x, output, objective)
        step = 1e-6
        rise = (value(x + step * towards) - value(x - step * towards)) / (2 * step)
    assert_allclose((gradient * towards).sum(dim=(1, 2, 3)), rise, rtol=1e-5)


def test_layer_out_of_reach_of_autograd():
    class Detached(nn.Linear):
        def forward(self, x):
            return super().forward(x.detach())

    net = nn.Sequential(Detached(4, 5), nn.Linear(5, 3))
    output = LayerOutput("0", "mean")
    with frozen(net), pytest.raises(ValueError, match="must let autograd reach"):
        layer_input_gradient(net, torch.ones(2, 4), output, lambda f: f.sum(dim=1))


class Reversed(nn.Module):
    """Makes its layers in another order than it calls them, and returns more."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3, 2)
        self.first = nn.Linear(4, 3)

    def forward(self, x):
        return self.last(self.first(x).relu()), x


class Scaled(Reversed):
    def forward(self, x):
        return 2 * super().forward(x)[0]


def test_head_of_networks():
    x = torch.from_numpy(images(2, (1, 28, 28)))
    assert found(seeded(LeNet), x) == "fc3"
    assert found(AnyWidth(), torch.rand(2, 4, dtype=torch.float64)) == "head"
    assert found(seeded(BatchNormNet), torch.rand(2, 2, 6, 6)) == "head"
    assert found(seeded(Reversed), torch.rand(2, 4)) == "last"
    assert found(nn.Sequential(nn.Linear(4, 3), nn.Dropout()), torch.rand(2, 4)) == "0"
    assert found(nn.Linear(4, 3), torch.rand(2, 4)) == ""
    identity = nn.Linear(3, 3)
    nn.init.eye_(identity.weight)
    nn.init.zeros_(identity.bias)
    assert found(nn.Sequential(nn.Linear(4, 3), identity), torch.rand(2, 4)) == "1"


def test_no_head():
    assert found(seeded(Scaled), torch.rand(2, 4)) is None


def test_activations_stay_in_the_graph_where_asked_for():
    net = seeded(BatchNormNet).double().eval()
    x = torch.as_tensor(images(3, (2, 4, 4))).double()
    layers = {"layers": ["conv", "logits"], "pooling": "mean"}
    with frozen(net):
        expected = layer_activations(net, x, **layers)
        with torch.enable_grad():
            leaf = x.clone().requires_grad_(True)
            detached = layer_activations(net, leaf, **layers)
            recorded = layer_activations(net, leaf, **layers, create_graph=True)
    for exact, cut, kept in zip(expected, detached, recorded, strict=True):
        assert torch.equal(exact, kept)
        assert kept.requires_grad
        assert not cut.requires_grad
