"""Metrics weighted by the predicted class, by hand and by paper C's equation."""

import numpy as np
import pytest

from skgrad.metrics import auroc, class_weighted, tnr_at_tpr


def test_by_the_equation():
    rng = np.random.default_rng(0)
    y = np.where(rng.random(300) < 0.6, 1, -1)
    predicted = rng.integers(4, size=300)
    scores = rng.normal(size=300) + y + 10 * predicted
    for metric in (auroc, tnr_at_tpr):
        expected, n_anomalies = 0.0, np.sum(y == -1)
        for label in range(4):
            rows = predicted == label
            weight = np.sum(rows & (y == -1)) / n_anomalies
            expected += weight * metric(y[rows], scores[rows])
        found = class_weighted(metric, y, scores, predicted)
        assert found == pytest.approx(expected, rel=1e-12)
    # Scores of different classes do not compare: the plain metric suffers.
    assert class_weighted(auroc, y, scores, predicted) > auroc(y, scores) + 0.1


def test_one_class_is_the_plain_metric():
    rng = np.random.default_rng(1)
    y, scores = np.repeat([1, -1], [20, 10]), rng.normal(size=30)
    for label in (0, 7, "cat"):
        predicted = np.full(30, label)
        assert class_weighted(auroc, y, scores, predicted) == auroc(y, scores)


def test_classes_of_one_kind_are_left_out():
    y = [1, 1, -1, -1, 1, -1]
    scores = [0.9, 0.8, 0.1, 0.95, 0.0, 0.99]
    # Class 1 holds an input and no anomaly, class 2 an anomaly and no input.
    assert class_weighted(auroc, y, scores, [0, 0, 0, 0, 1, 2]) == 0.5
    assert np.isnan(class_weighted(auroc, [1, -1], [1.0, 0.0], [0, 1]))


def test_order_does_not_matter_and_options_arrive():
    rng = np.random.default_rng(2)
    y, predicted = np.repeat([1, -1], 50), rng.integers(3, size=100)
    scores = rng.normal(size=100)
    order = rng.permutation(100)
    for tpr in (0.5, 0.95):
        found = class_weighted(tnr_at_tpr, y, scores, predicted, tpr=tpr)
        shuffled = class_weighted(
            tnr_at_tpr, y[order], scores[order], predicted[order], tpr=tpr
        )
        assert found == pytest.approx(shuffled, rel=1e-12)
    low, high = (
        class_weighted(tnr_at_tpr, y, scores, predicted, tpr=t) for t in (0.95, 0.5)
    )
    assert low < high


def test_wrong_shape_and_labels():
    with pytest.raises(ValueError, match=r"one class per sample, .* got shape \(2,\)"):
        class_weighted(auroc, [1, -1, 1], [1, 2, 3], [0, 0])
    with pytest.raises(ValueError, match="y_true"):
        class_weighted(auroc, [1, 0, -1], [1.0, 2.0, 3.0], [0, 0, 0])
