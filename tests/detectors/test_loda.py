"""LODA against its definition."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from peak_memory import peak_of
from recording_detectors import RecordsFit

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
    generator = np.random.default_rng(0)
    detector = fitted(generator.normal(size=(201, 5)), n_cuts=20, n_bins=60)
    # New points also fall into empty bins and outside of the range.
    X = np.vstack([detector.seen_, 2 * generator.normal(size=(100, 5))])
    log_densities = []
    for cut in detector.cuts_.T:
        counts, edges = np.histogram(detector.seen_ @ cut, bins=60)
        bins = np.clip(np.searchsorted(edges, X @ cut, side="right") - 1, 0, 59)
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


def penalised_likelihood(values, n_bins):
    counts, _ = np.histogram(values, bins=n_bins)
    counts = counts[counts > 0]
    likelihood = np.sum(counts * np.log(counts * n_bins / len(values)))
    return likelihood - (n_bins - 1 + np.log(n_bins) ** 2.5)


@pytest.mark.parametrize("n_samples", [50, 500, 5000])
def test_automatic_bins_maximise_the_penalised_likelihood(n_samples):
    X = np.random.default_rng(0).normal(size=(n_samples + 1, 4))
    detector = fitted(X, n_cuts=10)
    most = n_samples / np.log(n_samples)
    assert len(set(detector.n_bins_)) > 1 or n_samples == 50
    for cut, n_bins in zip(detector.cuts_.T, detector.n_bins_, strict=True):
        values = detector.seen_ @ cut
        best = max(penalised_likelihood(values, b) for b in range(1, int(most) + 1))
        # Not all numbers of bins are looked at; the best of them is hardly better.
        assert penalised_likelihood(values, n_bins) >= 0.95 * best
        assert n_bins <= most


@pytest.mark.parametrize("size", [0.0, 1e-309, 1e300])
@pytest.mark.parametrize("n_bins", [100, "auto"])
def test_columns_of_any_size(size, n_bins):
    X = np.random.default_rng(0).normal(size=(200, 2))
    detector = LODA(n_bins=n_bins, random_state=0).fit(X * [1, size])
    assert np.isfinite(detector.score_samples(X)).all()
    assert np.isfinite(detector.offset_)


def test_no_copy_of_all_rows_is_made():
    X = np.random.default_rng(0).normal(size=(20_000, 100))
    detector = LODA(calibration_fraction=1e-9, target_fpr=0.5, n_bins=10)
    for work in (detector.fit, detector.score_samples):
        assert peak_of(work, X) < X.nbytes / 8
