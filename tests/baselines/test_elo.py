"""ELO: the choice of the layer, the description, and the use of anomalies."""

import numpy as np
import pytest
import torch
from networks import AnyWidth, layer_names
from numpy.testing import assert_allclose
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

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


def strange(n_samples, seed, columns=slice(3, None), factor=6):
    X = rows(n_samples, seed)
    X[:, columns] *= factor
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


# Anomalies in the columns that the second layer keeps show better there.
@pytest.mark.parametrize(
    ("columns", "factor", "layer"), [(slice(3, None), 6, "0"), (slice(3), 4, "1")]
)
@pytest.mark.parametrize(
    "convert", [np.asarray, TensorDataset, lambda X: DataLoader(TensorDataset(X), 50)]
)
def test_known_anomalies_choose_the_layer(columns, factor, layer, convert):
    X = np.concatenate([rows(300), strange(100, 1, columns, factor)])
    y = np.repeat([1, -1], [300, 100])
    data = convert(torch.from_numpy(X))
    assert layer_names(ELO(small_net(), random_state=0).fit(data, y)) == [layer]
    choice = MostDiscriminativeLayer(small_net(), random_state=0).fit(X, y)
    assert choice.layer_ == layer


def test_known_anomalies_choose_nothing_but_the_layer():
    net = small_net()
    X, y = np.concatenate([rows(300), strange(100, 1)]), np.repeat([1, -1], [300, 100])
    detector = ELO(net, random_state=0).fit(X, y)
    alone = ELO(net, layers="0", random_state=0).fit(X[:300])
    queries = np.concatenate([rows(100, 2), strange(100, 3)])
    assert_allclose(detector.score_samples(queries), alone.score_samples(queries))
    assert auroc(np.repeat([1, -1], 100), detector.score_samples(queries)) > 0.95


def test_generated_anomalies_choose_the_layer():
    detector = ELO(small_net(), layers=["0", "1"], random_state=0).fit(rows(300))
    assert detector.layers_[0].name in ("0", "1")


def test_a_model_without_candidates_raises():
    with pytest.raises(ValueError, match="model must have a layer to choose"):
        ELO(AnyWidth()).fit(rows(60))
