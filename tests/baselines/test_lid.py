"""LID: the paper's estimate, and distances that are zero or all equal."""

import copy
import math
from collections import OrderedDict
from itertools import pairwise

import numpy as np
import pytest
import torch
from networks import layer_names, seeded
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist
from scipy.stats import spearmanr
from sklearn.neighbors import NearestNeighbors
from torch import nn

from skgrad.baselines import LID
from skgrad.baselines._lid import local_dimensionality

# Distances of neighbours in the columns are exact.
EXACT = {"rounding": 1e-14}


def small_net(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)


def rows(n_samples, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(scale=scale, size=(n_samples, 6))


def estimate(points, reference, k):
    """Return the paper's estimate with numpy, for points outside the reference."""
    neighbours = NearestNeighbors(n_neighbors=k).fit(reference)
    r = neighbours.kneighbors(points)[0]
    return -1 / np.log(r / r[:, -1:]).mean(axis=1)


def dimensionality(points, reference, k, **options):
    points, reference = (
        torch.tensor(np.asarray(a), dtype=torch.float64) for a in (points, reference)
    )
    return local_dimensionality(points, reference, k, **{**EXACT, **options}).numpy()


def test_by_hand():
    # Neighbours at 1, 2 and 4; the fourth is one too many.
    reference = [[1.0], [-2.0], [4.0], [9.0]]
    expected = 3 / (math.log(4) + math.log(2))
    assert_allclose(dimensionality([[0.0]], reference, 3), [expected])


def test_equation_with_numpy():
    points, reference = rows(30), rows(200, seed=1)
    found = dimensionality(points, reference, 20)
    assert_allclose(found, estimate(points, reference, 20), rtol=1e-9)


def test_the_point_itself_and_copies_are_no_neighbours():
    reference = rows(100)
    expected = [
        estimate(reference[i : i + 1], np.delete(reference, i, axis=0), 20)[0]
        for i in range(10)
    ]
    assert_allclose(dimensionality(reference[:10], reference, 20), expected, rtol=1e-9)
    # All points twice: twice as many neighbours at the same distances.
    twice = np.concatenate([reference, reference])
    assert_allclose(dimensionality(reference[:10], twice, 40), expected, rtol=1e-9)


def test_rounding_makes_no_neighbours():
    reference = rows(100)
    nearly = reference[:10] * (1 + 1e-7)
    expected = dimensionality(reference[:10], reference, 20)
    found = dimensionality(nearly, reference, 20, rounding=3e-6)
    assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("points", "reference", "expected"),
    [
        ([[1.0]], [[1.0]] * 5, 0.0),  # only copies
        ([[2.0]], [[1.0]] * 5, 1e4),  # all neighbours equally far
        ([[0.0]], [[1.0]], 1e4),  # one neighbour
        ([[0.0]], [[1.0], [math.e]], 2.0),  # fewer than k
        ([[1.0]], [[1.0], [2.0], [1 + math.e]], 2.0),  # fewer, with a copy
    ],
)
def test_degenerate_neighbours(points, reference, expected):
    assert_allclose(dimensionality(points, reference, 20), [expected])


def test_score_of_one_layer_is_minus_the_estimate():
    net, X, queries = small_net(), rows(400), rows(30, seed=1)
    detector = LID(net, layers="0", n_reference=100, random_state=0).fit(X)
    assert detector.n_reference_ == 100
    # The same draw: the held-out samples, then the reference among the rest.
    generator = np.random.RandomState(0)
    left = X[generator.permutation(400)[80:]]
    reference = left[np.sort(generator.permutation(320)[:100])]
    with torch.no_grad():
        features, others = (
            net[0](torch.from_numpy(a)).numpy() for a in (queries, reference)
        )
    expected = -estimate(features, others, 20)
    assert_allclose(detector.score_samples(queries), expected, rtol=1e-9)


def test_maps_are_pooled():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)).double()
    X = np.random.default_rng(0).normal(size=(160, 1, 4, 4))
    detector = LID(net, layers="0", pooling="max", random_state=0).fit(X)
    # Held out are the first of the order; the rest is the reference.
    order = np.random.RandomState(0).permutation(160)
    with torch.no_grad():
        maps = net[0](torch.from_numpy(X)).amax(dim=(2, 3)).numpy()
    expected = -estimate(maps[order[:32]], maps[order[32:]], 20)
    assert_allclose(detector.calibration_scores_, expected, rtol=1e-9)


def test_training_samples_score_as_others_in_float32():
    net, X = small_net(torch.float32), rows(400).astype(np.float32)
    detector = LID(net, layers="0", random_state=0).fit(X)
    assert (detector.predict(X) == -1).mean() < 0.15
    expected = detector.set_params(batch_size=400).score_samples(X)
    # Scores, not verdicts: one sample lies on the threshold, and rounding moves it.
    for size in (1, 7):
        scores = detector.set_params(batch_size=size).score_samples(X)
        assert_allclose(scores, expected, rtol=1e-5)


def test_all_layers_of_a_network_with_reserved_names():
    names, widths = ["first", "penultimate", "logits", "head"], [6, 5, 5, 5, 3]
    layers = [nn.Linear(*pair).double() for pair in pairwise(widths)]
    net = nn.Sequential(OrderedDict(zip(names, layers, strict=True)))
    X = rows(200)
    detector = LID(net, random_state=0).fit(X)
    assert layer_names(detector) == ["first", "penultimate"]
    # The latter is still the input of the head.
    with torch.no_grad():
        expected = net[:3](torch.from_numpy(X)).numpy()
    assert cdist(detector._references[1], expected).min(axis=1).max() < 1e-9


def test_half_precision_keeps_the_neighbours():
    X = 3 + np.random.default_rng(0).normal(size=(300, 6)).astype("float32")
    net = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))
    half = copy.deepcopy(net).bfloat16()
    one, other = (
        LID(n, layers="0", random_state=0).fit(X).score_samples(X) for n in (net, half)
    )
    assert spearmanr(one, other)[0] > 0.9
