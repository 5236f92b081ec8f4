"""Per-sample gradient norms against paper A's equations, and against autograd."""

from functools import partial

import numpy as np
import pytest
import torch
from networks import (
    Between,
    Readout,
    check_against_loop,
    gradient_norms,
    images,
    lenet_and_images,
    looped_norms,
    parameter_routes,
    routes_of,
    seeded,
    squared_gradient_norms,
)
from numpy.testing import assert_allclose
from torch import nn
from torch.nn import functional as F  # noqa: N812

from skgrad.torch_engine.cotangents import label_cotangents
from skgrad.torch_engine.model_state import frozen
from skgrad.torch_engine.parameter_gradients import gradient_parameters
from skgrad.torch_engine.smooth_relu import SmoothReLU


def norms_of(module, x, label="all"):
    """Return the norms, by rules where possible."""
    return gradient_norms(module, x, partial(label_cotangents, label=label, loss="bce"))


def by_definition(module, x, label):
    """Eq. 1 and 2 written out: torch's own loss, one .backward() per sample."""
    rows = []
    for sample in x:
        module.zero_grad()
        logits = module(sample[None])[0]
        loss = nn.functional.binary_cross_entropy_with_logits(logits, label)
        loss.backward()
        rows.append([p.grad.norm().item() ** 2 for p in module.parameters()])
    module.zero_grad()
    return np.array(rows)


def test_linear_net_by_hand():
    # z = W x + b with x = (3, 4); W = 0 and b = (0, log 3), so sigmoid(z) = (1/2, 3/4)
    # and dJ/dz = (sigmoid(z) - 1) / 2 = (-1/4, -1/8). |dJ/db|^2 = 1/16 + 1/64 = 5/64,
    # and dJ/dW = dJ/dz x^T has |dJ/dz|^2 |x|^2 = 5/64 * 25.
    net = nn.Linear(2, 2).double()
    with torch.no_grad():
        net.weight.zero_()
        net.bias.copy_(torch.tensor([0.0, np.log(3)]))
    norms = norms_of(net, torch.tensor([[3.0, 4.0]]).double())
    assert_allclose(norms, [[5 / 64 * 25, 5 / 64]], rtol=1e-14)


@pytest.mark.parametrize("label", ["all", torch.linspace(0, 1, 10).tolist()])
def test_lenet_against_definition(label):
    net, x = lenet_and_images(5)
    target = torch.ones(10) if label == "all" else torch.tensor(label)
    assert set(routes_of(net, x).values()) == {"conv2d", "linear"}
    exact = by_definition(net, x, target.double())
    assert_allclose(norms_of(net, x, label), exact, rtol=1e-9)
    assert_allclose(looped_norms(net, x, label), exact, rtol=1e-9)
    assert_allclose(norms_of(net.float(), x.float(), label), exact, rtol=1e-4)


def test_several_losses_share_a_forward_pass():
    net, x = lenet_and_images(3)
    forward, backward = [], []
    net.register_forward_pre_hook(lambda *_: forward.append(1))
    net.fc3.register_full_backward_hook(lambda *_: backward.append(1))
    each = partial(label_cotangents, label="each", loss="cross_entropy")
    with frozen(net, parameter_gradients=True):
        routes = parameter_routes(net, x, each)
        forward.clear()
        backward.clear()
        norms = squared_gradient_norms(net, x, each, routes)
        # No pass checks the order of the samples again.
        assert (len(forward), len(backward)) == (1, 10)
        exact = squared_gradient_norms(net, x, each, {})
    assert norms.shape == (3, 10, 10)
    assert_allclose(norms, exact, rtol=1e-9)


def test_gradients_that_shrink_on_the_way_do_not_underflow():
    make = partial(Between, lambda net, x: net.head(1e-25 * net.step(x)))
    x = torch.rand(3, 4)
    exact = looped_norms(seeded(make).double(), x.double())
    assert (exact[:, 0] < 1e-45).all()
    assert_allclose(norms_of(seeded(make), x), exact, rtol=1e-4)


def test_unused_and_frozen_parameters():
    # The linear layer "step" is never called.
    net = Between(lambda net, x: net.head(x), unused=torch.ones(4))
    net.head.bias.requires_grad_(False)
    norms = norms_of(net, torch.ones(2, 4))
    named = dict(zip(gradient_parameters(net), norms.T, strict=True))
    assert (named["head.bias"] > 0).all()
    for name in ("unused", "step.weight", "step.bias"):
        assert (named[name] == 0).all()
    assert not net.head.bias.requires_grad


def test_shared_weight_is_one_parameter_with_its_whole_gradient():
    def forward(net, x):
        return net.head(net.twin(net.step(x).tanh()))

    net = Between(forward, twin=nn.Linear(4, 4, bias=False)).double()
    net.twin.weight = net.step.weight
    x = torch.rand(4, 4).double()
    check_against_loop(net, x, ["step.bias", "head.weight", "head.bias"])
    exact = by_definition(net, x, torch.ones(3).double())
    assert_allclose(norms_of(net, x), exact, rtol=1e-9)


def test_layer_called_twice_and_weight_in_a_product():
    def forward(net, x):
        hidden = net.step(net.step(x).tanh()).tanh()
        # A second use of the weight of the head, which no rule knows.
        return net.head(hidden) + x @ net.head.weight.T

    check_against_loop(Between(forward), torch.rand(4, 4), ["head.bias"])


