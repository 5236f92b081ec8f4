"""Mahalanobis: the paper's equations, and what is numerically delicate."""

import numpy as np
import pytest
import torch
from networks import layer_names
from novelty_detectors import fitted_rows
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad.baselines import Mahalanobis
from skgrad.detectors._combined import LogPValues

# A threshold for which few samples suffice.
FEW = {"target_fpr": 0.5, "random_state": 0}


def small_net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)
    ).double()


def rows(n_samples, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(scale=scale, size=(n_samples, 6))


def distance(features, classes, queries):
    """Eq. 1 and 2 of the paper, with numpy."""
    labels = np.unique(classes)
    means = np.stack([features[classes == c].mean(axis=0) for c in labels])
    deviations = features - means[np.searchsorted(labels, classes)]
    covariance = deviations.T @ deviations / len(features)
    inverse = np.linalg.inv(covariance)
    differences = queries[:, None] - means
    squares = np.einsum("nci,ij,ncj->nc", differences, inverse, differences)
    return (-squares).max(axis=1)


def unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize("normalize", [False, True])
def test_equations_with_numpy(normalize):
    net, X, queries = small_net(), rows(400), rows(50, seed=1, scale=3)
    detector = Mahalanobis(net, normalize=normalize, random_state=0).fit(X)
    fit = fitted_rows(X)
    with torch.no_grad():
        features, others = (
            net[:4](torch.from_numpy(a)).numpy() for a in (fit, queries)
        )
        classes = net(torch.from_numpy(fit)).argmax(dim=1).numpy()
    if normalize:
        features, others = unit(features), unit(others)
    expected = distance(features, classes, others)
    assert_allclose(detector.score_samples(queries), expected, rtol=1e-3)
    assert_array_equal(detector.modelled_classes_, np.unique(classes))
    assert len(set(classes)) > 1


def test_the_step_raises_the_confidence_as_finite_differences_say():
    net, X = small_net(), rows(400)
    queries = rows(20, seed=1)
    still = Mahalanobis(net, random_state=0).fit(X)
    eps, step = 0.01, 1e-6
    moved = Mahalanobis(net, eps=eps, random_state=0).fit(X)
    slopes = np.stack(
        [
            still.score_samples(queries + step * unit)
            - still.score_samples(queries - step * unit)
            for unit in np.eye(6)
        ],
        axis=1,
    )
    expected = still.score_samples(queries + eps * np.sign(slopes))
    assert_allclose(moved.score_samples(queries), expected, rtol=1e-9)
    assert (expected > still.score_samples(queries)).all()


def test_fisher_adds_the_log_p_values_of_layers():
    eps = 0.01
    net, X, queries = small_net(), rows(400), rows(30, seed=1, scale=2)
    layers = ["0", "2"]
    both = Mahalanobis(net, layers=layers, eps=eps, random_state=0).fit(X)
    # The same split, redrawn: held out, reference, fit.
    generator = np.random.RandomState(0)
    left = X[generator.permutation(400)[80:]]
    order = generator.permutation(320)
    fit, reference = left[order[64:]], left[order[:64]]
    expected = 0
    for layer in layers:
        one = Mahalanobis(net, layers=layer, eps=eps, **FEW)
        # One sample held out of as many copies of the rows.
        one.set_params(calibration_fraction=1e-6).fit(np.concatenate([fit] * 100))
        known = np.sort(one.score_samples(reference))
        expected = expected + LogPValues(known).of(one.score_samples(queries))
    assert_allclose(both.score_samples(queries), expected, rtol=0.01, atol=0.05)


@pytest.mark.parametrize("n_samples", [2, 4])
def test_fewer_samples_than_channels(n_samples):
    net = small_net()
    detector = Mahalanobis(net, layers="all", **FEW).fit(rows(n_samples))
    assert np.isfinite(detector.score_samples(rows(20, scale=100))).all()


def test_a_constant_channel_counts_when_it_varies():
    net = nn.Sequential(nn.Identity(), nn.Linear(6, 3)).double()
    X = rows(300)
    X[:, 5] = 7.0
    detector = Mahalanobis(net, random_state=0).fit(X)
    queries = np.stack([X[0], X[0] + np.eye(6)[5]])
    assert detector.predict(queries).tolist() == [1, -1]
    same = Mahalanobis(net, **FEW).fit(np.ones((20, 6)))
    assert_allclose(same.score_samples(np.ones((2, 6))), 0, atol=1e-12)
    assert same.predict(np.ones((1, 6)) * 3).tolist() == [-1]


def test_layers_by_name():
    net, X = small_net(), rows(60)
    every = layer_names(Mahalanobis(net, layers="all", **FEW).fit(X))
    assert every == ["0", "2", "penultimate"]
    assert layer_names(Mahalanobis(net, layers=np.array(["2"]), **FEW).fit(X)) == ["2"]


def test_all_layers_without_one_that_returns_the_logits():
    net = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3), nn.Tanh()).double()
    assert layer_names(Mahalanobis(net, layers="all", **FEW).fit(rows(60))) == [
        "0",
        "1",
    ]
