"""KD+BU: density and uncertainty against independent computations."""

import numpy as np
import pytest
import torch
from networks import AnyWidth
from numpy.testing import assert_allclose
from sklearn.neighbors import KernelDensity
from torch import nn

from skgrad.baselines import KernelDensityUncertainty
from skgrad.baselines._kernel_density import likeliest_bandwidth, log_kernel_density

FEW = {"target_fpr": 0.5, "random_state": 0}


def rows(n_samples, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(scale=scale, size=(n_samples, 6))


def fitted_rows(X, seed=0):
    """Return the rows that are not held out."""
    order = np.random.RandomState(seed).permutation(len(X))
    return X[order[int(np.ceil(0.2 * len(X))) :]]


def outputs(net, X):
    """Return the input of the head, and the predicted classes."""
    with torch.no_grad():
        hidden = net.bend(torch.from_numpy(X) @ net.weight[:, :6].T / 8)
        return hidden.numpy(), net.head(hidden).argmax(dim=1).numpy()


def test_density_is_scikit_learns():
    net, X, queries = AnyWidth(), rows(300), rows(40, seed=1)
    detector = KernelDensityUncertainty(net, bandwidth=0.3, n_passes=0, random_state=0)
    scores = detector.fit(X).score_samples(queries)
    features, classes = outputs(net, fitted_rows(X))
    points, predicted = outputs(net, queries)
    assert len(set(predicted)) > 1
    for label in set(predicted):
        density = KernelDensity(bandwidth=0.3).fit(features[classes == label])
        mine = predicted == label
        expected = density.score_samples(points[mine])
        assert_allclose(scores[mine], expected, rtol=1e-6)


def test_uncertainty_with_dropout_written_out():
    # Dropout before the head of a network whose features are its inputs.
    torch.manual_seed(0)
    head = nn.Linear(6, 3).double()
    net = nn.Sequential(nn.Dropout(0.25), head)
    X, queries = rows(200), rows(40, seed=1)
    detector = KernelDensityUncertainty(net, n_passes=8, random_state=0).fit(X)
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    softmax = []
    for seed in detector._seeds:
        torch.manual_seed(seed)
        mask = nn.functional.dropout(torch.ones(1, 6, dtype=torch.float64), 0.25)
        logits = (queries * mask.numpy()) @ weight.T + bias
        odds = np.exp(logits)
        softmax.append(odds / odds.sum(axis=1, keepdims=True))
    softmax = np.array(softmax)
    # The formula of the paper.
    expected = (softmax**2).sum(axis=2).mean(axis=0) - (softmax.mean(axis=0) ** 2).sum(
        axis=1
    )
    with torch.no_grad():
        columns = detector._features(net.eval(), torch.from_numpy(queries))
    # Turned: an uncertain prediction is anomalous.
    assert_allclose(-columns[:, 1], expected, rtol=1e-9)
    assert expected.min() > 0


def test_likeliest_bandwidth_is_a_maximum_by_scikit_learn():
    features = np.random.default_rng(0).normal(size=(120, 4))
    found = likeliest_bandwidth(features, np.zeros(120))

    def likelihood(bandwidth):
        return sum(
            KernelDensity(bandwidth=bandwidth)
            .fit(np.delete(features, i, axis=0))
            .score_samples(features[i : i + 1])[0]
            for i in range(120)
        )

    # A class close to another does not make its neighbours nearer.
    both, classes = np.concatenate([features, features + 1e-6]), np.repeat([0, 1], 120)
    assert likeliest_bandwidth(both, classes) == pytest.approx(found)
    step = 2.0**0.25
    middle = likelihood(found)
    assert middle >= likelihood(found * step)
    assert middle >= likelihood(found / step)


@pytest.mark.parametrize("features", [np.ones((5, 2)), np.ones((1, 2))])
def test_bandwidth_of_samples_that_do_not_differ(features):
    assert likeliest_bandwidth(features, np.zeros(len(features))) == 1.0


def test_a_class_without_samples_takes_the_density_of_all():
    net = nn.Sequential(nn.Identity(), nn.Linear(2, 2, bias=False)).double()
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, 0], [-1, 0]]))
    X = np.abs(np.random.default_rng(0).normal(size=(100, 2)))
    detector = KernelDensityUncertainty(net, n_passes=0, bandwidth=1.0, random_state=0)
    detector.fit(X)
    assert detector.modelled_classes_.tolist() == [0]
    queries = np.array([[-0.1, 0.5], [-9, 0.5]])
    expected = KernelDensity(bandwidth=1.0).fit(fitted_rows(X)).score_samples(queries)
    assert_allclose(detector.score_samples(queries), expected, rtol=1e-9)


def test_far_away_is_finite_and_low():
    net = nn.Sequential(nn.Dropout(), nn.Linear(6, 3)).double()
    detector = KernelDensityUncertainty(net, n_passes=3, **FEW).fit(rows(60))
    scores = detector.score_samples(rows(5, scale=1e8))
    assert np.isfinite(scores).all()
    assert (scores < detector.offset_).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "dropout modules.* Set n_passes=0"),
        ({"n_passes": 1}, "n_passes must be 0 or"),
        ({"n_passes": 0, "layers": ["bend", "logits"]}, "layers must name one layer"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        KernelDensityUncertainty(AnyWidth(), **options).fit(rows(60))


@pytest.mark.parametrize("bandwidth", [1e-200, 1e200])
def test_bandwidths_whose_squares_overflow_or_vanish(bandwidth):
    features = torch.zeros(2, 3, dtype=torch.float64)
    density = log_kernel_density(features, features, bandwidth)
    expected = -1.5 * np.log(2 * np.pi) - 3 * np.log(bandwidth)
    assert_allclose(density, expected, rtol=1e-12)
