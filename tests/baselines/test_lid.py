"""LID: the paper's estimate, and distances that are zero or all alike."""

import copy
import math

import numpy as np
import pytest
import torch
from networks import seeded
from numpy.testing import assert_allclose
from scipy.stats import spearmanr
from sklearn.neighbors import NearestNeighbors
from torch import nn

from skgrad.baselines import LID
from skgrad.baselines._lid import local_dimensionality
from skgrad.metrics import auroc

# Distances of neighbours in the columns are exact.
EXACT = {"rounding": 1e-14}


def small_net(dtype=torch.float64):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)


def rows(n_samples, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(scale=scale, size=(n_samples, 6))


def estimate(points, reference, k):
    """Return the paper's estimate with numpy, for points that are no reference."""
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


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_estimates_the_dimension_of_a_cube(dimension):
    generator = np.random.default_rng(0)
    reference = np.zeros((4000, 8))
    reference[:, :dimension] = generator.uniform(-1, 1, size=(4000, dimension))
    centres = np.zeros((200, 8))
    centres[:, :dimension] = generator.uniform(-0.2, 0.2, size=(200, dimension))
    # Of 200 estimates by 20 neighbours the mean harmonic one scatters by 2 per cent.
    found = 1 / np.mean(1 / dimensionality(centres, reference, 20))
    # The farthest neighbour is its own yardstick, hence 19 of 20 terms.
    assert found * 19 / 20 == pytest.approx(dimension, rel=0.1)


def test_itself_and_twins_are_no_neighbours():
    reference = rows(100)
    expected = [
        estimate(reference[i : i + 1], np.delete(reference, i, axis=0), 20)[0]
        for i in range(10)
    ]
    assert_allclose(dimensionality(reference[:10], reference, 20), expected, rtol=1e-9)
    # Everything twice: twice as many neighbours at the same distances.
    twice = np.concatenate([reference, reference])
    assert_allclose(dimensionality(reference[:10], twice, 40), expected, rtol=1e-9)


def test_rounding_does_not_make_neighbours():
    reference = rows(100)
    nearly = reference[:10] * (1 + 1e-7)
    expected = dimensionality(reference[:10], reference, 20)
    found = dimensionality(nearly, reference, 20, rounding=3e-6)
    assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("points", "reference", "expected"),
    [
        ([[1.0]], [[1.0]] * 5, 0.0),  # nothing but twins
        ([[2.0]], [[1.0]] * 5, 1e4),  # all neighbours equally far
        ([[0.0]], [[1.0]], 1e4),  # one neighbour
        ([[0.0]], [[1.0], [math.e]], 2.0),  # fewer than k
        ([[1.0]], [[1.0], [2.0], [1 + math.e]], 2.0),  # fewer, with a twin
    ],
)
def test_degenerate_neighbours(points, reference, expected):
    assert_allclose(dimensionality(points, reference, 20), [expected])


def test_score_of_one_layer_is_minus_the_estimate():
    net, X, queries = small_net(), rows(400), rows(30, seed=1)
    detector = LID(net, layers="0", n_reference=100, random_state=0).fit(X)
    assert detector.n_reference_ == 100
    # The same draw: held out, then the reference of the rest.
    generator = np.random.RandomState(0)
    left = X[generator.permutation(400)[80:]]
    reference = left[np.sort(generator.permutation(320)[:100])]
    with torch.no_grad():
        features, others = (
            net[0](torch.from_numpy(a)).numpy() for a in (queries, reference)
        )
    expected = -estimate(features, others, 20)
    assert_allclose(detector.score_samples(queries), expected, rtol=1e-9)


@pytest.mark.parametrize("combination", ["fisher", "logistic"])
def test_tells_what_lies_off_the_surface(combination):
    net = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    plane = np.random.default_rng(0).normal(size=(2, 6))

    def draw(n_samples, seed, off):
        generator = np.random.default_rng(seed)
        noise = generator.normal(scale=off, size=(n_samples, 6))
        return generator.normal(size=(n_samples, 2)) @ plane + noise

    X, y = draw(700, 1, 0.001), np.ones(700)
    if combination == "logistic":
        X, y = np.concatenate([X, draw(100, 2, 1)]), np.append(y, -np.ones(100))
    detector = LID(net, combination=combination, random_state=0).fit(X, y)
    assert detector.layers_ == ["0", "penultimate"]
    queries = np.concatenate([draw(200, 3, 0.001), draw(200, 4, 1)])
    assert auroc(np.repeat([1, -1], 200), detector.score_samples(queries)) > 0.9


@pytest.mark.parametrize("pooling", ["mean", "max", "none"])
def test_poolings(pooling):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)).double()
    X = np.random.default_rng(0).normal(size=(160, 1, 4, 4))
    detector = LID(net, layers="0", pooling=pooling, random_state=0).fit(X)
    (reference,) = detector._references
    assert reference.shape[1] == (8 if pooling == "none" else 2)
    assert np.isfinite(detector.score_samples(X)).all()


def test_training_samples_score_as_others_do_in_float32():
    net, X = small_net(torch.float32), rows(400).astype(np.float32)
    detector = LID(net, layers="0", random_state=0).fit(X)
    rejected = {
        size: (detector.set_params(batch_size=size).predict(X) == -1).mean()
        for size in (1, 7, 400)
    }
    assert max(rejected.values()) < 0.15
    assert len(set(rejected.values())) == 1


def test_bad_parameters():
    with pytest.raises(ValueError, match="'n_neighbors' parameter"):
        LID(small_net(), n_neighbors=1).fit(rows(50))
    with pytest.raises(ValueError, match="'n_reference' parameter"):
        LID(small_net(), n_reference=1).fit(rows(50))
    with pytest.raises(ValueError, match="learns from known anomalies"):
        LID(small_net(), combination="logistic").fit(rows(50))


class Misnamed(nn.Module):
    """Has layers of names that stand for something else."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.penultimate = nn.Linear(5, 5)
        self.logits = nn.Linear(5, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.logits(self.penultimate(self.first(x))))


def test_all_layers_where_some_have_names_that_stand_for_others():
    rows = np.random.default_rng(0).normal(size=(200, 6)).astype("float32")
    detector = LID(seeded(Misnamed), random_state=0).fit(rows)
    assert detector.layers_ == ["first", "penultimate"]
    # The latter is still what goes into the head.
    net = detector.model
    with torch.no_grad():
        x = torch.from_numpy(rows)
        expected = net.logits(net.penultimate(net.first(x)))
    ours = detector._references[1]
    apart = np.abs(ours[:, None] - expected.numpy()[None]).max(axis=2)
    assert apart.min(axis=1).max() < 1e-5


def test_half_precision_keeps_the_neighbours():
    X = 3 + np.random.default_rng(0).normal(size=(300, 6)).astype("float32")
    net = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))
    half = copy.deepcopy(net).bfloat16()
    one, other = (
        LID(n, layers="0", random_state=0).fit(X).score_samples(X) for n in (net, half)
    )
    assert spearmanr(one, other)[0] > 0.9
