"""Score distributions: their rates, and what they reject."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KernelDensity

from skgrad.guard import GuardedClassifier
from skgrad.inspection import ContributionDisplay, ScoreDistributionDisplay

Y = np.repeat([1, -1], [4, 2])
SCORES = np.array([0.0, 1.0, 2.0, 3.0, -1.0, 2.5])


def test_rates_are_those_of_the_threshold():
    display = ScoreDistributionDisplay.from_predictions(Y, SCORES, threshold=1.0)
    # A score that equals the threshold is accepted, as predict does.
    assert display.false_alarm_rate == 0.25
    assert display.miss_rate == 0.5
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend[:2] == [
        "in-distribution: 25.0 % rejected",
        "anomaly: 50.0 % accepted",
    ]


def test_unit_is_the_interquartile_range_from_the_median():
    display = ScoreDistributionDisplay.from_predictions(Y, 3 * SCORES, threshold=3)
    low, median, high = np.percentile(3 * SCORES[:4], (25, 50, 75))
    ends = (3 * np.array([-1.0, 3.0]) - median) / (high - low)
    edges = display.ax_.patches[0].get_data().edges
    np.testing.assert_allclose(edges[[0, -1]], ends)
    line = display.ax_.lines[0].get_xdata()
    np.testing.assert_allclose(line, (3 - median) / (high - low))


def test_rates_are_those_of_predict():
    X = np.random.default_rng(0).normal(size=(300, 2))
    X[200:] += 3
    y = np.repeat([1, -1], [200, 100])
    detector = IsolationForest(contamination=0.1, random_state=0).fit(X[:100])
    display = ScoreDistributionDisplay.from_estimator(detector, X, y)
    rejected = detector.predict(X) == -1
    assert display.false_alarm_rate == rejected[:200].mean()
    assert display.miss_rate == pytest.approx(1 - rejected[200:].mean())
    assert display.name == "IsolationForest"


def test_rates_of_a_guard_are_those_of_its_trust():
    torch.manual_seed(0)
    X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    X[200:] += 3
    y = np.repeat([1, -1], [200, 100])
    guard = GuardedClassifier(torch.nn.Linear(4, 3), random_state=0).fit(X[:200])
    display = ScoreDistributionDisplay.from_estimator(guard, X, y)
    trust = guard.judge(X).trust
    assert display.false_alarm_rate == (~trust[:200]).mean()
    assert display.miss_rate == pytest.approx(trust[200:].mean())


def test_a_density_has_no_threshold():
    X = np.random.default_rng(0).normal(size=(60, 2))
    density = KernelDensity().fit(X)
    y = np.repeat([1, -1], 30)
    display = ScoreDistributionDisplay.from_estimator(density, X, y)
    assert display.threshold is None
    assert np.isnan(display.false_alarm_rate)
    shown = ContributionDisplay.from_estimator(density, X[0], X)
    assert shown.threshold is None


def test_scores_of_classifiers_have_the_same_sign():
    X = np.arange(20.0)[:, None]
    classifier = LogisticRegression().fit(X, X[:, 0] > 9.5)  # True: anomaly
    y = np.where(X[:, 0] > 9.5, -1, 1)
    display = ScoreDistributionDisplay.from_estimator(classifier, X, y)
    assert display.false_alarm_rate == display.miss_rate == 0


def test_unusual_scores_are_drawn():
    from_predictions = ScoreDistributionDisplay.from_predictions
    alone = from_predictions(np.ones(4), SCORES[:4])
    assert np.isnan([alone.false_alarm_rate, alone.miss_rate]).all()
    assert len(alone.ax_.patches) == 1
    # A detector may be as sure as that; the picture shows it at the edge.
    scores = np.r_[SCORES[:5], -np.inf].astype(np.float32)
    display = from_predictions(Y, scores, threshold=0.5)
    assert display.miss_rate == 0
    display.figure_.canvas.draw()


@pytest.mark.parametrize(
    ("y", "scores", "match"),
    [
        ([0, 1], [1.0, 2.0], r"y_true must hold \+1 .* got shape \(2,\) .*\[0, 1\]"),
        ([1, 1, 1], [1.0, 2.0], r"for each of the 2 inputs; got shape \(3,\)"),
        ([-1, -1], [1.0, 2.0], "y_true must label some inputs"),
        ([1, -1], [1.0, np.nan], "y_score must hold numbers, not NaN"),
    ],
)
def test_wrong_data_are_rejected(y, scores, match):
    with pytest.raises(ValueError, match=match):
        ScoreDistributionDisplay.from_predictions(y, scores)


def test_threshold_is_a_number():
    with pytest.raises(ValueError, match="threshold must be a number or None; got NaN"):
        ScoreDistributionDisplay.from_predictions(Y, SCORES, threshold=np.nan)
