"""Errors over coverage: both kinds, and what the threshold trusts."""

import numpy as np
import pytest

from skgrad.inspection import RiskCoverageDisplay
from skgrad.metrics import risk_coverage_curve

from_predictions = RiskCoverageDisplay.from_predictions
CORRECT = np.array([1, 1, 0, 1, 1, 0], dtype=bool)
SCORES = np.array([6.0, 5, 4, 3, 2, 1])
# The class of the anomaly happens to be right; it counts as wrong.
ANOMALY = np.array([0, 0, 0, 1, 0, 0], dtype=bool)


def test_rates_of_both_kinds():
    display = from_predictions(CORRECT, SCORES, anomaly=ANOMALY, threshold=3)
    np.testing.assert_allclose(display.mistakes, [0, 0, 1 / 3, 1 / 4, 1 / 5, 2 / 6])
    np.testing.assert_allclose(display.anomalies, [0, 0, 0, 1 / 4, 1 / 5, 1 / 6])
    _, risks, _ = risk_coverage_curve(CORRECT & ~ANOMALY, SCORES)
    np.testing.assert_allclose(display.mistakes + display.anomalies, risks)
    # A score that equals the threshold is trusted.
    assert display.coverage == pytest.approx(4 / 6)
    assert display.accuracy == 0.5
    assert display.mistake_rate == display.anomaly_rate == 0.25
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == [
        "wrong class: 25.0 % at the threshold",
        "anomaly: 25.0 % at the threshold",
        "all errors",
        "threshold: 66.7 % trusted, 50.0 % of it right",
    ]


def test_nothing_trusted_has_no_accuracy():
    display = from_predictions(CORRECT, SCORES, threshold=np.inf)
    assert display.coverage == 0
    assert np.isnan([display.accuracy, display.mistake_rate]).all()
    label = display.ax_.get_legend().get_texts()[0].get_text()
    assert label == "wrong class"
    assert np.isnan(from_predictions(CORRECT, SCORES).accuracy)


def test_curve_is_drawn_from_the_left():
    display = from_predictions(CORRECT, SCORES)
    line = display.ax_.lines[0]
    np.testing.assert_allclose(line.get_xdata(), np.arange(7) / 6)
    np.testing.assert_allclose(line.get_ydata()[[0, 1, 3, 6]], [0, 0, 1 / 3, 2 / 6])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"anomaly": ANOMALY[1:]}, "anomaly must hold one value for each of the 6"),
        ({"anomaly": np.ones(6)}, "anomaly must hold True or False.*y_true == -1"),
        ({"threshold": np.nan}, "threshold must be a number or None; got NaN"),
    ],
)
def test_wrong_data_are_rejected(options, match):
    with pytest.raises(ValueError, match=match):
        from_predictions(CORRECT, SCORES, **options)
