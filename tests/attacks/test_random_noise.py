"""Noise is uniform in its ball and clipped to the bounds."""

import numpy as np
import pytest
from networks import AnyWidth, two_classes
from numpy.testing import assert_allclose

from skgrad.attacks import random_noise


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_uniform_in_the_ball(norm):
    rows = np.full((4000, 4), 0.5)
    result = random_noise(AnyWidth(), rows, eps=0.2, norm=norm, random_state=0)
    change = (result.X_adv - rows) / 0.2
    assert_allclose(change.mean(axis=0), 0, atol=0.05)
    # Of n uniform values in a ball, its radius to the power of n is uniform.
    radius = np.abs(change).max(axis=1) if norm == "linf" else result.l2 / 0.2
    assert radius.max() <= 1 + 1e-9
    quantiles = np.quantile(radius**4, [0.25, 0.5, 0.75])
    assert_allclose(quantiles, [0.25, 0.5, 0.75], atol=0.04)


def test_clipped_to_the_bounds():
    rows = np.tile([0.0, 1.0], (200, 1))
    result = random_noise(two_classes(), rows, eps=0.5, random_state=0)
    assert result.X_adv.min() == 0
    assert result.X_adv.max() == 1
    # Half of the values lie beyond the bounds and come back to them.
    assert 0.4 < (result.X_adv == rows).mean() < 0.6


def test_bad_norm():
    with pytest.raises(ValueError, match="'norm' parameter"):
        random_noise(two_classes(), [[0.5, 0.5]], eps=0.1, norm="l0")
