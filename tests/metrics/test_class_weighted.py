"""Metrics weighted by the predicted class, by paper C's equation."""

import numpy as np
import pytest

from skgrad.metrics import auroc, class_weighted, tnr_at_tpr


@pytest.mark.parametrize(
    ("metric", "options"), [(auroc, {}), (tnr_at_tpr, {}), (tnr_at_tpr, {"tpr": 0.5})]
)
def test_by_the_equation(metric, options):
    rng = np.random.default_rng(0)
    y = np.where(rng.random(300) < 0.6, 1, -1)
    predicted = rng.integers(4, size=300)
    scores = rng.normal(size=300) + y + 10 * predicted
    expected = 0.0
    for label in range(4):
        rows = predicted == label
        weight = np.sum(rows & (y == -1)) / np.sum(y == -1)
        expected += weight * metric(y[rows], scores[rows], **options)
    found = class_weighted(metric, y, scores, predicted, **options)
    assert found == pytest.approx(expected, rel=1e-12)
    # Scores of different classes are not comparable: the plain metric suffers.
    assert found > metric(y, scores, **options) + 0.1


def test_classes_of_one_kind_are_left_out():
    y = [1, 1, -1, -1, 1, -1]
    scores = [0.9, 0.8, 0.1, 0.95, 0.0, 0.99]
    # Class "b" has an in-distribution input and no anomaly, class "c" the opposite.
    predicted = ["a", "a", "a", "a", "b", "c"]
    assert class_weighted(auroc, y, scores, predicted) == 0.5
    assert np.isnan(class_weighted(auroc, [1, -1], [1.0, 0.0], [0, 1]))


def test_bad_input():
    with pytest.raises(ValueError, match="predicted must hold one value for each of"):
        class_weighted(auroc, [1, -1, 1], [1, 2, 3], [0, 0])
    with pytest.raises(ValueError, match="y_true"):
        class_weighted(auroc, [1, 0, -1], [1.0, 2.0, 3.0], [0, 0, 0])
    with pytest.raises(TypeError, match=r"metric must be a function.*got 'auroc'"):
        class_weighted("auroc", [1, -1], [1.0, 2.0], [0, 0])
