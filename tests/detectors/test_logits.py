"""The scores of logits alone, in closed form."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax

from skgrad import Energy, MaxLogit, MaxSoftmaxProbability
from skgrad.detectors import GEN
from skgrad.feature_extraction import FeatureArray

LOGITS = np.random.default_rng(0).normal(scale=3, size=(100, 3))


def log_odds(logits):
    probability = softmax(logits, axis=1).max(axis=1)
    return np.log(probability / (1 - probability))


def gen(logits):
    probability = softmax(logits, axis=1)
    return -np.log(((probability * (1 - probability)) ** 0.1).sum(axis=1))


SCORES = [
    (GEN, gen),
    (Energy, lambda logits: np.log(np.exp(logits).sum(axis=1))),
    (MaxLogit, lambda logits: [max(row) for row in logits.tolist()]),
    (MaxSoftmaxProbability, log_odds),
]


@pytest.mark.parametrize(("make", "expected"), SCORES)
def test_by_definition(make, expected):
    detector = make(random_state=0).fit(LOGITS)
    assert_allclose(detector.score_samples(LOGITS), expected(LOGITS), rtol=1e-9)


@pytest.mark.parametrize(("make", "_"), SCORES)
def test_columns_of_the_logits(make, _):
    expected = make(random_state=0).fit(LOGITS).score_samples(LOGITS)
    # Without a block of that name all columns are logits.
    frame = pd.DataFrame(LOGITS, columns=["cat", "dog", "bird"])
    detector = make(random_state=0).fit(frame)
    assert detector.logits_ == slice(0, 3)
    assert_array_equal(detector.score_samples(frame), expected)
    names = ["conv_0", "conv_1", "logits_0", "logits_1", "logits_2"]
    X = FeatureArray(np.hstack([100 + LOGITS[:, :2], LOGITS]), names)
    detector = make(random_state=0).fit(X)
    assert detector.logits_ == slice(2, 5)
    assert_array_equal(detector.score_samples(X), expected)


def test_saturated_logits():
    sure = np.array([[40.0, 0, 0], [60, 0, 0], [900, 0, 0]])
    detector = MaxSoftmaxProbability(random_state=0).fit(LOGITS)
    assert_allclose(detector.score_samples(sure), sure[:, 0] - np.log(2))
    energy = Energy(random_state=0).fit(LOGITS)
    assert_allclose(energy.score_samples(sure), [40, 60, 900])
    # p^.1 (1 - p)^.1 of the classes: that of the first is 2^.1 times that of another,
    # e^-z.
    gen = GEN(random_state=0).fit(LOGITS)
    expected = 0.1 * sure[:, 0] - np.log(2 + 2**0.1)
    assert_allclose(gen.score_samples(sure), expected)


def test_gen_of_the_largest_probabilities():
    logits = np.log([[0.5, 0.3, 0.15, 0.05]])
    X = np.random.default_rng(0).normal(size=(100, 4))
    detector = GEN(gamma=0.5, n_largest=2, random_state=0).fit(X)
    expected = -np.log(np.sqrt(0.5 * 0.5) + np.sqrt(0.3 * 0.7))
    assert_allclose(detector.score_samples(logits), expected)
