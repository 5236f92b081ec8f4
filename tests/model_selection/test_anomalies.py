"""Synthetic anomalies."""

import numpy as np
import pytest
from networks import images
from numpy.testing import assert_allclose, assert_array_equal

from skgrad.model_selection._anomalies import generate_anomalies

KINDS = ["uniform", "quarter", "half", "mixed", "blend"]


def kinds(X, seed=0):
    made = generate_anomalies(X, np.random.RandomState(seed))
    return dict(zip(KINDS, made, strict=True))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((3, 8, 8), np.float32), ((2, 30), np.float64), ((5,), np.float64)],
)
def test_shape_dtype_and_range_of_each_channel(shape, dtype):
    X = images(50, shape).astype(dtype)
    X *= np.arange(1, shape[0] + 1).reshape(-1, *[1] * (len(shape) - 1))
    axes = (0, *range(2, X.ndim))
    for made in kinds(X).values():
        assert made.shape == X.shape
        assert made.dtype == dtype
        assert (made.min(axis=axes) >= X.min(axis=axes)).all()
        assert (made.max(axis=axes) <= X.max(axis=axes)).all()
        assert not np.array_equal(made, X)


def test_noise_has_the_strength_of_each_column():
    X = np.random.default_rng(0).normal(size=(5000, 2)) * [1, 100]
    made = kinds(X)
    for kind, strength in [("quarter", 0.25), ("half", 0.5)]:
        change = (made[kind] - X).std(axis=0)
        assert_allclose(change, strength * X.std(axis=0), rtol=0.05)
    low, high = X.min(axis=0), X.max(axis=0)
    width = high - low
    assert_allclose((made["uniform"].mean(axis=0) - low) / width, 0.5, atol=0.02)
    assert_allclose(made["uniform"].std(axis=0) / width, 12**-0.5, rtol=0.05)


def test_mixed_inputs_keep_the_values_of_each_position():
    X = np.arange(40.0).reshape(10, 4)
    mixed = kinds(X)["mixed"]
    for position in range(4):
        assert set(mixed[:, position]) <= set(X[:, position])
    sources = (mixed - np.arange(4)) / 4
    assert (np.ptp(sources, axis=1) > 0).all()


def test_blends_are_the_means_of_two_inputs():
    X = 2.0 ** np.arange(8)[:, None]
    pairs = {(a + b) / 2 for i, a in enumerate(X[:, 0]) for b in X[:i, 0]}
    assert set(kinds(X)["blend"][:, 0]) <= pairs


def test_single_and_constant_inputs():
    for X in (np.ones((1, 3)), np.ones((4, 3))):
        for made in kinds(X).values():
            assert_array_equal(made, X)
