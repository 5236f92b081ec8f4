"""ELO: the choice of the layer, the description, and the use of anomalies."""

import numpy as np
import pytest
import torch
from networks import AnyWidth, BatchNormNet, images, seeded
from numpy.testing import assert_allclose
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from torch import nn
from torch.utils.data import TensorDataset

from skgrad import MostDiscriminativeLayer
from skgrad.baselines import ELO
from skgrad.metrics import auroc


def small_net():
    """Make a network whose second layer loses half of the input."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    with torch.no_grad():
        net[0].weight.copy_(torch.eye(6))
        net[1].weight[:, 3:] = 0
    return net.double()


def rows(n_samples, seed=0):
    return np.random.default_rng(seed).normal(size=(n_samples, 6))


def strange(n_samples, seed):
    X = rows(n_samples, seed)
    X[:, 3:] *= 6
    return X


def test_scores_are_those_of_scikit_learn():
    net, X, queries = small_net(), rows(300), rows(40, seed=1)
    detector = ELO(net, layers="1", nu=0.1, random_state=0).fit(X)
    fit = X[np.random.RandomState(0).permutation(300)[60:]]
    with torch.no_grad():
        features, points = (
            net[:2](torch.from_numpy(a)).numpy() for a in (fit, queries)
        )
    scale = StandardScaler().fit(features)
    svm = OneClassSVM(nu=0.1).fit(scale.transform(features))
    expected = svm.score_samples(scale.transform(points))
    assert_allclose(detector.score_samples(queries), expected, rtol=1e-6)


def test_known_anomalies_choose_the_layer_and_nothing_else():
    net = small_net()
    X = np.concatenate([rows(300), strange(100, 1)])
    y = np.repeat([1, -1], [300, 100])
    detector = ELO(net, random_state=0).fit(TensorDataset(torch.from_numpy(X)), y)
    assert detector.layers_ == ["0"]
    choice = MostDiscriminativeLayer(net, random_state=0).fit(X, y)
    assert choice.layer_ == "0"
    # Given the layer, no anomalies are needed.
    alone = ELO(net, layers="0", random_state=0).fit(X[:300])
    queries = np.concatenate([rows(100, 2), strange(100, 3)])
    assert_allclose(detector.score_samples(queries), alone.score_samples(queries))
    assert auroc(np.repeat([1, -1], 100), detector.score_samples(queries)) > 0.95


def test_generated_anomalies_choose_the_layer():
    net, X = seeded(BatchNormNet), images(160, (2, 6, 6))
    detector = ELO(net, layers=["conv", "norm"], random_state=0).fit(X)
    assert detector.layers_[0] in ("conv", "norm")


def test_a_model_without_candidates_raises():
    with pytest.raises(ValueError, match="model must have a layer to choose"):
        ELO(AnyWidth()).fit(rows(60))
