"""Heat maps of detectors and anomalies: the numbers in them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from skgrad import LODA
from skgrad.inspection import DetectorHeatMapDisplay
from skgrad.metrics import tnr_at_tpr

ID = {"good": [3, 4, 5, 6], "bad": [1, 2, 3, 4]}
ANOMALIES = {
    "good": {"near": [2, 5.5], "far": [0, 1]},
    "bad": {"near": [5, 6], "none": []},
}


def texts(ax):
    return {
        (round(text.get_position()[1]), round(text.get_position()[0])): text.get_text()
        for text in ax.texts
    }


def test_cells_are_shares_of_ordered_pairs():
    display = DetectorHeatMapDisplay.from_predictions(ID, ANOMALIES)
    assert display.detectors == ["good", "bad"]
    assert display.anomalies == ["near", "far", "none"]
    # Of 8 pairs with [2, 5.5] those of 2, and 6 > 5.5, are in order.
    expected = [[5 / 8, 1, np.nan], [0, np.nan, np.nan]]
    assert_allclose(display.values, expected)
    assert_allclose(display.means, [13 / 16, 0])
    # A gap, and the means; another, and the mean and the largest regret.
    assert texts(display.ax_) == {
        (0, 0): "62.5",
        (0, 1): "100",
        (0, 4): "81.2",
        **{(0, 6): "0.0", (0, 7): "0.0"},
        (1, 0): "0.0",
        (1, 4): "0.0",
        **{(1, 6): "62.5", (1, 7): "62.5"},
    }
    ticks = [label.get_text() for label in display.ax_.get_xticklabels()]
    assert ticks == ["near", "far", "none", "mean", "mean regret", "largest regret"]
    assert display.figure_.axes[1].get_ylabel() == "AUROC, percent"


def test_groups_have_means():
    groups = {"far": "data", "none": "noise"}
    display = DetectorHeatMapDisplay.from_predictions(ID, ANOMALIES, groups=groups)
    means = display.group_means
    assert list(means) == ["other", "data", "noise"]
    assert_allclose(means["other"], [5 / 8, 0])
    assert_allclose(means["data"], [1, np.nan])
    assert np.isnan(means["noise"]).all()
    ticks = [label.get_text() for label in display.ax_.get_xticklabels()]
    of_groups = ["mean of other", "mean of data", "mean of noise", "mean over groups"]
    assert ticks[3:7] == of_groups
    assert texts(display.ax_)[0, 7] == "81.2"
    with pytest.raises(ValueError, match=r"groups must .*'fare'.* mean 'far'"):
        DetectorHeatMapDisplay.from_predictions(ID, ANOMALIES, groups={"fare": "data"})


def test_detectors_are_scored():
    rng = np.random.default_rng(0)
    X_test, X_anomaly = rng.normal(size=(50, 3)), 2 * rng.normal(size=(30, 3))
    forest = IsolationForest(n_estimators=9, random_state=0)
    detectors = {f"on {n}": clone(forest).fit(X_test[:n]) for n in (20, 40)}
    anomalies = {"wide": X_anomaly, "none": X_anomaly[:0]}
    display = DetectorHeatMapDisplay.from_estimator(detectors, X_test, anomalies)
    y = np.repeat([1, -1], [50, 30])
    for row, detector in enumerate(detectors.values()):
        scores = detector.score_samples(np.r_[X_test, X_anomaly])
        assert display.values[row, 0] == pytest.approx(roc_auc_score(y, scores))
    assert display.anomalies == ["wide", "none"]
    assert np.isnan(display.values[:, 1]).all()


def test_numbers_are_not_rounded_up_to_100():
    display = DetectorHeatMapDisplay(
        values=np.array([[0.9998, 1.0]]), detectors=["d"], anomalies=["a", "b"]
    ).plot()
    assert [text.get_text() for text in display.ax_.texts[:2]] == ["99.9", "100"]


@pytest.mark.parametrize("metric", ["tnr_at_tpr", tnr_at_tpr])
def test_another_metric(metric):
    display = DetectorHeatMapDisplay.from_predictions(ID, ANOMALIES, metric=metric)
    assert display.values[0].tolist()[:2] == [0.5, 1]
    assert display.figure_.axes[1].get_ylabel() == "TNR@95TPR, percent"
    assert display.ax_.images[0].get_clim() == (0, 100)


def test_metric_may_be_a_function():
    def share_below(y, scores):
        return np.mean(scores[y == -1] < 3)

    display = DetectorHeatMapDisplay.from_predictions(ID, ANOMALIES, metric=share_below)
    assert display.values[:, 0].tolist() == [0.5, 0]
    assert display.metric == "share_below"


@pytest.mark.parametrize(
    ("scores_id", "scores_anomaly", "metric", "error", "match"),
    [
        ([1, 2], ANOMALIES, "auroc", TypeError, "scores_id must be a dict of scores"),
        (ID, {}, "auroc", TypeError, "scores_anomaly must be a dict.* not empty"),
        (ID, {"good": [1]}, "auroc", TypeError, r"\['good'\] must be a dict of scores"),
        (ID, {"goods": {"a": [1]}}, "auroc", ValueError, "'goods'.* mean 'good'"),
        (ID, ANOMALIES, "auc", ValueError, "metric must be one of.*mean 'auroc'"),
        (ID, {"bad": {"a": [np.nan]}}, "auroc", ValueError, r"\['bad'\]\['a'\] must"),
    ],
)
def test_wrong_scores_are_rejected(scores_id, scores_anomaly, metric, error, match):
    with pytest.raises(error, match=match):
        DetectorHeatMapDisplay.from_predictions(
            scores_id, scores_anomaly, metric=metric
        )


@pytest.mark.parametrize("name", ["X_test", "X_anomaly['noise']"])
def test_errors_name_the_parameter(name):
    valid, wrong = np.eye(30), np.full((2, 30), np.nan)
    detector = LODA(n_cuts=5, target_fpr=0.2, random_state=0).fit(valid)
    X_test, noise = (wrong, valid) if name == "X_test" else (valid, wrong)
    with pytest.raises(ValueError, match="X") as caught:
        DetectorHeatMapDisplay.from_estimator(
            {"LODA": detector}, X_test, {"noise": noise}
        )
    assert caught.value.__notes__ == [f"The X of this message is {name}."]
