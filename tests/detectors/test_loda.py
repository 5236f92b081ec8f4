"""LODA against its definition."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from recording import RecordsFit

from skgrad import LODA


class Recording(RecordsFit, LODA):
    """Keeps the rows that it was fitted on, to compute its scores again."""


def fitted(X, **options):
    """Fit on all of X but one row."""
    detector = Recording(
        random_state=0, target_fpr=0.5, calibration_fraction=1e-9, **options
    )
    return detector.fit(X)


def test_score_is_mean_log_density():
    X = np.random.default_rng(0).normal(size=(201, 5))
    detector = fitted(X, n_cuts=20, n_bins=15)
    log_densities = []
    for cut in detector.cuts_.T:
        counts, edges = np.histogram(detector.seen_ @ cut, bins=15)
        bins = np.clip(np.searchsorted(edges, X @ cut, side="right") - 1, 0, 14)
        inside = (X @ cut >= edges[0] - 1e-9) & (X @ cut <= edges[-1] + 1e-9)
        points = np.where(inside, np.maximum(counts, 0.5)[bins], 0.5)
        log_densities.append(np.log(points / (200 * np.diff(edges)[0])))
    expected = np.mean(log_densities, axis=0)
    assert_allclose(detector.score_samples(X), expected, rtol=1e-9)


def test_cuts_are_sparse_and_normal():
    X = np.random.default_rng(0).normal(size=(50, 10))
    cuts = fitted(X, n_cuts=500).cuts_
    assert_array_equal((cuts != 0).sum(axis=0), 3)
    assert ((cuts != 0).mean(axis=1) > 0.2).all()
    assert abs(cuts[cuts != 0].std() - 1) < 0.1


@pytest.mark.parametrize("outside", [-1e-6, 1 + 1e-6, -1e9, 1e9])
def test_outside_the_range_is_lowest(outside):
    # In one dimension, uniform on [0, 1]: every bin holds points, the outside none.
    X = np.linspace(0, 1, 1001)[:, None]
    detector = fitted(X, n_bins=10)
    inside = detector.score_samples(np.linspace(0.01, 0.99, 99)[:, None])
    assert detector.score_samples([[outside]])[0] < inside.min() - 1


def test_edges_belong_to_the_range():
    X = np.linspace(0, 1, 1000)[:, None]
    detector = fitted(np.vstack([X, [[0.0], [1.0]] * 5]), n_bins=10)
    assert_allclose(detector.score_samples([[0.0], [1.0], [0.95]]).std(), 0, atol=0.2)


def test_every_point_gets_its_own_bin():
    # Two clumps with nothing between: the clumps are dense, the gap is not. A lookup
    # off by one bin would tell otherwise.
    clumps = np.repeat([[0.0], [0.26], [1.0]], 100, axis=0)
    detector = fitted(clumps, n_bins=4)
    dense = detector.score_samples([[0.0], [0.26], [1.0]])
    assert_allclose(dense, dense[0], atol=0.02)
    gap = detector.score_samples([[0.6]])
    assert gap < dense.min() - 3


def test_bad_parameters():
    for options in ({"n_cuts": 0}, {"n_bins": 0}, {"n_bins": 2.5}):
        with pytest.raises(ValueError, match=next(iter(options))):
            LODA(**options).fit(np.ones((9, 2)))
