"""The metrics in closed form and against scikit-learn, and their scorers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import make_blobs
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDOneClassSVM
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from sklearn.model_selection import cross_validate
from sklearn.svm import LinearSVC

from skgrad.metrics import (
    DetectionScorer,
    aupr_in,
    aupr_in_scorer,
    aupr_out,
    aupr_out_scorer,
    auroc,
    auroc_scorer,
    detection_accuracy,
    detection_accuracy_scorer,
    fpr_at_tpr,
    in_distribution_scores,
    tnr_at_tpr,
    tnr_at_tpr_scorer,
)

HIGHER_IS_BETTER = [auroc, aupr_in, aupr_out, detection_accuracy, tnr_at_tpr]
ALL = [*HIGHER_IS_BETTER, fpr_at_tpr]


@pytest.mark.parametrize(
    ("tpr", "rejected"),
    # 19 of the 20 pass at a threshold of 1, which -1 and 0.5 lie below. 0.951 needs 20.
    [(0.95, 0.5), (1.0, 0.25), (0.9, 1.0), (0.951, 0.25)],
)
def test_rates_at_tpr_by_hand(tpr, rejected):
    y = np.repeat([1, -1], [20, 4])
    scores = np.r_[np.arange(20.0), -1, 0.5, 1, 1.5]
    assert tnr_at_tpr(y, scores, tpr=tpr) == rejected
    assert fpr_at_tpr(y, scores, tpr=tpr) == 1 - rejected


def test_rounding_of_the_rate_needs_no_extra_input():
    # 0.55 * 100 is 55.00000000000001, but 55 inputs are enough.
    scores = np.r_[np.arange(100.0), 44.5]
    assert tnr_at_tpr(np.repeat([1, -1], [100, 1]), scores, tpr=0.55) == 1.0


def test_ties_count_against_the_detector():
    assert tnr_at_tpr([1, 1, -1, -1], [0.0, 0.0, 0.0, 0.0]) == 0.0
    assert fpr_at_tpr([1, 1, -1, -1], [0.0, 0.0, 0.0, 0.0]) == 1.0


def test_areas_by_hand():
    y, scores = [1, 1, -1, -1], [0.9, 0.5, 0.6, 0.1]
    assert auroc(y, scores) == 0.75
    # In: precision 1 at the first, 2/3 at the second positive. Out: likewise.
    assert_allclose([aupr_in(y, scores), aupr_out(y, scores)], [5 / 6, 5 / 6])
    assert_allclose(aupr_in([1, -1, -1, -1], scores), 1.0)
    assert_allclose(aupr_out([1, -1, -1, -1], scores), 1.0)
    assert_allclose(aupr_in([-1, -1, 1, -1], scores), 1 / 2)
    assert_allclose(aupr_out([1, 1, -1, 1], scores), 1 / 3)


def test_detection_accuracy_weighs_both_kinds_alike():
    # Reject under 0.6: 2 of 2 and 2 of 3.
    y, scores = [1, 1, -1, -1, -1], [0.9, 0.6, 0.7, 0.2, 0.1]
    assert_allclose(detection_accuracy(y, scores), (1 + 2 / 3) / 2)
    assert detection_accuracy([1, -1], [0.0, 1.0]) == 0.5


@pytest.mark.parametrize("decimals", [1, 9], ids=["many ties", "no ties"])
def test_same_as_scikit_learn(decimals):
    rng = np.random.default_rng(0)
    y = np.where(rng.random(300) < 0.7, 1, -1)
    scores = (rng.normal(size=300) + y).round(decimals)
    assert_allclose(auroc(y, scores), roc_auc_score(y, scores))
    assert_allclose(aupr_in(y, scores), average_precision_score(y, scores))
    out = average_precision_score(y, -scores, pos_label=-1)
    assert_allclose(aupr_out(y, scores), out)
    false_positive, true_positive, _ = roc_curve(y, scores)
    best = np.max((true_positive + 1 - false_positive) / 2)
    assert_allclose(detection_accuracy(y, scores), best)
    first = np.argmax(true_positive >= 0.95)
    assert_allclose(fpr_at_tpr(y, scores), false_positive[first])


@pytest.mark.parametrize("metric", HIGHER_IS_BETTER)
def test_perfect_and_reversed(metric):
    y, scores = np.repeat([1, -1], 50), np.arange(100.0)[::-1]
    assert metric(y, scores) == 1.0
    assert metric(y, -scores) <= 0.5


@pytest.mark.parametrize("metric", ALL)
def test_infinite_scores_are_the_ends_of_the_order(metric):
    finite = metric([1, 1, -1, -1], [9.0, 0.5, 0.6, -9.0])
    assert metric([1, 1, -1, -1], [np.inf, 0.5, 0.6, -np.inf]) == finite


@pytest.mark.parametrize(
    ("y", "scores", "message"),
    [
        ([0, 1], [0.1, 0.2], r"y_true must hold \+1.*np.where\(y == 0, 1, -1\)"),
        ([1, 1], [0.1, 0.2], r"y_true must label some inputs -1.*NoveltyKFold"),
        (["in", "out"], [0.1, 0.2], "y_true must hold"),
        ([1, -1], [0.1, np.nan], "y_score must hold at least one number and no NaN"),
        ([1, -1], ["a", "b"], "y_score must hold numbers"),
        ([1, -1], [0.1], r"y_score must hold one value for each of the 2 samples"),
        ([], [], "y_true must label some"),
    ],
)
def test_bad_input(y, scores, message):
    with pytest.raises(ValueError, match=message):
        auroc(y, scores)


@pytest.mark.parametrize("metric", ALL)
def test_every_metric_checks_labels(metric):
    with pytest.raises(ValueError, match=r"y_true must hold \+1"):
        metric([0, 1], [0.1, 0.2])


@pytest.mark.parametrize("metric", [tnr_at_tpr, fpr_at_tpr])
@pytest.mark.parametrize("tpr", [0, 1.1])
def test_bad_tpr(metric, tpr):
    with pytest.raises(ValueError, match="'tpr' parameter"):
        metric([1, -1], [0.1, 0.2], tpr=tpr)


SCORERS = {
    "auroc": auroc_scorer,
    "aupr_in": aupr_in_scorer,
    "aupr_out": aupr_out_scorer,
    "accuracy": detection_accuracy_scorer,
    "tnr": tnr_at_tpr_scorer,
}


def blobs(spread=0):
    X, y = make_blobs([150, 50], centers=[[0, 0], [6, 6]], random_state=0)
    return X + np.random.default_rng(0).normal(scale=spread, size=X.shape), y


def test_scorers_of_a_novelty_detector():
    X, y = blobs(spread=2)
    y = 1 - 2 * y
    detector = IsolationForest(n_estimators=10, random_state=0)
    scores = cross_validate(detector, X, y, scoring=SCORERS, cv=3)
    detector.fit(X[y == 1])
    for name, scorer in SCORERS.items():
        assert scores[f"test_{name}"].shape == (3,)
        expected = scorer.metric(y, detector.score_samples(X))
        assert scorer(detector, X, y) == expected


def test_either_convention_of_binary_labels():
    X, y = blobs(spread=2)
    by_bit = LogisticRegression().fit(X, y)
    by_sign = LogisticRegression().fit(X, 1 - 2 * y)
    for scorer in SCORERS.values():
        assert_allclose(scorer(by_bit, X, y), scorer(by_sign, X, 1 - 2 * y))
    assert aupr_in_scorer(by_bit, X, y) > aupr_out_scorer(by_bit, X, y)
    # The right sign: anomalies get low scores.
    assert auroc_scorer(by_bit, X, y) > 0.9
    by_bool = LogisticRegression().fit(X, y == 1)
    assert auroc_scorer(by_bool, X, y == 1) == auroc_scorer(by_bit, X, y)


def test_estimators_with_decisions_only():
    X, y = blobs()
    detector = SGDOneClassSVM(random_state=0).fit(X[y == 0])
    expected = auroc(1 - 2 * y, detector.decision_function(X))
    assert auroc_scorer(detector, X, 1 - 2 * y) == expected
    for labels in (y, 1 - 2 * y):
        assert auroc_scorer(LinearSVC().fit(X, labels), X, labels) == 1.0


def test_saturated_classifiers_do_not_tie():
    X, y = blobs()
    saturated = LogisticRegression(C=1e9).fit(X, y)
    scores = in_distribution_scores(saturated, np.linspace([0, 0], [-60, -60], 20))
    assert len(np.unique(scores)) == 20


def test_scorers_reject_unsuitable_estimators_and_labels():
    X, y = blobs()
    for labels in (np.arange(200) % 3, np.array(["clean", "adversarial"])[y], y * 7):
        other = DummyClassifier().fit(X, labels)
        with pytest.raises(ValueError, match=r"estimator must be fitted on the labels"):
            auroc_scorer(other, X, labels)
    two = DummyClassifier().fit(X, y)
    with pytest.raises(
        ValueError, match=r"y must hold the labels \[.*0.*1.*\].*\[-1\]"
    ):
        auroc_scorer(two, X, 1 - 2 * y)
    with pytest.raises(TypeError, match=r"estimator must be an outlier detector or a"):
        auroc_scorer(LinearRegression().fit(X, y), X, 1 - 2 * y)
    forest = IsolationForest(n_estimators=5, random_state=0).fit(X)
    with pytest.raises(ValueError, match="y_true must hold"):
        auroc_scorer(forest, X, y)


def test_scorer_options_and_repr():
    X, y = blobs()
    detector = IsolationForest(random_state=0).fit(X[y == 0])
    loose, strict = (DetectionScorer(tnr_at_tpr, tpr=t) for t in (0.5, 1.0))
    assert loose(detector, X, 1 - 2 * y) >= strict(detector, X, 1 - 2 * y)
    assert repr(strict) == "DetectionScorer(tnr_at_tpr, tpr=1.0)"
