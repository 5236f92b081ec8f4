"""Which columns are the features, for the detectors over the last layer."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skgrad import CombinedDetector, Energy
from skgrad.detectors import RMDS, DeepKNN
from skgrad.feature_extraction import FeatureArray

NAMES = ["a__conv_0", "a__conv_1", "a__last_0", "a__last_1", "a__logits_0"]
NAMES += ["a__logits_1", "a__wide_0"]
X = np.random.default_rng(0).normal(size=(100, 7))
NAMED = FeatureArray(X, NAMES)


def features_of(**options):
    return DeepKNN(n_neighbors=3, random_state=0, **options).fit(NAMED).features_


def test_the_block_before_the_logits_or_the_one_named():
    detector = DeepKNN(n_neighbors=3, random_state=0).fit(NAMED)
    assert detector.layer_ == "a__last"
    assert detector.features_ == slice(2, 4)
    assert detector.logits_ == slice(4, 6)
    assert features_of(layer="conv") == slice(0, 2)
    assert features_of(layer="a__wide") == slice(6, 7)
    assert features_of(layer="logits") == slice(4, 6)
    # Widths take precedence over names, and the logits are the last of them.
    assert features_of(blocks=[2, -1, 2]) == slice(2, 5)


def test_only_the_features_and_the_predicted_class_count():
    changed = X.copy()
    changed[:, [0, 1, 6]] += 5
    changed[:, 4:6] *= 3
    for detector in (RMDS(random_state=0), DeepKNN(random_state=0)):
        detector.fit(NAMED)
        expected = detector.score_samples(NAMED)
        assert_array_equal(
            detector.score_samples(FeatureArray(changed, NAMES)), expected
        )


def test_as_parts_of_a_combination():
    parts = [("energy", Energy()), ("RMDS", RMDS()), ("conv", DeepKNN(layer="conv"))]
    detector = CombinedDetector(parts, random_state=0).fit(NAMED)
    assert detector.detectors_["RMDS"].features_ == slice(2, 4)
    assert detector.detectors_["conv"].features_ == slice(0, 2)


def test_wrong_layers():
    with pytest.raises(ValueError, match=r"one of the blocks.*'a__conv', 'a__last'"):
        DeepKNN(layer="convolution").fit(NAMED)
    logits = FeatureArray(X[:, :3], ["logits_0", "logits_1", "logits_2"])
    with pytest.raises(ValueError, match=r"features of a layer before .*'penultimate'"):
        DeepKNN().fit(logits)
