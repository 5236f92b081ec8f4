"""The combination of columns: what it refers to, and its weights."""

import numpy as np
import pytest
from networks import AnyWidth
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import StandardScaler

from skgrad.baselines import LID, Mahalanobis
from skgrad.baselines._combination import _FisherSum, _LogisticRegression
from skgrad.metrics import auroc_scorer
from skgrad.model_selection import NoveltyKFold

BOTH = {"layers": ["bend", "logits"], "random_state": 0}


def columns(n_samples, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(shift, size=(n_samples, 2)) * [1, 1000]


def test_fisher_sum_by_hand():
    combination = _FisherSum().fit(np.arange(99.0)[:, None] * [1, -1] + [0, 98])
    # Ranks 50 and 50 of 99, then 80 and 20.
    scores = combination.score(np.array([[49.0, 49], [79, 19]]))
    assert_allclose(scores, [2 * np.log(0.5), np.log(0.8) + np.log(0.2)])


def test_fisher_sum_does_not_depend_on_units():
    reference, queries = columns(200), columns(50, seed=1, shift=-1)
    expected = _FisherSum().fit(reference).score(queries)
    scaled = _FisherSum().fit(reference * [1e6, 1e-6]).score(queries * [1e6, 1e-6])
    assert_allclose(scaled, expected, rtol=1e-9)
    assert (expected <= 0).all()


def test_logistic_regression_is_scikit_learns():
    normal, anomalous, queries = columns(300), columns(50, 1, -2), columns(20, 2)
    scores = _LogisticRegression().fit(normal, anomalous).score(queries)
    table = np.concatenate([normal, anomalous])
    scale = StandardScaler().fit(table)
    labels = np.repeat([1, 0], [300, 50])
    regression = LogisticRegression(class_weight="balanced")
    regression.fit(scale.transform(table), labels)
    expected = regression.decision_function(scale.transform(queries))
    assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    # Higher is more in-distribution.
    assert scores.mean() > 0


@pytest.mark.parametrize(
    ("detector", "n_reference"),
    [
        (Mahalanobis(AnyWidth(), **BOTH), 32),
        (LID(AnyWidth(), reference_fraction=0.5, **BOTH), 80),
    ],
    ids=["Mahalanobis", "LID"],
)
def test_reference_samples_are_used_for_nothing_else(detector, n_reference):
    X = np.random.default_rng(0).normal(size=(200, 6))
    detector.fit(X)
    tails = [p_values.lower for p_values in detector._combine.p_values]
    assert [len(tail.reference) for tail in tails] == [n_reference] * 2
    assert len(detector.calibration_scores_) == 40


def test_a_reference_of_one_sample():
    X = np.random.default_rng(0).normal(size=(2, 6))
    detector = Mahalanobis(AnyWidth(), target_fpr=0.5, **BOTH).fit(X)
    assert np.isfinite(detector.score_samples(X * 100)).all()


def test_logistic_needs_folds_with_anomalies():
    generator = np.random.default_rng(0)
    X = np.vstack([generator.normal(size=(90, 6)), generator.normal(5, size=(30, 6))])
    y = np.repeat([1, -1], [90, 30])
    detector = Mahalanobis(AnyWidth(), target_fpr=0.2, **BOTH)

    def search(cv):
        options = {"scoring": auroc_scorer, "cv": cv, "error_score": "raise"}
        grid = {"combination": ["fisher", "logistic"]}
        return GridSearchCV(detector, grid, **options).fit(X, y)

    assert search(StratifiedKFold(3)).best_score_ > 0.9
    with pytest.raises(ValueError, match="folds of NoveltyKFold hold no anomalies"):
        search(NoveltyKFold(3))
