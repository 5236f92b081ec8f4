"""Risk and coverage in closed form, and the scorers of abstention."""

from functools import partial

import numpy as np
import pytest
import torch
from networks import seeded
from numpy.testing import assert_allclose
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import cross_validate
from sklearn.svm import LinearSVC

from skgrad import GuardedClassifier
from skgrad.inspection import DriftDisplay, RiskCoverageDisplay
from skgrad.metrics import (
    AbstentionScorer,
    aurc,
    coverage_at_risk,
    coverage_at_risk_scorer,
    neg_aurc_scorer,
    risk_coverage_curve,
)

CORRECT = [True, True, False, True, False]
SCORES = [0.9, 0.5, 0.5, 0.3, np.inf]


def test_curve_by_hand():
    coverages, risks, thresholds = risk_coverage_curve(CORRECT, SCORES)
    # The tie of a right and a wrong prediction is one step.
    assert_allclose(coverages, [0.2, 0.4, 0.8, 1.0])
    assert_allclose(risks, [1, 1 / 2, 2 / 4, 2 / 5])
    assert_allclose(thresholds, [np.inf, 0.9, 0.5, 0.3])


def test_area_by_definition():
    rng = np.random.default_rng(0)
    correct, scores = rng.random(200) < 0.8, rng.normal(size=200).round(1)
    at_own_score = [1 - correct[scores >= score].mean() for score in scores]
    assert aurc(correct, scores) == pytest.approx(np.mean(at_own_score))
    assert aurc(correct, np.zeros(200)) == pytest.approx(1 - correct.mean())


def test_excess_is_measured_from_the_best_order():
    correct = np.repeat([1, 0], [150, 50])
    assert aurc(correct, correct + np.linspace(0, 0.5, 200), excess=True) < 1e-12
    best = aurc(correct, np.arange(200)[::-1])
    # The approximation of the authors.
    assert best == pytest.approx(0.25 + 0.75 * np.log(0.75), abs=0.005)
    worst = np.arange(200)
    assert aurc(correct, worst, excess=True) == pytest.approx(
        aurc(correct, worst) - best
    )
    assert aurc([1, 1], [0, 1], excess=True) == 0
    assert aurc([0, 0], [0, 1]) == 1
    assert aurc([0, 0], [0, 1], excess=True) == pytest.approx(0)


@pytest.mark.parametrize(
    ("risk", "coverage"), [(0, 0), (0.3, 0), (0.4, 1.0), (0.45, 1.0), (0.5, 1.0)]
)
def test_coverage_at_risk_by_hand(risk, coverage):
    assert coverage_at_risk(CORRECT, SCORES, risk=risk) == coverage


def test_coverage_at_risk_is_the_largest():
    correct, scores = [1, 0, 1, 1, 0, 0], np.arange(6)[::-1]
    assert coverage_at_risk(correct, scores, risk=0) == pytest.approx(1 / 6)
    # 1 wrong of 2 is too many, but 1 of 4 is not.
    assert coverage_at_risk(correct, scores, risk=0.25) == pytest.approx(4 / 6)
    # 1 - 0.9 is less than 0.1.
    assert coverage_at_risk(np.arange(10) > 0, np.zeros(10), risk=1 - 0.9) == 1


@pytest.mark.parametrize("function", [risk_coverage_curve, aurc, coverage_at_risk])
@pytest.mark.parametrize(
    ("correct", "scores", "match"),
    [
        ([1, -1], [0, 1], r"correct must hold True.*got shape \(2,\) with values"),
        ([0.5, 1], [0, 1], "correct must hold True"),
        ([[1, 0]], [0, 1], r"shape \(1, 2\)"),
        ([], [], r"correct must hold True or 1.*predicted == y"),
        ([1, 0], [0, np.nan], "y_score must hold .* no NaN"),
        ([1, 0], [0], "y_score must hold one value for each of the 2 samples"),
    ],
)
def test_wrong_data_are_rejected(function, correct, scores, match):
    with pytest.raises(ValueError, match=match):
        function(correct, scores)


def test_risk_is_less_than_one():
    with pytest.raises(ValueError, match="'risk' parameter"):
        coverage_at_risk([1, 0], [0, 1], risk=1)


class Guard:
    """Answers as a guard does, by names of classes."""

    def judge(self, X):
        class Answer:
            predicted = np.array(["a", "b"])[np.asarray(X)[:, 0]]
            score = np.asarray(X)[:, 1]

        return Answer


def test_scorers():
    X, y = load_iris(return_X_y=True)
    classifier = LogisticRegression(max_iter=1000)
    scoring = {"aurc": neg_aurc_scorer, "coverage": coverage_at_risk_scorer}
    found = cross_validate(classifier, X, y, scoring=scoring, cv=3)
    assert found["test_aurc"].shape == (3,)
    classifier.fit(X[:, :2], y)
    correct = classifier.predict(X[:, :2]) == y
    scores = classifier.predict_proba(X[:, :2]).max(axis=1)
    assert neg_aurc_scorer(classifier, X[:, :2], y) == -aurc(correct, scores)
    strict = AbstentionScorer(coverage_at_risk, risk=0.1)
    assert strict(classifier, X[:, :2], y) == coverage_at_risk(
        correct, scores, risk=0.1
    )
    assert repr(strict) == "AbstentionScorer(coverage_at_risk, risk=0.1)"
    assert repr(neg_aurc_scorer) == "AbstentionScorer(aurc, greater_is_better=False)"


def test_scorers_take_the_answer_of_a_guard():
    X, y = [[0, 3], [1, 2], [1, 1]], ["a", "b", "a"]
    assert coverage_at_risk_scorer(Guard(), X, y) == pytest.approx(2 / 3)
    assert neg_aurc_scorer(Guard(), X, y) == pytest.approx(-1 / 9)
    with pytest.raises(ValueError, match=r"y must hold classes .*such as \['a'\]"):
        neg_aurc_scorer(Guard(), X, [0, 1, 0])


def test_scores_of_a_guard_of_a_network():
    X = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
    net = seeded(partial(torch.nn.Linear, 4, 3))
    guard = GuardedClassifier(net, classes=["a", "b", "c"], random_state=0).fit(X)
    answer = guard.judge(X)
    y = np.where(np.arange(200) % 4, answer.predicted, "none")
    expected = aurc(answer.predicted == y, answer.score)
    assert neg_aurc_scorer(guard, X, y) == -expected
    display = RiskCoverageDisplay.from_estimator(guard, X, y, X_anomaly=X[:50] + 9)
    assert display.mistakes[-1] == display.anomalies[-1] == 50 / 250
    drift = DriftDisplay.from_estimator(guard, X + 9)
    assert drift.alarm_at < 20
    assert sum(seen for seen, _ in drift.class_counts.values()) == 200


def test_scorers_reject_other_estimators():
    X, y = load_iris(return_X_y=True)
    for other in (LinearRegression().fit(X, y), LinearSVC().fit(X, y), "guard"):
        with pytest.raises(TypeError, match="estimator must be a fitted classifier"):
            neg_aurc_scorer(other, X, y)
    with pytest.raises(TypeError, match="metric must be a function"):
        AbstentionScorer("aurc")(LogisticRegression().fit(X > 2, y), X > 2, y)
    with pytest.raises(ValueError, match="y must hold one value for each of the 150"):
        neg_aurc_scorer(LogisticRegression().fit(X > 2, y), X > 2, y[1:])
