"""Networks and detectors share no training data; classes keep their shares."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skgrad.datasets import split_ecg, split_mnist


@pytest.mark.parametrize("seed", [0, 1])
def test_mnist_is_split_as_in_the_tables(seed):
    parts = split_mnist(random_state=seed)
    order = np.random.default_rng(seed).permutation(60_000)
    assert_array_equal(parts.fit, order[:6000])
    assert_array_equal(parts.train, np.setdiff1d(order[-50_000:], order[:6000]))
    assert len(parts.train) == 50_000


def test_small_sets_do_not_overlap():
    parts = split_mnist(100, n_fit=30, random_state=0)
    assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(100))
    few = split_mnist(100, n_fit=30, max_train=50, random_state=0)
    # Of the first 50 of all 100, those that are not the detectors'.
    assert len(few.train) == 20
    assert set(few.train) <= set(parts.train)


def test_nothing_left_for_the_network():
    with pytest.raises(ValueError, match="n_fit must leave some of the 100 images"):
        split_mnist(100)


# As in ECG5000's 500 series.
COUNTS = [292, 177, 10, 19, 2]


@pytest.mark.parametrize("seed", range(5))
def test_classes_keep_their_share(seed):
    y = np.random.default_rng(9).permutation(np.repeat(np.arange(5), COUNTS))
    parts = split_ecg(y, random_state=seed)
    assert [len(rows) for rows in parts.values()] == [200, 150, 150]
    assert_array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(500))
    for rows in parts.values():
        expected = np.array(COUNTS) * len(rows) / 500
        assert np.abs(np.bincount(y[rows], minlength=5) - expected).max() < 2


def test_seeds_differ():
    y = np.repeat([0, 1], 20)
    first, again, other = (
        split_ecg(y, n_train=10, n_fit=10, random_state=seed) for seed in (0, 0, 1)
    )
    assert_array_equal(first.fit, again.fit)
    assert not np.array_equal(first.fit, other.fit)


def test_nothing_left_for_testing():
    with pytest.raises(ValueError, match=r"less than the 350 series in y.*200 \+ 150"):
        split_ecg(np.zeros(350, int))
