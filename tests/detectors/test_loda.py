"""LODA against its definition."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
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


def test_every_point_gets_its_own_bin():
    # Clumps with nothing between: they are dense and the gaps are not. 0.26 lies in the
    # second of four bins; a lookup off by one finds the empty third.
    clumps = np.repeat([[0.0], [0.26], [1.0]], 100, axis=0)
    detector = fitted(clumps, n_bins=4)
    dense = detector.score_samples([[0.0], [0.26], [1.0]])
    assert_allclose(dense, dense[0], atol=0.02)
    gap = detector.score_samples([[0.6]])
    assert gap < dense.min() - 3


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


# Streams


def test_histograms_are_those_of_all_batches():
    # Batches within the range of the first: the same as one histogram of all.
    generator = np.random.default_rng(0)
    batches = [generator.uniform(-1, 1, size=(300, 4)) for _ in range(5)]
    batches[0] *= 1.5
    detector = Recording(
        n_cuts=20, n_bins=15, target_fpr=0.5, calibration_fraction=1e-9, random_state=0
    )
    for batch in batches:
        detector.partial_fit(batch)
    seen = np.vstack([detector.seen_, *batches[1:]])
    assert detector.n_samples_seen_ == len(seen) == 1499
    X = np.vstack([generator.normal(size=(50, 4)), detector.seen_])
    expected = []
    for cut in detector.cuts_.T:
        edges = np.histogram_bin_edges(detector.seen_ @ cut, bins=15)
        counts, _ = np.histogram(seen @ cut, bins=edges)
        bins = np.searchsorted(edges, X @ cut, side="right") - 1
        bins[np.abs(X @ cut - edges[-1]) < 1e-9] = 14
        bins[np.abs(X @ cut - edges[0]) < 1e-9] = 0
        inside = (bins >= 0) & (bins < 15)
        points = np.where(inside, np.maximum(counts, 0.5)[bins % 15], 0.5)
        expected.append(np.log(points / (len(seen) * np.diff(edges)[0])))
    assert_allclose(detector.score_samples(X), np.mean(expected, axis=0), rtol=1e-9)


def test_range_grows_with_the_stream():
    generator = np.random.default_rng(0)
    detector = LODA(n_bins=20, random_state=0)
    for shift in range(8):
        detector.partial_fit(generator.normal(size=(400, 3)) + 4 * shift)
    new = generator.normal(size=(400, 3)) + 4 * 7
    assert np.mean(detector.predict(new) == 1) > 0.8
    assert np.mean(detector.predict(new + 40) == -1) == 1.0


@pytest.mark.parametrize("far", [1e3, 1e9, 1e200])
def test_neighbours_are_merged_when_there_are_too_many(far):
    X = np.random.default_rng(0).normal(size=(500, 3))
    detector = LODA(n_bins=20, random_state=0).partial_fit(X)
    detector.partial_fit(X * far)
    histograms = detector._histograms
    assert (histograms.n_bins <= 200).all()
    assert (histograms.counts.sum(axis=0) == detector.n_samples_seen_).all()
    assert np.isfinite(detector.score_samples(X * far)).all()


def test_stream_is_as_good_as_one_fit():
    generator = np.random.default_rng(0)
    X, far = generator.normal(size=(4000, 5)), 3 * generator.normal(size=(500, 5))
    new = generator.normal(size=(1000, 5))
    stream = LODA(random_state=0)
    for batch in np.array_split(X, 10):
        stream.partial_fit(batch)
    aurocs = []
    for detector in (stream, LODA(random_state=0).fit(X)):
        scores = detector.score_samples(new), detector.score_samples(far)
        aurocs.append(np.mean(scores[0][:, None] > scores[1]))
        assert 0.02 < np.mean(detector.predict(new) == -1) < 0.09
    assert aurocs[0] > aurocs[1] - 0.02


def test_false_alarm_rate_in_a_stream():
    # The held-out samples are scored by the histograms of all batches.
    rejected = []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        detector = LODA(n_cuts=10, target_fpr=0.1, random_state=0)
        for _ in range(4):
            detector.partial_fit(generator.normal(size=(100, 3)))
        new = generator.normal(size=(100, 3))
        rejected.append(np.mean(detector.predict(new) == -1))
    error = 2.6 * np.std(rejected) / np.sqrt(len(rejected))
    assert 0.08 - error < np.mean(rejected) < 0.1 + error


def test_few_held_out_samples_are_kept(monkeypatch):
    monkeypatch.setattr(LODA, "_most_held_out", 50)
    detector = LODA(random_state=0)
    for _ in range(5):
        detector.partial_fit(np.random.default_rng(0).normal(size=(100, 2)))
    assert len(detector.calibration_scores_) == 50


def test_batches_of_one_row_and_known_anomalies():
    def count(detector):
        return detector.n_samples_seen_ + len(detector.calibration_scores_)

    X = np.random.default_rng(0).normal(size=(100, 2))
    detector = LODA(random_state=0).partial_fit(X)
    n_seen = count(detector)
    for row in X[:20]:
        detector.partial_fit(row[None])
    assert count(detector) == n_seen + 20
    detector.partial_fit(X + 50, np.where(np.arange(100) < 3, 1, -1))
    assert count(detector) == n_seen + 23
    with pytest.raises(ValueError, match="expecting 2 features"):
        detector.partial_fit(X[:, :1])


def test_fit_forgets_earlier_batches():
    X = np.random.default_rng(0).normal(size=(100, 2))
    detector = LODA(random_state=0).partial_fit(X + 9).partial_fit(X - 9).fit(X)
    expected = LODA(random_state=0).fit(X).score_samples(X)
    assert_array_equal(detector.score_samples(X), expected)


@pytest.mark.parametrize("size", [0.0, 1e-300, 1e-309, 1e-322])
def test_first_batch_almost_constant(size):
    X = np.random.default_rng(0).normal(size=(200, 2))
    detector = LODA(random_state=0).partial_fit(X * [1, size])
    detector.partial_fit(X)
    assert np.isfinite(detector.score_samples(X)).all()
    assert LODA(n_bins=100, random_state=0).fit(X * [1, size]).offset_ < np.inf


def test_parameters_set_after_fit_wait_for_the_next():
    X = np.random.default_rng(0).normal(size=(100, 2))
    detector = LODA(n_cuts=5, random_state=0).fit(X)
    expected = detector.score_samples(X)
    assert_array_equal(detector.set_params(n_cuts=7).score_samples(X), expected)
