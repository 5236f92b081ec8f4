"""Per-sample gradient norms against paper A's equations."""

import numpy as np
import pytest
import torch
from networks import LeNet, images, seeded
from numpy.testing import assert_allclose
from torch import nn

from skgrad.torch_engine.model_state import frozen
from skgrad.torch_engine.parameter_gradients import (
    confounding_cotangent,
    gradient_parameters,
    squared_gradient_norms,
)


def norms_of(module, x, label):
    with frozen(module, parameter_gradients=True):
        return squared_gradient_norms(module, x, label)


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
    norms = norms_of(net, torch.tensor([[3.0, 4.0]]).double(), torch.ones(2).double())
    assert_allclose(norms, [[5 / 64 * 25, 5 / 64]], rtol=1e-14)


@pytest.mark.parametrize(
    "label", [torch.ones(10), torch.zeros(10), torch.linspace(0, 1, 10)]
)
def test_lenet_against_definition(label):
    net = seeded(LeNet, dtype=torch.float64).eval()
    x = torch.from_numpy(images(5, (1, 28, 28))).double()
    label = label.double()
    assert_allclose(norms_of(net, x, label), by_definition(net, x, label), rtol=1e-9)


def test_float32_lenet_against_float64():
    net = seeded(LeNet).eval()
    x = torch.from_numpy(images(3, (1, 28, 28)))
    exact = by_definition(
        seeded(LeNet, dtype=torch.float64), x.double(), torch.ones(10)
    )
    assert_allclose(norms_of(net, x, torch.ones(10)), exact, rtol=1e-4)


def test_saturated_logits_keep_their_digits():
    # sigmoid(60) - 1 rounds to 0 in float64 too; the gradient is -sigmoid(-60) / C.
    logits = torch.tensor([[60.0, 500.0]])
    cotangent = confounding_cotangent(logits, torch.ones(2))
    assert_allclose(cotangent[0, 0], -np.exp(-60) / 2, rtol=1e-5)
    assert torch.isfinite(cotangent).all()


def test_tiny_gradients_do_not_underflow():
    net = nn.Linear(1, 2)
    with torch.no_grad():
        net.weight.zero_()
        net.bias.fill_(60.0)
    norms = norms_of(net, torch.ones(1, 1), torch.ones(2))
    # Two gradients of exp(-60) / 2: the square, 2e-53, is no float32.
    assert_allclose(norms[0, 1], np.exp(-120) / 2, rtol=1e-5)


def test_unused_and_frozen_parameters():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.used = nn.Linear(2, 3)
            self.unused = nn.Parameter(torch.ones(4))
            self.used.bias.requires_grad_(False)

        def forward(self, x):
            return self.used(x)

    net = seeded(Net)
    norms = norms_of(net, torch.ones(2, 2), torch.ones(3))
    names = list(gradient_parameters(net))
    assert (norms[:, names.index("unused")] == 0).all()
    assert (norms[:, names.index("used.bias")] > 0).all()
    assert not net.used.bias.requires_grad


def test_shared_weight_is_one_parameter_with_its_whole_gradient():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 3, bias=False)
            self.second = nn.Linear(3, 3, bias=False)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(torch.tanh(self.first(x)))

    net = seeded(Net, dtype=torch.float64)
    x, label = torch.ones(2, 3).double(), torch.ones(3).double()
    assert list(gradient_parameters(net)) == ["first.weight"]
    assert_allclose(norms_of(net, x, label), by_definition(net, x, label), rtol=1e-9)


def test_model_without_a_graph_is_refused():
    class Net(nn.Linear):
        def forward(self, x):
            with torch.no_grad():
                return super().forward(x)

    with pytest.raises(ValueError, match=r"carry no gradient\. Remove torch.no_grad"):
        norms_of(Net(2, 3), torch.ones(1, 2), torch.ones(3))
