"""The last layer: found by what it returns, and what it takes."""

import pytest
import torch
from networks import BatchNormNet, LeNet, images, seeded
from numpy.testing import assert_allclose
from torch import nn

from skgrad.torch_engine.head import find_head, head_input
from skgrad.torch_engine.model_state import frozen


def found(net, x):
    with frozen(net):
        return find_head(net, x)


def inputs_of(net, x, layer):
    with frozen(net):
        return head_input(net, x, layer)


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


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.step = nn.Linear(3, 3)

    def forward(self, x):
        return self.step(self.step(x))


def test_head_of_networks():
    x = torch.from_numpy(images(2, (1, 28, 28)))
    assert found(seeded(LeNet), x) == "fc3"
    assert found(seeded(BatchNormNet), torch.rand(2, 2, 6, 6)) == "head"
    assert found(seeded(Reversed), torch.rand(2, 4)) == "last"
    assert found(nn.Sequential(nn.Linear(4, 3), nn.Dropout()), torch.rand(2, 4)) == "0"
    assert found(nn.Linear(4, 3), torch.rand(2, 4)) == ""


def test_features_by_hand_made_forward():
    net, x = seeded(Reversed).eval(), torch.rand(5, 4)
    logits, features = inputs_of(net, x, "last")
    expected = (x @ net.first.weight.T + net.first.bias).relu().detach()
    assert_allclose(features, expected, rtol=1e-5)
    assert_allclose(logits, net(x)[0].detach())
    logits, features = inputs_of(nn.Linear(4, 3), x, "")
    assert_allclose(features, x)


def test_autograd_goes_through():
    net, x = seeded(Reversed).eval(), torch.rand(5, 4).requires_grad_()
    with frozen(net), torch.enable_grad():
        _, features = head_input(net, x, "last")
        (gradient,) = torch.autograd.grad(features.sum(), x)
    assert (gradient != 0).any()


def test_no_hook_is_left():
    net = seeded(Reversed)
    found(net, torch.rand(2, 4))
    inputs_of(net, torch.rand(2, 4), "last")
    with pytest.raises(RuntimeError):
        found(net, torch.rand(2, 5))
    with pytest.raises(RuntimeError):
        inputs_of(net, torch.rand(2, 5), "last")
    for part in net.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks


@pytest.mark.parametrize(
    ("net", "layer", "message"),
    [
        (Scaled, "lost", r"layer must be the name of a layer .* got 'lost'"),
        (Twice, "step", r"called once in the forward pass; 'step' is called 2"),
        (BatchNormNet, "norm", r"'norm' takes shape \(2, 4, 6, 6\)"),
    ],
)
def test_layers_that_will_not_do(net, layer, message):
    x = torch.rand(2, 2, 6, 6) if net is BatchNormNet else torch.rand(2, 3)
    x = torch.rand(2, 4) if net is Scaled else x
    with pytest.raises(ValueError, match=message):
        inputs_of(seeded(net), x, layer)


def test_no_head():
    with pytest.raises(ValueError, match=r"layer must be named .* 'last', 'first'"):
        found(seeded(Scaled), torch.rand(2, 4))
