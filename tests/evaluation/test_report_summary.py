"""Averages over folds and seeds."""

import numpy as np
import pytest
from judged import make, no_anomalies
from numpy.testing import assert_allclose

from skgrad.evaluation._report._summary import (
    Summary,
    nan_mean,
    nan_spread,
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
    with pytest.raises(
        TypeError, match="a list of Result; got a dict that holds 'auroc'"
    ):
        Summary({"auroc": 1.0})
