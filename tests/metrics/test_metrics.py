"""The metrics by hand, and their scorers."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.datasets import make_blobs
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDOneClassSVM
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
    in_distribution_scores,
    tnr_at_tpr,
    tnr_at_tpr_scorer,
)

ALL = [auroc, aupr_in, aupr_out, detection_accuracy, tnr_at_tpr]


def test_tnr_by_hand():
    y = np.repeat([1, -1], [20, 4])
    scores = np.r_[np.arange(20.0), -1, 0.5, 1, 1.5]
    # 19 of the 20 pass at a threshold of 1, which -1 and 0.5 lie below.
    assert tnr_at_tpr(y, scores) == 0.5
    assert tnr_at_tpr(y, scores, tpr=1.0) == 0.25
    assert tnr_at_tpr(y, scores, tpr=0.9) == 1.0
    # 0.951 needs all 20.
    assert tnr_at_tpr(y, scores, tpr=0.951) == 0.25


def test_tnr_counts_ties_against_the_detector():
    assert tnr_at_tpr([1, 1, -1, -1], [0.0, 0.0, 0.0, 0.0]) == 0.0


def test_areas_by_hand():
    y, scores = [1, 1, -1, -1], [0.9, 0.5, 0.6, 0.1]
    assert auroc(y, scores) == 0.75
    # In: precision 1 at the first, 2/3 at the second positive. Out: likewise.
    assert_allclose([aupr_in(y, scores), aupr_out(y, scores)], [5 / 6, 5 / 6])
    assert_allclose(aupr_in([1, -1, -1, -1], scores), 1.0)
    assert_allclose(aupr_out([1, -1, -1, -1], scores), 1.0)
    assert_allclose(aupr_in([-1, -1, 1, -1], scores), 1 / 2)


def test_detection_accuracy_weighs_both_kinds_alike():
    # Reject under 0.6: 2 of 2 and 2 of 3.
    y, scores = [1, 1, -1, -1, -1], [0.9, 0.6, 0.7, 0.2, 0.1]
    assert_allclose(detection_accuracy(y, scores), (1 + 2 / 3) / 2)
    assert detection_accuracy([1, -1], [0.0, 1.0]) == 0.5


@pytest.mark.parametrize("metric", ALL)
def test_perfect_and_reversed(metric):
    y, scores = np.repeat([1, -1], 50), np.arange(100.0)[::-1]
    assert metric(y, scores) == 1.0
    assert metric(y, -scores) <= 0.5


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    ("y", "scores", "message"),
    [
        ([0, 1], [0.1, 0.2], r"y_true must hold \+1.*got labels \[0, 1\].*1 - 2 \* y"),
        ([1, 1], [0.1, 0.2], r"both at least once; got labels \[1\]. In cross-valid"),
        (["in", "out"], [0.1, 0.2], "y_true must hold"),
        ([1, -1], [0.1, np.nan], "y_score must be numbers without NaN"),
        ([1, -1], ["a", "b"], "y_score must be numbers"),
        ([1, -1], [0.1], r"of one shape .* got \(2,\) and \(1,\)"),
        ([1, -1], [[0.1], [0.2]], r"of one shape .* got \(2,\) and \(2, 1\)"),
        ([], [], "y_true must hold"),
    ],
)
def test_bad_input(metric, y, scores, message):
    with pytest.raises(ValueError, match=message):
        metric(y, scores)


@pytest.mark.parametrize("tpr", [0, 1.1, "x"])
def test_bad_tpr(tpr):
    with pytest.raises(ValueError, match="'tpr' parameter"):
        tnr_at_tpr([1, -1], [0.1, 0.2], tpr=tpr)


SCORERS = {
    "auroc": auroc_scorer,
    "aupr_in": aupr_in_scorer,
    "aupr_out": aupr_out_scorer,
    "accuracy": detection_accuracy_scorer,
    "tnr": tnr_at_tpr_scorer,
}


def blobs():
    X, y = make_blobs([150, 50], centers=[[0, 0], [6, 6]], random_state=0)
    return X, y


def test_scorers_of_a_novelty_detector():
    X, y = blobs()
    scores = cross_validate(
        IsolationForest(random_state=0), X, 1 - 2 * y, scoring=SCORERS, cv=3
    )
    detector = IsolationForest(random_state=0).fit(X[y == 0])
    for name, scorer in SCORERS.items():
        assert scores[f"test_{name}"].shape == (3,)
        expected = scorer.metric(1 - 2 * y, detector.score_samples(X))
        assert scorer(detector, X, 1 - 2 * y) == expected


@pytest.mark.parametrize("labels", [[0, 1], [False, True], [1, -1]])
def test_scorers_of_a_classifier(labels):
    X, y = blobs()
    labels = np.array(labels)[y]
    classifier = RandomForestClassifier(random_state=0)
    scores = cross_validate(classifier, X, labels, scoring=SCORERS, cv=3)
    for name in SCORERS:
        assert (scores[f"test_{name}"] == 1.0).all()


@pytest.mark.parametrize("labels", [["in", "out"], ["clean", "adversarial"], [7, 3]])
def test_other_labels_must_be_told(labels):
    X, y = blobs()
    X += np.random.default_rng(0).normal(scale=2, size=X.shape)
    expected = aupr_in_scorer(LogisticRegression().fit(X, y), X, y)
    named = np.array(labels)[y]
    classifier = LogisticRegression().fit(X, named)
    with pytest.raises(ValueError, match=r"anomaly_label must be one of .* got None"):
        aupr_in_scorer(classifier, X, named)
    scorer = DetectionScorer(aupr_in, anomaly_label=labels[1])
    assert_allclose(scorer(classifier, X, named), expected)
    assert "anomaly_label=" in repr(scorer)


def test_minus_one_means_anomaly_to_a_classifier_too():
    X, y = blobs()
    X += np.random.default_rng(0).normal(scale=2, size=X.shape)
    by_bit = LogisticRegression().fit(X, y)
    by_sign = LogisticRegression().fit(X, 1 - 2 * y)
    for scorer in SCORERS.values():
        assert_allclose(scorer(by_bit, X, y), scorer(by_sign, X, 1 - 2 * y))
    assert aupr_in_scorer(by_bit, X, y) > aupr_out_scorer(by_bit, X, y)


def test_estimators_with_decisions_only():
    X, y = blobs()
    detector = SGDOneClassSVM(random_state=0).fit(X[y == 0])
    expected = auroc(1 - 2 * y, detector.decision_function(X))
    assert auroc_scorer(detector, X, 1 - 2 * y) == expected
    for labels in (y, 1 - 2 * y):
        assert auroc_scorer(LinearSVC().fit(X, labels), X, labels) == 1.0


def test_sure_classifiers_do_not_tie():
    X, y = blobs()
    sure = LogisticRegression(C=1e9).fit(X, y)
    scores = in_distribution_scores(sure, np.linspace([0, 0], [-60, -60], 20))
    assert len(np.unique(scores)) == 20


def test_infinite_scores_are_the_ends_of_the_order():
    for metric in ALL:
        finite = metric([1, 1, -1, -1], [9.0, 0.5, 0.6, -9.0])
        assert metric([1, 1, -1, -1], [np.inf, 0.5, 0.6, -np.inf]) == finite


def test_scorer_refuses_what_it_cannot_read():
    X, y = blobs()
    three = DummyClassifier().fit(X, np.arange(200) % 3)
    with pytest.raises(ValueError, match=r"estimator must have two classes.* it has 3"):
        auroc_scorer(three, X, y)
    two = DummyClassifier().fit(X, y)
    with pytest.raises(
        ValueError, match=r"y must hold the labels \[.*0.*1.*\].*\[-1\] too"
    ):
        auroc_scorer(two, X, 1 - 2 * y)
    with pytest.raises(TypeError, match=r"estimator must be an outlier detector or a"):
        auroc_scorer(LinearRegression().fit(X, y), X, 1 - 2 * y)
    forest = IsolationForest(random_state=0).fit(X)
    with pytest.raises(ValueError, match="y_true must hold"):
        auroc_scorer(forest, X, y)


def test_scorer_options_and_repr():
    X, y = blobs()
    detector = IsolationForest(random_state=0).fit(X[y == 0])
    loose, strict = (DetectionScorer(tnr_at_tpr, tpr=t) for t in (0.5, 1.0))
    assert loose(detector, X, 1 - 2 * y) >= strict(detector, X, 1 - 2 * y)
    assert repr(strict) == "DetectionScorer(tnr_at_tpr, tpr=1.0)"
