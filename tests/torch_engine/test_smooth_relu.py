"""ReLU with a second derivative: every way of calling it, values and derivatives."""

import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn
from torch.nn import functional as F  # noqa: N812

from skgrad.torch_engine.smooth_relu import SmoothReLU

WAYS = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "functional": F.relu,
    "functional in place": lambda x: F.relu(x, inplace=True),
    "torch": torch.relu,
    "method": lambda x: x.relu(),
    "method in place": lambda x: x.relu_(),
    "torch in place": torch.relu_,
}
X = torch.tensor([-2.0, -0.1, 0.0, 0.3, 5.0], dtype=torch.float64)
BETA = 3.0


def derivatives(relu, **options):
    """Return value, first and second derivative at X."""
    leaf = X.clone().requires_grad_(True)
    with SmoothReLU(BETA, **options):
        y = relu(leaf * 1)
    (first,) = torch.autograd.grad(y.sum(), leaf, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), leaf)
    return y.detach(), first.detach(), second


@pytest.mark.parametrize("relu", WAYS.values(), ids=WAYS)
def test_exact_values_and_the_curvature_of_softplus(relu):
    value, first, second = derivatives(relu)
    assert_allclose(value, X.clamp(min=0))
    assert_allclose(first, (X > 0).double())
    gate = torch.sigmoid(BETA * X)
    assert_allclose(second, BETA * gate * (1 - gate))


@pytest.mark.parametrize("relu", WAYS.values(), ids=WAYS)
def test_softplus_altogether(relu):
    value, first, _ = derivatives(relu, exact=False)
    assert_allclose(value, torch.log1p(torch.exp(BETA * X)) / BETA)
    assert_allclose(first, torch.sigmoid(BETA * X))


def test_others_are_left_alone_and_all_is_over_afterwards():
    x = X.clone()
    with SmoothReLU(BETA, exact=False):
        assert_allclose(F.leaky_relu(x, 0.1), torch.where(x > 0, x, 0.1 * x))
        assert torch.equal(torch.tanh(x), X.tanh())
    assert torch.equal(torch.relu(x), X.clamp(min=0))


def test_in_place_writes_into_what_it_was_given():
    x = X.clone()
    with SmoothReLU(BETA):
        assert F.relu(x, inplace=True) is x
    assert torch.equal(x, X.clamp(min=0))