def test_parametrized_layer():
    def make():
        layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
        return nn.Sequential(nn.Linear(4, 4), nn.Tanh(), layer)

    check_against_loop(seeded(make), torch.rand(4, 4), "linear")


def test_recurrent_layer_and_functions_with_parameters():
    def forward(net, x):
        y = net.gru(x)[1][0] @ net.mix
        maps = F.conv1d(y[:, None], net.kernel, padding=1)
        return net.head(maps.tanh().mean(dim=2))

    gru, mix = nn.GRU(2, 3, batch_first=True), torch.rand(3, 3)
    net = Between(forward, gru=gru, mix=mix, kernel=torch.rand(4, 1, 3))
    ruled = ["mix", "kernel", "head.weight", "head.bias"]
    ruled += [f"gru.{name}" for name, _ in gru.named_parameters()]
    check_against_loop(net, torch.rand(4, 5, 2), ruled)


def test_residual_sums_and_in_place_activations():
    def forward(net, x):
        x = F.relu_(net.first(x))
        y = net.second(x)
        y += x
        # A linear layer on more than two axes returns a view.
        z = F.leaky_relu_(net.step(y), 0.1)
        return net.head((y + z).mean(dim=(2, 3)))

    first, second = (nn.Conv2d(n, 4, 3, padding=1) for n in (2, 4))
    net = Between(forward, first=first, second=second)
    ruled = [name for name, _ in net.named_parameters()]
    check_against_loop(net, torch.rand(4, 2, 4, 4) - 0.5, ruled)


def test_channels_last():
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3)
    net, x = Readout(*layers).double().eval(), torch.rand(4, 3, 6, 6).double()
    exact = looped_norms(net, x)
    net = net.to(memory_format=torch.channels_last)
    norms = norms_of(net, x.to(memory_format=torch.channels_last))
    assert_allclose(norms, exact, rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype):
    def make():
        # 4,096 positions: in half precision their sum would lose two digits.
        return nn.Sequential(
            nn.Conv1d(1, 8, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(8, 3),
        )

    x = torch.from_numpy(images(3, (1, 4096))).to(dtype)
    net = seeded(make).to(dtype)
    exact = looped_norms(seeded(make).to(dtype).double(), x.double())
    assert set(routes_of(net, x).values()) == {"conv1d", "linear"}
    norms = norms_of(net, x)
    assert norms.dtype == torch.float64
    tolerance = 8 * torch.finfo(dtype).eps
    assert_allclose(norms, exact, rtol=tolerance)


class Smooth(nn.Module):
    """Convolutions, a normalisation, attention, and a parameter that no rule knows."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.groups = nn.Conv2d(4, 4, 3, stride=2, groups=2, bias=False)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.token = nn.Parameter(torch.rand(1, 1, 4))
        self.head = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.rand(3))
        self.power = nn.Parameter(torch.tensor([1.0, 1.2, 0.7]))

    def forward(self, x):
        x = torch.tanh(self.norm(self.conv(x)))
        x = torch.tanh(self.groups(x)).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1)
        # With weights, as torch cannot differentiate its fused attention twice.
        x = self.attention(x, x, x, need_weights=True)[0].mean(dim=1)
        logits = self.head(x) * self.scale.exp()
        return torch.einsum("nk,k->nk", logits, self.power.exp())


@pytest.mark.parametrize(
    ("label", "loss"),
    [
        ("all", "bce"),
        ("each", "bce"),
        ("predicted", "cross_entropy"),
        ("uniform", "bce_softmax"),
    ],
)
def test_norms_in_the_graph_by_finite_differences(label, loss):
    net = seeded(Smooth).double().eval()
    x = torch.as_tensor(images(3, (2, 4, 4))).double()
    cotangents = partial(label_cotangents, label=label, loss=loss)

    def norms(x):
        return squared_gradient_norms(net, x, cotangents, routes, create_graph=True)

    with frozen(net, parameter_gradients=True):
        routes = parameter_routes(net, x, cotangents)
        assert set(gradient_parameters(net)) - set(routes) == {"power"}
        leaf = x.clone().requires_grad_(True)
        exact = squared_gradient_norms(net, x, cotangents, {})
        assert_allclose(norms(leaf).detach(), exact, rtol=1e-9)
        assert torch.autograd.gradcheck(norms, leaf, fast_mode=True)


@pytest.mark.parametrize("n_samples", [1, 4])
def test_norms_by_rule_have_the_derivatives_of_autograd(n_samples):
    # Large enough for both formulas of convolutions, with activations in place.
    net, x = lenet_and_images(n_samples, torch.float32)
    cotangents = partial(label_cotangents, label="all", loss="bce")
    slopes = []
    with frozen(net, parameter_gradients=True), SmoothReLU(10.0):
        routes = parameter_routes(net, x, cotangents)
        assert len(routes) == 10
        for known in (routes, {}):
            leaf = x.clone().requires_grad_(True)
            norms = squared_gradient_norms(
                net, leaf, cotangents, known, create_graph=True
            )
            slopes += torch.autograd.grad(norms.log().sum(), leaf)
    scale = slopes[1].abs().max().item()
    assert_allclose(slopes[0], slopes[1], atol=1e-4 * scale)
