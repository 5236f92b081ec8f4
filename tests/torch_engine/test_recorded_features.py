"""Features in the graph: values of the engine, derivatives by finite differences."""

from functools import partial

import pytest
import torch
from networks import BatchNormNet, LeNet, images, seeded
from numpy.testing import assert_allclose
from torch import nn

from skgrad.torch_engine.activations import layer_activations
from skgrad.torch_engine.cotangents import label_cotangents
from skgrad.torch_engine.gradient_routes import parameter_routes
from skgrad.torch_engine.input_gradients import (
    Maps,
    class_cosines,
    recorded_cosines,
    recorded_logits,
)
from skgrad.torch_engine.model_state import frozen
from skgrad.torch_engine.parameter_gradients import squared_gradient_norms
from skgrad.torch_engine.smooth_relu import SmoothReLU

MAPS = [
    {},
    {"top_n": 2},
    {"channel_reduction": "max"},
    {"logit_scale": 10.0},
]
DESIGNS = [
    ("all", "bce"),
    ("each", "bce"),
    ("none", "bce"),
    ("complement", "bce"),
    ("predicted", "cross_entropy"),
    ("uniform", "bce_softmax"),
    ([0.1, 0.9, 0.5], "bce"),
]


class Smooth(nn.Module):
    """Convolutions, a normalisation, and a parameter that no rule knows."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.groups = nn.Conv2d(4, 4, 3, stride=2, groups=2, bias=False)
        self.head = nn.Linear(4, 3)
        self.power = nn.Parameter(torch.tensor([1.0, 1.2, 0.7]))

    def forward(self, x):
        x = torch.tanh(self.norm(self.conv(x)))
        return self.head(torch.tanh(self.groups(x)).flatten(1)) * self.power.exp()


def smooth():
    return seeded(Smooth).double().eval(), torch.as_tensor(
        images(3, (2, 4, 4))
    ).double()


def norms_and_routes(net, x, label, loss):
    """Return the engine's norms and its routes."""
    cotangents = partial(label_cotangents, label=label, loss=loss)
    with frozen(net, parameter_gradients=True):
        routes = parameter_routes(net, x, cotangents)
        return squared_gradient_norms(net, x, cotangents, routes), routes


@pytest.mark.parametrize(("label", "loss"), DESIGNS)
def test_norms_agree_with_the_engine_and_finite_differences(label, loss):
    net, x = smooth()
    expected, routes = norms_and_routes(net, x, label, loss)
    assert "conv.weight" in routes
    assert "power" not in routes
    cotangents = partial(label_cotangents, label=label, loss=loss)

    def norms(x):
        return squared_gradient_norms(net, x, cotangents, routes, create_graph=True)

    with frozen(net, parameter_gradients=True):
        leaf = x.clone().requires_grad_(True)
        found = norms(leaf)
        assert_allclose(found.detach(), expected, rtol=1e-10)
        assert torch.autograd.gradcheck(norms, leaf, fast_mode=True)


@pytest.mark.parametrize("n_samples", [1, 4])
def test_norms_by_rule_have_the_derivatives_of_autograd(n_samples):
    # Large enough for each way in which the norms of a convolution are computed, and
    # with activations that work in place.
    net = seeded(LeNet).eval()
    x = torch.as_tensor(images(n_samples, (1, 28, 28)))
    cotangents = partial(label_cotangents, label="all", loss="bce")
    _, routes = norms_and_routes(net, x, "all", "bce")
    assert len(routes) == 10
    slopes = []
    with frozen(net, parameter_gradients=True), SmoothReLU(10.0):
        for way in (routes, {}):
            leaf = x.clone().requires_grad_(True)
            norms = squared_gradient_norms(
                net, leaf, cotangents, way, create_graph=True
            )
            slopes += torch.autograd.grad(norms.log().sum(), leaf)
    scale = slopes[1].abs().max().item()
    assert_allclose(slopes[0], slopes[1], atol=1e-4 * scale)


@pytest.mark.parametrize("options", MAPS)
def test_cosines_agree_with_the_engine_and_finite_differences(options):
    net, x = smooth()
    maps = Maps(sign=False, **options)

    def matrices(x):
        return recorded_cosines(recorded_logits(net, x), x, maps)[0]

    with frozen(net):
        expected, position = class_cosines(net, x, maps)
        with torch.enable_grad():
            leaf = x.clone().requires_grad_(True)
            found, predicted = recorded_cosines(recorded_logits(net, leaf), leaf, maps)
            assert torch.autograd.gradcheck(matrices, leaf, fast_mode=True)
    assert_allclose(found.detach(), expected, atol=1e-12)
    assert torch.equal(predicted, position)


@pytest.mark.parametrize("options", MAPS)
def test_signs_have_their_own_values_and_the_derivative_of_gradients(options):
    net, x = smooth()
    with frozen(net):
        expected, _ = class_cosines(net, x, Maps(**options))
        with torch.enable_grad():
            leaf = x.clone().requires_grad_(True)
            logits = recorded_logits(net, leaf)
            signed, _ = recorded_cosines(logits, leaf, Maps(**options))
            unsigned, _ = recorded_cosines(logits, leaf, Maps(sign=False, **options))
            slopes = [
                torch.autograd.grad(matrices.sum(), leaf, retain_graph=True)[0]
                for matrices in (signed, unsigned)
            ]
    assert_allclose(signed.detach(), expected, atol=1e-12)
    assert_allclose(*slopes, atol=1e-12)


def test_activations_stay_in_the_graph_where_asked_for():
    net = seeded(BatchNormNet).double().eval()
    x = torch.as_tensor(images(3, (2, 4, 4))).double()
    layers = {"layers": ["conv", "logits"], "pooling": "mean"}
    with frozen(net):
        expected = layer_activations(net, x, **layers)
        with torch.enable_grad():
            leaf = x.clone().requires_grad_(True)
            detached = layer_activations(net, leaf, **layers)
            recorded = layer_activations(net, leaf, **layers, gradients=True)
    for exact, cut, kept in zip(expected, detached, recorded, strict=True):
        assert torch.equal(exact, kept)
        assert kept.requires_grad
        assert not cut.requires_grad
