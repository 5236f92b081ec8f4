"""JSMA by hand, without a target, and against an independent loop."""

from functools import partial

import numpy as np
import pytest
import torch
from networks import BatchNormNet, images, mirror, seeded
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad.attacks import jsma


def test_by_hand():
    # Of class 1 only the second value has a gradient; the other of the pair is any.
    attack = partial(jsma, mirror(4), target=1)
    result = attack([[0.75, 0.5, 0.25, 0.0]], theta=0.3)
    assert_allclose(result.X_adv[0, 1], 0.8, atol=1e-6)
    assert result.success.all()
    assert result.l0.tolist() == [2]
    limited = attack([[0.9, 0.0, 0.0, 0.0]], theta=0.1, gamma=0.25)
    assert not limited.success.any()
    assert limited.l0.tolist() == [2]
    # A step below the precision of the values ends the attack.
    assert attack([[0.75, 0.5, 0.25, 0.25]], theta=1e-30).l0.tolist() == [0]
    # Class 1 is reached already.
    assert attack([[0.1, 0.9, 0.0, 0.0]]).l0.tolist() == [0]


def looped(net, x, target, theta, gamma):
    """Attack one input, step by step (Papernot et al., Sec. III)."""
    x = torch.from_numpy(x)[None].clone()
    limit = 1.0 if theta > 0 else 0.0
    changed = set()
    while True:
        leaf = x.clone().requires_grad_()
        logits = net(leaf)[0]
        free = [i for i, v in enumerate(x.flatten().tolist()) if v != limit]
        if logits.argmax() == target or not free:
            return x[0].numpy()
        if len(changed) / x.numel() > gamma:
            return x[0].numpy()
        (gradient,) = torch.autograd.grad(logits[target], leaf)
        signed = (np.sign(theta) * gradient).flatten().tolist()
        for i in sorted(free, key=lambda i: -signed[i])[:2]:
            changed.add(i)
            x.view(-1)[i] = (x.view(-1)[i] + theta).clamp(0, 1)


@pytest.mark.parametrize(("theta", "gamma"), [(0.3, 1.0), (-0.3, 1.0), (0.1, 0.1)])
def test_against_a_loop(theta, gamma):
    net = seeded(BatchNormNet).double().eval()
    X, target = images(6, (2, 4, 4)).astype(float), np.arange(6) % 3
    result = jsma(net, X, target=target, theta=theta, gamma=gamma)
    expected = [looped(net, x, t, theta, gamma) for x, t in zip(X, target, strict=True)]
    assert_allclose(result.X_adv, expected, atol=1e-12)
    assert result.l0.max() > 2


def test_no_target_draws_one_for_each():
    # The fifth value has a small gradient for all classes: it completes each pair.
    net = nn.Linear(5, 4, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.eye(4, 5))
        net.weight[:, 4] = 0.1
    x = np.tile([0.51, 0.5, 0.5, 0.5, 0.5], (40, 1))
    attack = partial(jsma, net, x, theta=0.3)
    result = attack(random_state=0)
    assert result.success.all()
    assert set(result.predicted.tolist()) == {1, 2, 3}
    assert_array_equal(attack(random_state=0, batch_size=7).X_adv, result.X_adv)
    assert not np.array_equal(attack(random_state=1).X_adv, result.X_adv)
    # Any class but y counts, also where the drawn one was not reached.
    other = attack(random_state=0, y=[3] * 40, gamma=0.01, theta=0.001)
    assert other.success.all()
