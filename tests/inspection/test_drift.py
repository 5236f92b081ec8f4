"""The wealth of a monitor as a picture."""

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from skgrad import ConformalDetector
from skgrad.guard import PValueMonitor
from skgrad.inspection import DriftDisplay


def test_alarm_is_that_of_the_monitor():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    detector = ConformalDetector(IsolationForest(n_estimators=9), random_state=0).fit(X)
    stream = np.r_[X, rng.normal(size=(100, 2)) + 4]
    monitor = PValueMonitor(detector, alpha=0.05)
    path = monitor.update(detector.score_samples(stream))
    display = DriftDisplay.from_estimator(detector, stream, alpha=0.05)
    np.testing.assert_array_equal(display.log_wealth, path)
    assert display.alarm_at == monitor.alarm_at_ > 400
    assert display.name == "IsolationForest"
    line, limit, alarm = display.ax_.lines
    np.testing.assert_allclose(line.get_ydata()[1:], path / np.log(10))
    assert limit.get_ydata()[0] == pytest.approx(np.log10(20))
    assert alarm.get_xdata()[0] == display.alarm_at


def test_no_alarm():
    display = DriftDisplay.from_predictions([0.1, 4.6])
    assert display.alarm_at is None
    assert len(display.ax_.lines) == 2
    # 4.605 is the logarithm of 100.
    assert DriftDisplay.from_predictions([0.1, 4.61, 0.0]).alarm_at == 2


def test_classes_are_drawn_beside_the_wealth():
    counts = {"wolf": (3, 3), "cat": (6, 0), "dog": (11, 1)}
    display = DriftDisplay.from_predictions([0.1], class_counts=counts)
    assert list(display.class_counts) == ["cat", "dog", "wolf"]
    _, ax = display.axes_.flat
    trusted, rejected = ax.containers
    assert [bar.get_width() for bar in trusted] == pytest.approx([30, 50, 0])
    assert [bar.get_width() for bar in rejected] == pytest.approx([0, 5, 15])
    assert [bar.get_x() for bar in rejected] == pytest.approx([30, 50, 0])
    assert [label.get_text() for label in ax.get_yticklabels()] == [*sorted(counts)]
    for wrong in ({}, {"cat": (1, 2)}, {"cat": 3}, {"cat": (0, 0)}, [(1, 1)]):
        with pytest.raises(ValueError, match="class_counts must hold, by class, how"):
            DriftDisplay.from_predictions([0.1], class_counts=wrong)


@pytest.mark.parametrize(
    ("path", "alpha", "match"),
    [
        ([0.0], 1, r"alpha must be a number in \(0, 1\); got 1"),
        ([0.0], "a", "alpha must be a number"),
        ([np.nan], 0.01, "log_wealth must hold numbers, finite"),
        ([], 0.01, "log_wealth must be of shape"),
    ],
)
def test_wrong_data_are_rejected(path, alpha, match):
    with pytest.raises(ValueError, match=match):
        DriftDisplay.from_predictions(path, alpha=alpha)
