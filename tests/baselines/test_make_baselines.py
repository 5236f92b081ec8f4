"""All baselines at once: fitted with and without known anomalies."""

import numpy as np
import pytest
from networks import BatchNormNet, images, seeded
from sklearn.base import is_outlier_detector
from torch import nn

from skgrad.baselines import make_baselines
from skgrad.metrics import auroc

X = images(150, (2, 6, 6)) / 4
OTHERS = 1 - images(40, (2, 6, 6), seed=1) / 4


def test_all_are_detectors_that_fit_and_score():
    for name, detector in make_baselines(seeded(BatchNormNet), random_state=0).items():
        assert is_outlier_detector(detector)
        assert np.isfinite(detector.fit(X).score_samples(OTHERS)).all(), name


def test_those_that_learn_from_anomalies_find_others():
    net = seeded(BatchNormNet)
    learners = make_baselines(net, learn_from_anomalies=True, random_state=0)
    assert list(learners) == ["Mahalanobis FE", "Mahalanobis P+FE", "LID", "KD+BU"]
    y = np.repeat([1, -1], [len(X), 20])
    for name, detector in learners.items():
        with pytest.raises(ValueError, match="y labels none"):
            detector.fit(X)
        detector.fit(np.concatenate([X, OTHERS[:20]]), y)
        scores = detector.score_samples(np.concatenate([X, OTHERS[20:]]))
        assert auroc(y, scores) > 0.9, name


def test_shared_parameters_reach_every_baseline():
    options = {"input_shape": (2, 6, 6), "batch_size": 50, "verbose": 0}
    for detector in make_baselines(seeded(BatchNormNet), **options).values():
        part = detector[0] if hasattr(detector, "steps") else detector
        assert {name: part.get_params()[name] for name in options} == options


def test_density_alone_without_dropout():
    net = nn.Sequential(nn.Flatten(), seeded(lambda: nn.Linear(72, 3)))
    assert "KD" in make_baselines(net)
    assert "KD+BU" not in make_baselines(net)
