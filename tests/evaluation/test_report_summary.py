"""Averages over folds and seeds, and intervals in closed form."""

import numpy as np
import pytest
from judged import make, no_anomalies
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binomtest

from skgrad.evaluation._report._summary import (
    Summary,
    area_interval,
    nan_mean,
    nan_spread,
    share_interval,
)


def test_folds_are_averaged_before_seeds():
    summary = Summary(
        [
            make(area=1.0, seed=0, fold=0),
            make(area=0.8, seed=0, fold=1),
            make(area=0.6, seed=4, fold=0),
            make("e", area=0.5, seed=0),
            no_anomalies("e", "b", seed=0),
        ]
    )
    assert (summary.detectors, summary.anomalies) == (["d", "e"], ["a", "b"])
    assert summary.seeds == [0, 4]
    values = summary.values("auroc")
    assert_allclose(values[0, 0], [0.9, 0.6])
    assert_allclose(values[1], [[0.5, np.nan], [np.nan, np.nan]])
    assert_allclose(summary.mean("auroc"), [[0.75, np.nan], [0.5, np.nan]])
    # Half the difference times the square root of two.
    assert_allclose(nan_spread(values)[0, 0], 0.15 * np.sqrt(2))
    assert np.isnan(nan_spread(values)[1, 0])


def test_a_fold_without_anomalies_does_not_count():
    summary = Summary([make(area=0.7, fold=0), no_anomalies(fold=1)])
    assert_allclose(summary.mean("auroc"), [[0.7]])
    assert_allclose(summary.mean(lambda r: len(r.scores_anomaly)), [[5.0]])


def test_evaluation_is_as_good_as_its_results():
    class Evaluation:
        results = [make()]

    assert Summary(Evaluation()).results == Evaluation.results


def test_means_and_spreads_leave_out_nan():
    values = np.array([[1.0, np.nan, 4.0], [np.nan] * 3, [2.0, np.nan, np.nan]])
    assert_allclose(nan_mean(values), [2.5, np.nan, 2.0])
    assert_allclose(nan_spread(values), [np.std([1, 4], ddof=1), np.nan, np.nan])
    assert_allclose(nan_mean(values, axis=0), [1.5, np.nan, 4.0])


def test_no_results_are_refused():
    with pytest.raises(ValueError, match="results must hold at least one Result"):
        Summary([])


def test_other_things_than_results_are_refused():
    with pytest.raises(TypeError, match="a list of Result; got dict with 'auroc'"):
        Summary({"auroc": 1.0})


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (7, 10), (10, 10), (190, 200)])
def test_interval_of_a_share_is_wilsons(successes, n):
    expected = binomtest(successes, n).proportion_ci(method="wilson")
    assert_allclose(share_interval(successes / n, n), expected, atol=1e-12)


def test_interval_of_an_area_ends_where_it_would_surprise():
    n_id, n_anomalies = 40, 60
    for area in (0.2, 0.5, 0.9, 1.0):
        low, high = area_interval(area, n_id, n_anomalies)
        assert low < area <= high
        for end in {low, high} - {1.0}:
            q1, q2 = end / (2 - end), 2 * end**2 / (1 + end)
            # Hanley and McNeil (1982), with both counts at their mean as Newcombe has.
            mean = (n_id + n_anomalies) / 2
            spread = end * (1 - end) + (mean - 1) * (q1 + q2 - 2 * end**2)
            variance = spread / (n_id * n_anomalies)
            assert (area - end) ** 2 == pytest.approx(1.959964**2 * variance, rel=1e-4)
    # A perfect score on few inputs is no proof.
    low, high = area_interval(1.0, 20, 10)
    assert 0.8 < low < 0.95
    assert high == 1


def test_interval_of_an_area_covers():
    """95 of 100 intervals hold the true area, here of two normal distributions."""
    rng, n = np.random.default_rng(0), 40
    true = 0.9213503964748575  # P(Z < 2 / sqrt 2)
    known, strange = rng.normal(size=(400, n, 1)) + 2, rng.normal(size=(400, 1, n))
    areas = (known > strange).mean(axis=(1, 2))
    ends = np.array([area_interval(area, n, n) for area in areas])
    covered = np.mean((ends[:, 0] <= true) & (true <= ends[:, 1]))
    assert 0.92 < covered < 0.99


def test_intervals_of_nothing_are_nan():
    assert_array_equal(area_interval(np.nan, 10, 10), (np.nan, np.nan))
    assert_array_equal(area_interval(0.5, 10, 0), (np.nan, np.nan))
    assert_array_equal(share_interval(np.nan, 10), (np.nan, np.nan))
    assert_array_equal(share_interval(0.5, 0), (np.nan, np.nan))
