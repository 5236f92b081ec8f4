"""FGSM by hand and against its equation."""

import numpy as np
import torch
from networks import LeNet, images, seeded, two_classes
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad.attacks import fgsm


def test_by_hand():
    result = fgsm(two_classes(), [[0.6, 0.5], [0.9, 0.1]], eps=0.25)
    # Leaving class 0 means less x0 and more x1; the second stays in class 0.
    assert_allclose(result.X_adv, [[0.35, 0.75], [0.65, 0.35]], atol=1e-6)
    assert result.success.tolist() == [True, False]
    assert_allclose(result.linf, 0.25, atol=1e-6)
    assert_allclose(result.l2, 0.25 * np.sqrt(2), atol=1e-6)
    assert result.l0.tolist() == [2, 2]
    # Towards class 0 of the first, which has it already, and class 1 of the second.
    result = fgsm(two_classes(), [[0.6, 0.5], [0.9, 0.1]], eps=0.25, target=[0, 1])
    assert_allclose(result.X_adv, [[0.85, 0.25], [0.65, 0.35]], atol=1e-6)
    assert result.success.tolist() == [True, False]


def test_against_the_equation():
    net = seeded(LeNet, dtype=torch.float64)
    clean, y = images(6, (1, 28, 28)), np.arange(6)
    x = torch.from_numpy(clean).double().requires_grad_()
    loss = nn.functional.cross_entropy(net(x), torch.from_numpy(y), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, x)
    up, down = (
        (x.detach() + sign * 0.1 * gradient.sign()).clamp(0, 1) for sign in (1, -1)
    )
    assert_allclose(fgsm(net, clean, y, eps=0.1).X_adv, up, atol=1e-12)
    assert_allclose(fgsm(net, clean, eps=0.1, target=y).X_adv, down, atol=1e-12)


def test_misclassified_clean_inputs_count_as_success():
    net, clean = seeded(LeNet, seed=1), images(8, (1, 28, 28))
    with torch.no_grad():
        before = net(torch.from_numpy(clean)).argmax(dim=1).numpy()
    result = fgsm(net, clean, (before + 1) % 10, eps=1e-9)
    assert result.success.all()
    assert_array_equal(result.predicted, before)
