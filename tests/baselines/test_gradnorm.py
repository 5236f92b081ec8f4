"""GradNorm: the product is the norm that autograd computes."""

import numpy as np
import pytest
import torch
from networks import BatchNormNet, images, layer_names, seeded
from numpy.testing import assert_allclose
from torch import nn

from skgrad.baselines import GradNorm

X = images(100, (2, 6, 6))


@pytest.mark.parametrize("temperature", [0.5, 10.0])
def test_score_is_the_norm_of_the_gradient(temperature):
    net = seeded(BatchNormNet, dtype=torch.float64).eval()
    detector = GradNorm(net, temperature=temperature, random_state=0).fit(X)
    assert layer_names(detector) == ["penultimate"]
    for x, score in zip(X[:10], detector.score_samples(X[:10]), strict=True):
        logits = net(torch.from_numpy(x[None]).double())
        log_p = (logits / temperature).log_softmax(dim=1)
        uniform = torch.full_like(log_p, 1 / 3)
        divergence = nn.functional.kl_div(log_p, uniform, reduction="sum")
        (gradient,) = torch.autograd.grad(divergence, net.head.weight)
        assert_allclose(score, gradient.abs().sum().item(), rtol=1e-9)


def test_two_neurons_by_hand():
    net = nn.Linear(2, 2, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[np.log(3.0), 0.0], [0.0, 0.0]]))
    detector = GradNorm(net, random_state=0).fit(X[:, :, 0, 0])
    # Of (1, -2) the softmax is (3/4, 1/4): 3 (1/4 + 1/4). Of (0, 1) it is uniform.
    assert_allclose(detector.score_samples([[1.0, -2.0], [0.0, 1.0]]), [1.5, 0.0])


class Scaled(BatchNormNet):
    """No layer returns the logits."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_a_named_layer_returns_h():
    net = seeded(Scaled, dtype=torch.float64).eval()
    with pytest.raises(
        ValueError, match=r"needs a model whose logits a torch\.nn\.Lin"
    ):
        GradNorm(net).fit(X)
    detector = GradNorm(net, layers=["norm"], random_state=0).fit(X)
    with torch.no_grad():
        batch = torch.from_numpy(X).double()
        h = net.norm(net.conv(batch)).mean(dim=(2, 3))
        excess = net(batch).softmax(dim=1) - 1 / 3
    expected = h.abs().sum(dim=1) * excess.abs().sum(dim=1)
    assert_allclose(detector.score_samples(X), expected, rtol=1e-9)


def test_layers_must_be_one_name():
    net = seeded(BatchNormNet)
    for layers in (["conv", "norm"], []):
        with pytest.raises(ValueError, match="layers must name one layer; got"):
            GradNorm(net, layers=layers).fit(X)
