"""Conformal thresholds, p-values and selection, by definition and by simulation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skgrad import LODA
from skgrad.detectors import (
    TooFewSamplesWarning,
    conformal_p_values,
    conformal_threshold,
    select_by_fdr,
)


@pytest.mark.parametrize(
    ("target_fpr", "expected"),
    # 0.07 * 100 and 0.29 * 100 are not whole numbers in floating point.
    [(0.01, 0), (0.05, 4), (0.07, 6), (0.29, 28), (0.5, 49), (1 - 1e-12, 98)],
)
def test_rank_of_the_threshold(target_fpr, expected):
    assert conformal_threshold(np.arange(99)[::-1], target_fpr) == expected


def test_threshold_is_valid_by_simulation():
    # P(new < threshold) is rank / (m + 1), for any continuous distribution.
    scores = np.random.default_rng(0).standard_cauchy(size=(2_000, 20))
    below = [row[0] < conformal_threshold(row[1:], 0.1) for row in scores]
    assert abs(np.mean(below) - 0.1) < 0.02


def test_too_few_scores():
    with pytest.warns(
        TooFewSamplesWarning, match=r"at least 19 held-out samples; there are 4"
    ):
        LODA(random_state=0).fit(np.random.default_rng(0).normal(size=(20, 2)))
    with pytest.warns(TooFewSamplesWarning, match="rejects 0.053"):
        assert conformal_threshold(range(18), 0.05) == 0.0
    assert conformal_threshold(range(19), 0.05) == 0.0


def test_p_values_by_definition():
    # Ties count as lower.
    p_values = conformal_p_values([-1.0, 0.0, 0.5, 3.0, 9.0], [3, 1, 0, 0])
    assert_allclose(p_values, [1 / 5, 3 / 5, 3 / 5, 1.0, 1.0])


def test_p_values_are_valid_by_simulation():
    # P(p <= alpha) = floor(alpha (m + 1)) / (m + 1), for any continuous distribution.
    scores = np.random.default_rng(0).standard_cauchy(size=(4_000, 20))
    p_values = np.array([conformal_p_values(s[:1], s[1:])[0] for s in scores])
    for alpha in (0.05, 0.12, 0.5, 0.9):
        exact = np.floor(alpha * 20 + 1e-9) / 20
        assert abs(np.mean(p_values <= alpha + 1e-12) - exact) < 0.025


def test_selection_by_definition():
    p_values = np.random.default_rng(0).uniform(size=50) ** 3
    for fdr in (0.01, 0.1, 0.5):
        order = np.sort(p_values)
        passed = np.flatnonzero(order <= fdr * np.arange(1, 51) / 50)
        cut = order[passed[-1]] if len(passed) else -1.0
        assert_array_equal(select_by_fdr(p_values, fdr), p_values <= cut)
    assert select_by_fdr([]).tolist() == []
    # Each equals its limit, up to rounding.
    assert select_by_fdr([0.02, 0.04, 0.06, 0.08, 0.10], fdr=0.1).all()


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (conformal_threshold, ([], 0.1), "scores must hold at least one number"),
        (conformal_threshold, ([1.0, np.nan], 0.1), "got 2 values, 1 of them NaN"),
        (conformal_threshold, ([[1.0, 2.0]], 0.1), r"scores must hold numbers, shape"),
        (conformal_threshold, ([0.0], 1.5), "'target_fpr' parameter"),
        (conformal_p_values, ([0.0], []), "calibration_scores must hold at least one"),
        (conformal_p_values, ([np.nan], [0.0]), "scores must hold numbers and no NaN"),
        (conformal_p_values, (["a"], [0.0]), "scores must hold numbers"),
        (select_by_fdr, ([0.1, 1.1],), r"p_values must lie in \[0, 1\].*to 1.1"),
        (select_by_fdr, ([0.1], 0), "'fdr' parameter"),
    ],
)
def test_bad_input(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)
