"""Rotation by right angles, and beside SciPy's."""

import numpy as np
import pytest
import torch
from networks import BatchNormNet, images, seeded, two_classes
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from skgrad.attacks import rotate

NET = seeded(BatchNormNet)
X = images(5, (2, 6, 6))


def test_right_angles_move_pixels_counterclockwise():
    result = rotate(NET, X, angle=[0, 90, 180, -90, 360])
    turns = [0, 1, 2, 3, 0]
    expected = [np.rot90(x, k, axes=(1, 2)) for x, k in zip(X, turns, strict=True)]
    assert_allclose(result.X_adv, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 6, 6), (2, 7, 12)])
@pytest.mark.parametrize("fill", [None, 0.3])
def test_against_scipy(shape, fill):
    clean, angles = images(4, shape), [10.0, -45.0, 133.0, 77.5]
    result = rotate(seeded(BatchNormNet).double(), clean, angle=angles, fill=fill)
    for x, angle, turned in zip(clean, angles, result.X_adv, strict=True):
        expected = ndimage.rotate(
            x.astype(float),
            angle,
            axes=(1, 2),
            reshape=False,
            order=1,
            mode="grid-constant",
            cval=fill or 0,
        )
        assert_allclose(turned, expected, atol=1e-6)


def test_angles_are_uniform_up_to_the_largest():
    """One bright pixel right of the centre tells the angle by its height."""
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


def test_filling():
    white = np.ones((1, 2, 8, 8), dtype=np.float32)
    corner = np.s_[0, :, 0, 0]
    call = {"angle": [45.0], "bounds": (0.25, 1)}
    assert_allclose(rotate(NET, white, **call).X_adv[corner], 0.25)
    assert_allclose(rotate(NET, white, fill=0.75, **call).X_adv[corner], 0.75)
    per_channel = rotate(NET, white, fill=[0.5, 1], **call)
    assert_allclose(per_channel.X_adv[corner], [0.5, 1])
    low = np.array([0.1, 0.2])[:, None, None]
    result = rotate(NET, white, angle=[45.0], bounds=(low, 1))
    assert_allclose(result.X_adv[corner], [0.1, 0.2])


def test_angles_of_any_kind():
    expected = rotate(NET, X, angle=[1, 2, 3, 4, 5]).X_adv
    for angle in (np.arange(1, 6), torch.arange(1, 6), range(1, 6)):
        assert_array_equal(rotate(NET, X, angle=angle, batch_size=2).X_adv, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"angle": 0}, "angle"),
        ({"angle": 181}, "angle"),
        ({"angle": np.nan}, "angle"),
        ({"angle": "steep"}, "angle"),
        ({"angle": [1, 2]}, r"one for each sample of X, 5 here; got int64.*\(2,\)"),
        ({"angle": ["a"] * 5}, "angle must be a number of degrees"),
        ({"angle": [[1], [2, 3], 4, 5, 6]}, "angle must be a number of degrees"),
        ({"angle": [np.inf] * 5}, "angle must be finite"),
        ({"fill": np.nan}, "fill must be None"),
        ({"fill": "black"}, "fill must be None"),
        ({"fill": [0, 0, 0]}, r"fill must be None.*one per channel, 2 here"),
        ({"bounds": (-np.inf, 1)}, "fill must be None.*the lower bound, if finite"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        rotate(NET, X, **options)


def test_what_is_no_image():
    with pytest.raises(ValueError, match=r"X must hold images.*shape \(2,\)"):
        rotate(two_classes(), [[0.5, 0.5]])


def test_angles_in_a_graph_are_angles():
    turns = torch.arange(5.0, requires_grad=True)
    expected = rotate(NET, X, angle=[0, 1, 2, 3, 4]).X_adv
    assert_array_equal(rotate(NET, X, angle=turns).X_adv, expected)


def test_what_has_no_samples_is_told_before_the_angles():
    with pytest.raises(TypeError, match=r"X must be an array.*got NoneType"):
        rotate(NET, None, angle=[1.0])
