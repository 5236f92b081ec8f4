"""Noise, negatives and rotations: distributions, values by hand and SciPy's."""

import numpy as np
import pytest
import torch
from networks import AnyWidth, BatchNormNet, images, seeded, two_classes
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from skgrad.attacks import pgd, random_noise, rotate, semantic

NET = seeded(BatchNormNet)
X = images(5, (2, 6, 6))

# A step this small shows where PGD starts.
STARTS = {"n_steps": 1, "step_size": 1e-9}


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("attack", "options"), [(random_noise, {}), (pgd, STARTS)])
def test_noise_and_starts_are_uniform_in_the_ball(attack, options, norm):
    rows = np.full((4000, 4), 0.5)
    result = attack(AnyWidth(), rows, eps=0.2, norm=norm, random_state=0, **options)
    change = (result.X_adv - rows) / 0.2
    assert_allclose(change.mean(axis=0), 0, atol=0.05)
    # Of n uniform values in a ball, its radius to the power of n is uniform.
    radius = np.abs(change).max(axis=1) if norm == "linf" else result.l2 / 0.2
    assert radius.max() <= 1 + 1e-6
    quantiles = np.quantile(radius**4, [0.25, 0.5, 0.75])
    assert_allclose(quantiles, [0.25, 0.5, 0.75], atol=0.04)


def test_noise_is_clipped_to_the_bounds():
    rows = np.tile([0.0, 1.0], (200, 1))
    result = random_noise(two_classes(), rows, eps=0.5, random_state=0)
    assert result.X_adv.min() == 0
    assert result.X_adv.max() == 1
    # Half of the values lie beyond the bounds and come back to them.
    assert 0.4 < (result.X_adv == rows).mean() < 0.6


def test_negatives_by_hand():
    result = semantic(two_classes(), [[0.6, 0.5], [0.9, 0.1]])
    assert_allclose(result.X_adv, [[0.4, 0.5], [0.1, 0.9]], atol=1e-6)
    assert result.success.tolist() == [True, True]
    low, high = np.array([-1.0, 0])[:, None, None], np.array([1.0, 3])[:, None, None]
    assert_allclose(
        semantic(NET, X, bounds=(low, high)).X_adv, low + high - X, atol=1e-6
    )
    with pytest.raises(ValueError, match="bounds must be finite"):
        semantic(two_classes(), [[0.5, 0.5]], bounds=(0, np.inf))


def test_right_angles_move_pixels_counterclockwise():
    result = rotate(NET, X, angle=[0, 90, 180, -90, 360])
    turns = [0, 1, 2, 3, 0]
    expected = [np.rot90(x, k, axes=(1, 2)) for x, k in zip(X, turns, strict=True)]
    assert_allclose(result.X_adv, expected, atol=1e-5)


@pytest.mark.parametrize(("shape", "fill"), [((2, 6, 6), None), ((2, 7, 12), 0.3)])
def test_rotation_against_scipy(shape, fill):
    clean, angles = images(4, shape), [10.0, -45.0, 133.0, 77.5]
    result = rotate(seeded(BatchNormNet).double(), clean, angle=angles, fill=fill)
    for x, angle, rotated in zip(clean, angles, result.X_adv, strict=True):
        how = {"mode": "grid-constant", "order": 1, "reshape": False, "axes": (1, 2)}
        expected = ndimage.rotate(x.astype(float), angle, cval=fill or 0, **how)
        assert_allclose(rotated, expected, atol=1e-6)


def test_angles_are_uniform_up_to_the_largest():
    """One bright pixel right of the centre shows the angle by its height."""
    clean = np.zeros((300, 2, 41, 41), dtype=np.float32)
    clean[:, :, 19:22, 34:37] = 1
    result = rotate(NET, clean, angle=30, random_state=0)
    weights = result.X_adv[:, 0]
    rows, columns = np.indices((41, 41)) - 20
    up, right = (
        (weights * place).sum(axis=(1, 2)) / weights.sum(axis=(1, 2))
        for place in (-rows, columns)
    )
    degrees = np.rad2deg(np.arctan2(up, right))
    assert np.abs(degrees).max() <= 30.1
    quantiles = np.quantile(degrees, [0.25, 0.5, 0.75])
    assert_allclose(quantiles, [-15, 0, 15], atol=4)


def test_fill_values():
    white = np.ones((1, 2, 8, 8), dtype=np.float32)
    corner = np.s_[0, :, 0, 0]
    per_channel = rotate(NET, white, angle=[45.0], fill=[0.5, 1])
    assert_allclose(per_channel.X_adv[corner], [0.5, 1])
    low = np.array([0.1, 0.2])[:, None, None]
    result = rotate(NET, white, angle=[45.0], bounds=(low, 1))
    assert_allclose(result.X_adv[corner], [0.1, 0.2])


def test_kinds_of_angles_agree():
    expected = rotate(NET, X, angle=[1, 2, 3, 4, 5]).X_adv
    for angle in (np.arange(1, 6), torch.arange(1.0, 6, requires_grad=True)):
        assert_array_equal(rotate(NET, X, angle=angle, batch_size=2).X_adv, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"angle": 0}, "angle"),
        ({"angle": [1, 2]}, "angle must hold one value for each of the 5 samples"),
        ({"angle": ["a"] * 5}, "angle must hold degrees"),
        ({"angle": [np.inf] * 5}, "angle must be finite"),
        ({"fill": np.nan}, "fill must be None"),
        ({"fill": [0, 0, 0]}, r"fill must be None.*one per channel, 2 here"),
        ({"bounds": (-np.inf, 1)}, "fill must be None.*the lower bound, if finite"),
    ],
)
def test_invalid_rotations(options, message):
    with pytest.raises(ValueError, match=message):
        rotate(NET, X, **options)


def test_rows_cannot_be_rotated():
    with pytest.raises(ValueError, match=r"X must hold images.*shape \(2,\)"):
        rotate(two_classes(), [[0.5, 0.5]])
