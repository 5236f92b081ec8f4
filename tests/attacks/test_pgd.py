"""PGD by hand, in both norms, with both losses."""

import numpy as np
import pytest
import torch
from networks import AnyWidth, images, seeded, two_classes
from numpy.testing import assert_allclose
from torch import nn

from skgrad.attacks import pgd

ROW = [[0.6, 0.5]]


def test_by_hand_in_the_maximum_norm():
    result = pgd(two_classes(), ROW, eps=0.25, random_start=False, n_steps=4)
    assert_allclose(result.X_adv, [[0.35, 0.75]], atol=1e-6)
    short = pgd(
        two_classes(), ROW, eps=0.25, random_start=False, n_steps=2, step_size=0.1
    )
    assert_allclose(short.X_adv, [[0.4, 0.7]], atol=1e-6)


def test_by_hand_in_the_euclidean_norm():
    walk = {"norm": "l2", "random_start": False}
    # The gradient is along (-1, 1), of length 1 after normalisation.
    one = pgd(two_classes(), ROW, eps=0.2, n_steps=1, **walk)
    assert_allclose(one.X_adv, np.array(ROW) + 0.05 * np.array([-1, 1]) / 2**0.5)
    all_steps = pgd(two_classes(), ROW, eps=0.2, n_steps=9, **walk)
    assert_allclose(all_steps.l2, 0.2, rtol=1e-5)
    assert_allclose(all_steps.X_adv, np.array(ROW) + 0.2 * np.array([-1, 1]) / 2**0.5)
    # At the bounds the rest of the way is along them.
    edge = pgd(two_classes(), [[0.6, 0.95]], [0], eps=0.2, n_steps=40, **walk)
    assert_allclose(edge.X_adv[0, 1], 1)
    assert edge.l2[0] <= 0.2 + 1e-6


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("target", [None, 2])
def test_mse_against_its_equation(norm, target):
    net = AnyWidth()
    rows, y = np.random.default_rng(0).uniform(size=(8, 6)), np.arange(8) % 3
    x = torch.from_numpy(rows).requires_grad_()
    labels = torch.from_numpy(y if target is None else np.full(8, target))
    one_hot = nn.functional.one_hot(labels, 3)
    loss = (net(x).softmax(dim=1) - one_hot).square().mean(dim=1).sum()
    (gradient,) = torch.autograd.grad(loss, x)
    gradient = gradient if target is None else -gradient
    step = gradient.sign() if norm == "linf" else nn.functional.normalize(gradient)
    expected = x.detach() + 0.01 * step
    walk = {"n_steps": 1, "random_start": False, "loss": "mse", "bounds": (-1, 2)}
    result = pgd(net, rows, y, eps=0.04, norm=norm, target=target, **walk)
    assert_allclose(result.X_adv, expected, atol=1e-9)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("target", [None, 1])
def test_saturated_network(loss, target):
    net = two_classes()
    with torch.no_grad():
        net.weight.mul_(1e6)
    walk = {"eps": 0.25, "n_steps": 9, "loss": loss, "target": target}
    for norm in ("linf", "l2"):
        assert pgd(net, ROW, norm=norm, random_state=0, **walk).success.all()


def test_tiny_gradients_are_normalised():
    net = two_classes()
    with torch.no_grad():
        net.weight.mul_(1e-25)
    result = pgd(net, ROW, eps=0.1, norm="l2", random_start=False)
    assert_allclose(result.l2, 0.1, rtol=1e-5)


def test_model_never_sees_inputs_beyond_the_bounds():
    class Strict(nn.Linear):
        def forward(self, x):
            assert ((x >= 0) & (x <= 1)).all()
            return super().forward(x)

    net = seeded(lambda: Strict(4, 3))
    result = pgd(net, images(20, (4,)), eps=0.5, n_steps=2, random_state=0)
    assert result.linf.max() > 0.3
