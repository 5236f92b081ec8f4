"""One result and many: metrics, shares, tables, means and spreads."""

import pickle
from itertools import product

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from skgrad._arrays import nan_mean, nan_spread
from skgrad.evaluation import Evaluation, Result, render_table
from skgrad.metrics import aupr_in, aupr_out, auroc, detection_accuracy, tnr_at_tpr

KNOWN = np.array([0.9, 0.8, 0.7, 0.6, 0.2])
STRANGE = np.array([0.75, 0.1, 0.0])


def result(known=KNOWN, strange=STRANGE, offset=0.5, **options):
    names = {"detector": "d", "anomaly": "a"} | options
    return Result(**names, scores_id=known, scores_anomaly=strange, offset=offset)


def test_metrics_are_the_public_ones():
    found = result().metrics
    y, scores = np.repeat([1, -1], [5, 3]), np.concatenate([KNOWN, STRANGE])
    assert found == {
        "auroc": auroc(y, scores),
        "tnr_at_95tpr": tnr_at_tpr(y, scores, tpr=0.95),
        "aupr_in": aupr_in(y, scores),
        "aupr_out": aupr_out(y, scores),
        "detection_accuracy": detection_accuracy(y, scores),
        "rejected_anomalies": 2 / 3,
    }
    assert result().realised_fpr == 0.2
    # A score at the threshold passes.
    assert result(offset=0.2).realised_fpr == 0.0
    rejected_id, rejected = np.arange(5) < 2, np.arange(3) < 1
    given = result(offset=None, rejected_id=rejected_id, rejected_anomaly=rejected)
    assert given.realised_fpr == 0.4
    assert given.metrics["rejected_anomalies"] == 1 / 3


def test_weighted_by_class():
    found = result(
        classes_id=np.array([0, 0, 0, 1, 1]), classes_anomaly=np.array([0, 1, 1])
    )
    # Class 0: 0.75 lies below 2 of 3; class 1: all below. A third and two thirds.
    expected = (2 / 3 + 2) / 3
    weighted = found.class_weighted_metrics
    assert weighted["class_weighted_auroc"] == pytest.approx(expected)
    assert all(np.isnan(v) for v in result().class_weighted_metrics.values())


def test_no_anomalies():
    for known in (KNOWN, KNOWN[:0]):
        empty = result(known, STRANGE[:0], classes_id=np.zeros(len(known)))
        assert all(np.isnan(value) for value in empty.metrics.values())
        assert all(np.isnan(value) for value in empty.class_weighted_metrics.values())
        assert np.isnan(empty.intervals["auroc"]).all()
        assert np.isnan(empty.realised_fpr) == (not len(known))


def test_results_kept_by_earlier_versions_have_no_group():
    old = result()
    vars(old).pop("group")
    kept = pickle.loads(pickle.dumps(old))
    assert Evaluation([kept]).groups == {"a": "other"}


def test_intervals_hold_the_point():
    rng = np.random.default_rng(0)
    found = result(rng.normal(1, 1, 80), rng.normal(0, 1, 60))
    points = {**found.metrics, "realised_fpr": found.realised_fpr}
    assert set(found.intervals) == set(points)
    for name, (low, high) in found.intervals.items():
        assert low <= points[name] <= high
        assert 0 < high - low < 0.5


@pytest.fixture
def evaluation():
    """Two detectors, two kinds, two seeds, two folds; AUROC of each fold is known."""
    rng = np.random.default_rng(0)
    where = product(("z first", "a second"), (3, 1), (0, 1), ("noise", "attack"))
    names = ("detector", "seed", "fold", "anomaly")
    given = (dict(zip(names, one, strict=True)) for one in where)
    return Evaluation(
        result(rng.normal(size=20), rng.normal(size=10), protocol="C", **options)
        for options in given
    )


def test_summary_averages_folds_then_seeds(evaluation):
    mean, spread = evaluation.summary(), evaluation.summary(spread=True)
    assert list(mean.columns) == ["z first", "a second"]
    assert list(mean.index) == ["noise", "attack", "mean"]
    keys = ["detector", "anomaly", "seed"]
    of_folds = evaluation.frame.groupby(keys)["auroc"].mean()
    for detector in mean.columns:
        means = of_folds[detector].unstack().loc[["noise", "attack"]].to_numpy()
        assert_allclose(mean[detector], [*means.mean(axis=1), means.mean()])
        expected = [*means.std(axis=1, ddof=1), means.mean(axis=0).std(ddof=1)]
        assert_allclose(spread[detector], expected)


def test_means_and_spreads_leave_out_nan():
    values = np.array([[1.0, np.nan, 4.0], [np.nan] * 3, [2.0, np.nan, np.nan]])
    assert_allclose(nan_mean(values), [2.5, np.nan, 2.0])
    assert_allclose(nan_mean(values, axis=0), [1.5, np.nan, 4.0])
    assert_allclose(nan_spread(values), [np.std([1, 4], ddof=1), np.nan, np.nan])


def test_wrong_arguments(evaluation):
    with pytest.raises(ValueError, match="at least one Result"):
        render_table([])
    with pytest.raises(ValueError, match=r"one of seed, .*auroc.*; got 'detector'"):
        evaluation.summary("detector")


def test_summary_of_one_seed_has_no_spread():
    one = Evaluation([result(), result(strange=STRANGE[:0], fold=1)])
    # A fold without anomalies does not count.
    assert one.summary().loc["mean", "d"] == one.results[0].metrics["auroc"]
    assert one.summary(spread=True).isna().all(axis=None)


def test_sum_of_evaluations_that_overlap_in_part():
    one, two = (
        Evaluation([result(detector=d, anomaly=a, seed=s)])
        for d, a, s in (("x", "noise", 0), ("y", "attack", 1))
    )
    both = one + two
    summary = both.summary()
    assert np.isnan(summary.loc["attack", "x"])
    assert summary.loc["noise", "x"] == summary.loc["mean", "x"]
    assert len(one.results) == 1
    with pytest.raises(ValueError, match=r"both hold 'x' against .*, seed 0"):
        both + one


def test_files(evaluation, tmp_path):
    files = evaluation.write(tmp_path / "new", title="A | B", notes={"data": "none"})
    assert [f.name for f in files] == ["table.csv", "table.md", "report.html"]
    row, one = evaluation.frame.iloc[5], evaluation.results[5]
    assert (row["seed"], row["fold"], row["anomaly"]) == (1, 0, "attack")
    assert (row["auroc_low"], row["auroc_high"]) == one.intervals["auroc"]
    assert row["realised_fpr"] == one.realised_fpr
    table = pd.read_csv(files[0])
    pd.testing.assert_frame_equal(table, evaluation.frame, check_dtype=False)
    for file in files[1:]:
        text = file.read_text(encoding="utf-8")
        assert "z first" in text
        assert "3, 1" in text
    before = [file.read_bytes() for file in files]
    evaluation.write(tmp_path / "new", title="A | B", notes={"data": "none"})
    assert [file.read_bytes() for file in files] == before
    assert len(list((tmp_path / "new").iterdir())) == 3
