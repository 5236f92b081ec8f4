"""Negative images, with bounds of all kinds."""

import numpy as np
import pytest
from networks import BatchNormNet, images, seeded, two_classes
from numpy.testing import assert_allclose

from skgrad.attacks import semantic

X = images(4, (2, 6, 6))


def test_by_hand():
    result = semantic(two_classes(), [[0.6, 0.5], [0.9, 0.1]])
    assert_allclose(result.X_adv, [[0.4, 0.5], [0.1, 0.9]], atol=1e-6)
    assert result.success.tolist() == [True, True]
    turned = semantic(two_classes(), [[-0.5, 3]], bounds=(-1, 4))
    assert_allclose(turned.X_adv, [[3.5, 0]], atol=1e-6)


def test_bounds_per_channel():
    low, high = (
        np.array([-1.0, 0.0])[:, None, None],
        np.array([1.0, 3.0])[:, None, None],
    )
    result = semantic(seeded(BatchNormNet), X, bounds=(low, high))
    assert_allclose(result.X_adv, low + high - X, atol=1e-6)


def test_twice_is_once():
    net = seeded(BatchNormNet)
    assert_allclose(semantic(net, semantic(net, X).X_adv).X_adv, X, atol=1e-6)


def test_infinite_bounds():
    with pytest.raises(ValueError, match="bounds must be finite to turn values"):
        semantic(two_classes(), [[0.5, 0.5]], bounds=(0, np.inf))
