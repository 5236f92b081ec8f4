"""Scores of log-odds on changed inputs, in closed form."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skgrad import (
    ClassConditionalGaussian,
    CombinedDetector,
    ConfidenceDrop,
    StableConfidence,
)
from skgrad.detectors import DeepKNN
from skgrad.feature_extraction import FeatureArray

ODDS = np.random.default_rng(0).normal(3, 3, size=(100, 3))
NAMES = ["log_odds_unchanged", "log_odds_noise", "log_odds_flip"]
# Columns of layers on either side.
LAYERS = np.random.default_rng(1).normal(size=(100, 5))
BESIDE = FeatureArray(
    np.hstack([LAYERS[:, :2], ODDS, LAYERS[:, 2:]]),
    [
        *("layers__conv_0", "layers__conv_1"),
        *(f"stability__{name}" for name in NAMES),
        *(f"layers__logits_{i}" for i in range(3)),
    ],
)
WITHOUT = FeatureArray(
    LAYERS, [name for name in BESIDE.feature_names if "stability" not in name]
)
SCORES = [
    (StableConfidence, "mean", ODDS[:, 1:].mean(axis=1)),
    (StableConfidence, "worst", ODDS[:, 1:].min(axis=1)),
    (ConfidenceDrop, "mean", ODDS[:, 1:].mean(axis=1) - ODDS[:, 0]),
    (ConfidenceDrop, "worst", ODDS[:, 1:].min(axis=1) - ODDS[:, 0]),
]


@pytest.mark.parametrize(("make", "copies", "expected"), SCORES)
def test_by_definition(make, copies, expected):
    detector = make(copies=copies, random_state=0)
    for X in (ODDS, FeatureArray(ODDS, NAMES), pd.DataFrame(ODDS, columns=NAMES)):
        assert_allclose(detector.fit(X).score_samples(X), expected, rtol=1e-9)
    # Others do not count, nor does the place of the unchanged column.
    assert_allclose(detector.fit(BESIDE).score_samples(BESIDE), expected, rtol=1e-9)
    turned = pd.DataFrame(ODDS, columns=NAMES)[NAMES[::-1]]
    assert_allclose(detector.fit(turned).score_samples(turned), expected, rtol=1e-9)


def test_saturated_log_odds():
    X = np.array([[900.0, 800, 800], [40, 40, -900], [0, 45, 45]])
    stable = StableConfidence(random_state=0).fit(ODDS)
    assert stable.score_samples(X).tolist() == [800, -430, 45]
    drop = ConfidenceDrop(random_state=0).fit(ODDS)
    assert drop.score_samples(X).tolist() == [-100, -470, 45]


@pytest.mark.parametrize("make", [StableConfidence, ConfidenceDrop])
def test_warns_of_changes_that_are_not_small(make):
    lost = ODDS.copy()
    # Of those of which the network is not sure anyway, nothing is lost.
    sure = np.flatnonzero(ODDS[:, 0] > 0)
    lost[:, 1:] = 1
    lost[ODDS[:, 0] < 0, 2] = -1
    make(random_state=0).fit(FeatureArray(lost, NAMES))
    lost[sure[: len(sure) // 3], 2] = -1
    with pytest.warns(UserWarning, match=r"log_odds_flip is below 0 for \d\d%"):
        make(random_state=0).fit(FeatureArray(lost, NAMES))


@pytest.mark.parametrize("make", [StableConfidence, ConfidenceDrop])
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (WITHOUT, r"X must have the columns log_odds_unchanged .*add the family"),
        (ODDS[:, :1], r"n_features=1\); got no such names"),
        (np.hstack([BESIDE, BESIDE]), "it has 2, of 'stability', 'stability'"),
    ],
)
def test_missing_columns(make, X, message):
    with pytest.raises(ValueError, match=message):
        make().fit(X)


def test_detectors_of_layers_leave_them_out():
    gaussian = ClassConditionalGaussian(random_state=0)
    found = gaussian.fit(BESIDE).score_samples(BESIDE)
    assert gaussian.block_names_ == ["layers__conv + layers__logits"]
    assert_array_equal(found, gaussian.fit(WITHOUT).score_samples(WITHOUT))
    # Widths that are given count, whatever the names are.
    widths = ClassConditionalGaussian(blocks=[-1, 3], random_state=0).fit(BESIDE)
    assert widths._columns[0].tolist() == list(range(8))


def test_no_last_layer_is_made_of_them():
    detector = DeepKNN(n_neighbors=3, random_state=0).fit(BESIDE)
    assert detector.layer_ == "layers__conv"
    with pytest.raises(ValueError, match="X must hold the features of a layer before"):
        DeepKNN().fit(FeatureArray(BESIDE[:, 2:], BESIDE.feature_names[2:]))


def test_as_parts_of_a_combination():
    parts = [
        ("stable", StableConfidence()),
        ("drop", ConfidenceDrop(copies="worst")),
        ("density", ClassConditionalGaussian(include_logits=False)),
    ]
    detector = CombinedDetector(parts, random_state=0).fit(BESIDE)
    for name, part in (("stable", "columns_"), ("drop", "columns_")):
        assert getattr(detector.detectors_[name], part).tolist() == [2, 3, 4]
    assert detector.detectors_["density"].block_names_ == ["layers__conv"]
    # Each part scores as it does alone.
    alone = ConfidenceDrop(copies="worst", random_state=0).fit(BESIDE)
    order = np.argsort(alone.score_samples(BESIDE), kind="stable")
    assert (np.diff(detector.log_p_values(BESIDE)[order, 1]) >= -1e-12).all()
    blocks = CombinedDetector(parts, blocks=[-1, 3], random_state=0)
    with pytest.raises(ValueError, match="X must have the columns log_odds_unchanged"):
        blocks.fit(BESIDE)
