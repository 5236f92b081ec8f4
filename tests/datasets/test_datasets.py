"""The embedded data: shapes, ranges, fixed splits, seeds."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits, load_sample_images

from skgrad.datasets import (
    load_digits_images,
    make_gaussian_noise,
    make_photo_patches,
    make_uniform_noise,
)


def test_digits_are_split_without_overlap():
    digits = load_digits_images()
    parts = [digits.X_train, digits.X_fit, digits.X_test]
    assert [len(part) for part in parts] == [898, 449, 450]
    everything = np.concatenate(parts).reshape(1797, 64)
    assert everything.dtype == np.float32
    assert everything.min() == 0
    assert everything.max() == 1
    original = load_digits()
    # Each digit once: the sorted rows are those of scikit-learn.
    assert_array_equal(
        np.sort((everything * 16).astype(int), axis=0), np.sort(original.data, axis=0)
    )
    for part in (digits.y_train, digits.y_fit, digits.y_test):
        assert part.dtype == np.int64
        shares = np.bincount(part) / len(part)
        assert_allclose(shares, np.bincount(original.target) / 1797, atol=0.005)


def test_digits_never_change():
    first, second = load_digits_images(), load_digits_images()
    for name in first:
        assert_array_equal(first[name], second[name])
    # The split itself, so that published tables stay comparable.
    assert first.y_test[:10].tolist() == [1, 6, 1, 6, 5, 3, 3, 2, 2, 9]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 9), (1, 28, 28)])
def test_patches(shape):
    patches = make_photo_patches(6, shape, random_state=0)
    assert patches.shape == (6, *shape)
    assert patches.dtype == np.float32
    assert patches.min() >= 0
    assert patches.max() <= 1
    assert patches.std(axis=(1, 2, 3)).max() > 0.01
    assert_array_equal(patches, make_photo_patches(6, shape, random_state=0))
    assert not np.array_equal(patches, make_photo_patches(6, shape, random_state=1))


def test_patches_are_cut_from_the_photographs():
    photo = load_sample_images().images[0] / 255
    (patch,) = make_photo_patches(1, (3, 4, 4), zoom=1, random_state=0)
    windows = np.lib.stride_tricks.sliding_window_view(photo, (4, 4), axis=(0, 1))
    assert np.isclose(windows, patch, atol=1e-6).all(axis=(2, 3, 4)).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (2, 8, 8)}, "shape must be .* with 1 or 3 channels"),
        ({"shape": (1, 500, 8)}, "at most 106 x 160 pixels at zoom=4"),
        ({"zoom": 0}, "'zoom' parameter"),
    ],
)
def test_bad_patches(options, message):
    with pytest.raises(ValueError, match=message):
        make_photo_patches(**{"n_samples": 1, **options})


@pytest.mark.parametrize("make", [make_gaussian_noise, make_uniform_noise])
@pytest.mark.parametrize("shape", [(1, 4, 4), (140,), 7])
def test_noise_has_any_shape_and_range(make, shape):
    noise = make(300, shape, low=-1, high=3, random_state=0)
    assert noise.shape[0] == 300
    assert noise.dtype == np.float32
    assert noise.min() >= -1
    assert noise.max() <= 3
    assert abs(noise.mean() - 1) < 0.1
    assert_array_equal(noise, make(300, shape, low=-1, high=3, random_state=0))


def test_noise_is_distributed_as_in_paper_c():
    gaussian = make_gaussian_noise(1000, (10, 10), random_state=0)
    # Mean 0.5 and sigma 1: P(value < 0) = P(z < -0.5) = 0.3085 is clipped to 0.
    assert abs(np.mean(gaussian == 0) - 0.3085) < 0.01
    assert abs(np.mean(gaussian == 1) - 0.3085) < 0.01
    uniform = make_uniform_noise(1000, (10, 10), random_state=0)
    assert_allclose(np.quantile(uniform, [0.25, 0.75]), [0.25, 0.75], atol=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 1, "high": 1}, "low must be less than high"),
        ({"low": -1e300, "high": 1e300}, "within the range of float32"),
        ({"shape": (0, 3)}, "shape must hold positive integers"),
        ({"n_samples": 0}, "'n_samples' parameter"),
    ],
)
def test_bad_noise(options, message):
    for make in (make_gaussian_noise, make_uniform_noise):
        with pytest.raises(ValueError, match=message):
            make(**{"n_samples": 2, "shape": (3,), **options})
