"""What must hold of features, scores, metrics and attacks for any network and data."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skgrad import (
    LODA,
    ClassConditionalGaussian,
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    Energy,
    LayerActivationTransformer,
    MaxLogit,
    MaxSoftmaxProbability,
    PerClassSVDD,
)
from skgrad.baselines import ODIN, GradNorm

HALVES = {"target_fpr": 0.5, "calibration_fraction": 0.5, "random_state": 0}
few = settings(max_examples=8, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 10_000)
shapes = st.sampled_from([(3,), (5,), (2, 6), (1, 4, 4), (3, 4, 5)])

TRANSFORMERS = {
    "parameter gradients": ConfoundingGradientTransformer,
    "parameter gradients, each class": lambda model, **options: (
        ConfoundingGradientTransformer(model, label="each", **options)
    ),
    "input gradients": CosineSimilarityMatrixTransformer,
    "input gradients, matrix": lambda model, **options: (
        CosineSimilarityMatrixTransformer(model, output="upper", sign=False, **options)
    ),
    "activations": LayerActivationTransformer,
}
DETECTORS = {
    "LODA": lambda **options: LODA(n_cuts=10, **options),
    "SVDD per class": lambda **options: PerClassSVDD(blocks=[-1, 3], **options),
    "Gaussian per class": lambda **options: ClassConditionalGaussian(
        blocks=[-1, 3], **options
    ),
    "tied Gaussian": lambda **options: ClassConditionalGaussian(
        blocks=[-1, 3], covariance="tied", **options
    ),
    "energy": Energy,
    "largest logit": MaxLogit,
    "largest probability": MaxSoftmaxProbability,
}


@st.composite
def networks(draw, n_classes=3):
    """Draw a small smooth network in float64, and inputs for it."""
    shape, seed = draw(shapes), draw(seeds)
    torch.manual_seed(seed)
    layers = []
    width = int(np.prod(shape))
    if len(shape) > 1:
        make = nn.Conv1d if len(shape) == 2 else nn.Conv2d
        layers += [make(shape[0], 3, 3, padding=1), nn.Tanh()]
        width = width // shape[0] * 3
    hidden = draw(st.integers(2, 6))
    layers += [nn.Flatten(), nn.Linear(width, hidden), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(hidden, n_classes)).double()
    n_samples = draw(st.integers(4, 9))
    X = np.random.default_rng(seed).uniform(size=(n_samples, *shape))
    return model, X


def close(one, other):
    assert_allclose(one, other, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("name", TRANSFORMERS)
@few
@given(drawn=networks(), batch_size=st.integers(1, 10), seed=seeds)
def test_features_do_not_depend_on_batches(name, drawn, batch_size, seed):
    model, X = drawn
    expected = np.asarray(TRANSFORMERS[name](model).fit(X).transform(X))
    # With repetitions.
    rows = np.random.default_rng(seed).integers(len(X), size=2 * len(X))
    features = TRANSFORMERS[name](model, batch_size=batch_size).fit(X)
    close(features.transform(X[rows]), expected[rows])


@pytest.mark.parametrize("name", DETECTORS)
@few
@given(seed=seeds)
def test_scores_do_not_depend_on_other_rows(name, seed):
    rng = np.random.default_rng(seed)
    X, new = rng.normal(size=(60, 5)), rng.normal(size=(7, 5))
    detector = DETECTORS[name](target_fpr=0.2, random_state=0).fit(X)
    rows = rng.integers(7, size=14)
    expected = detector.score_samples(new)
    close(detector.score_samples(new[rows]), expected[rows])


def head_permuted(model, order):
    """Return the model with its classes in another order."""
    twin = nn.Sequential(*model[:-1], nn.Linear(model[-1].in_features, len(order)))
    twin = twin.double()
    with torch.no_grad():
        twin[-1].weight.copy_(model[-1].weight[order])
        twin[-1].bias.copy_(model[-1].bias[order])
    return twin


@few
@given(drawn=networks(n_classes=4), order=st.permutations(range(4)))
def test_features_under_a_permutation_of_classes(drawn, order):
    model, X = drawn
    twin = head_permuted(model, list(order))

    def features(make, model, **options):
        return np.asarray(make(model, **options).fit(X).transform(X))

    # Labels that treat classes alike, and statistics of pairs, have no order.
    for label in ("all", "none"):
        one, other = (
            features(ConfoundingGradientTransformer, net, label=label)
            for net in (model, twin)
        )
        close(other, one)
    for sign in (True, False):
        one, other = (
            features(CosineSimilarityMatrixTransformer, net, sign=sign)
            for net in (model, twin)
        )
        close(other, one)
    # The columns of a class move with it.
    one, other = (
        features(LayerActivationTransformer, net, layers="logits")
        for net in (model, twin)
    )
    close(other, one[:, order])
    one, other = (
        features(ConfoundingGradientTransformer, net, label="each").reshape(
            len(X), 4, -1
        )
        for net in (model, twin)
    )
    same = np.allclose(np.sort(other, axis=1), np.sort(one, axis=1), rtol=1e-8)
    assert same
    one, other = (
        features(CosineSimilarityMatrixTransformer, net, output="upper", sign=False)
        for net in (model, twin)
    )
    rows, columns = np.triu_indices(4, 1)
    full = np.zeros((len(X), 4, 4))
    full[:, rows, columns] = full[:, columns, rows] = one
    close(other, full[:, order][:, :, order][:, rows, columns])


@pytest.mark.parametrize("name", [name for name in DETECTORS if name != "LODA"])
@few
@given(seed=seeds, order=st.permutations(range(3)))
def test_scores_under_a_permutation_of_classes(name, seed, order):
    rng = np.random.default_rng(seed)
    X, new = rng.normal(size=(80, 5)), rng.normal(size=(7, 5))
    columns = [0, 1, *(2 + place for place in order)]
    scores = [
        DETECTORS[name](target_fpr=0.2, random_state=0)
        .fit(X[:, where])
        .score_samples(new[:, where])
        for where in (list(range(5)), columns)
    ]
    assert_allclose(scores[1], scores[0], rtol=1e-5, atol=1e-6)


@few
@given(seed=seeds, scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_units_of_features(seed, scale, shift):
    rng = np.random.default_rng(seed)
    X, new = rng.normal(size=(80, 5)), rng.normal(size=(7, 5))
    loda = make_pipeline(
        StandardScaler(), LODA(n_cuts=10, target_fpr=0.2, random_state=0)
    )
    units = np.r_[scale, 1 / scale, 1, 1, 1]
    scores = loda.fit(X).score_samples(new)
    # A value that lies, but for rounding, on the edge of a bin may change sides.
    apart = np.isclose(
        loda.fit(X * units + shift).score_samples(new * units + shift),
        scores,
        rtol=1e-6,
    )
    assert apart.mean() > 0.5
    gaussian = ClassConditionalGaussian(
        blocks=[-1, 3], include_logits=False, target_fpr=0.2, random_state=0
    )
    moved = X.copy(), new.copy()
    for data in moved:
        data[:, :2] = data[:, :2] * units[:2] + shift
    before = gaussian.fit(X).score_samples(new)
    after = gaussian.fit(moved[0]).score_samples(moved[1])
    # A density changes by the logarithm of the volume alone, the same for all.
    assert np.ptp(after - before) < 1e-2 * max(1, np.ptp(before))


@few
@given(drawn=networks(), scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_scaled_and_shifted_logits(drawn, scale, shift):
    model, X = drawn
    with torch.no_grad():
        logits = model(torch.from_numpy(X)).numpy()

    def scores(make, logits):
        rng = np.random.default_rng(0)
        return make(**HALVES).fit(rng.normal(size=(50, 3))).score_samples(logits)

    close(
        scores(MaxSoftmaxProbability, logits + shift),
        scores(MaxSoftmaxProbability, logits),
    )
    for make in (Energy, MaxLogit):
        close(scores(make, logits + shift), scores(make, logits) + shift)
    close(scores(MaxLogit, logits * scale), scores(MaxLogit, logits) * scale)
    # ODIN without a step is the softmax at a temperature.
    odin = ODIN(model, temperature=scale, eps=0, **HALVES)
    cold = np.exp(logits / scale)
    found = odin.fit(X).score_samples(X)
    expected = (cold / cold.sum(axis=1, keepdims=True)).max(axis=1)
    order = np.argsort(expected)
    assert (np.diff(found[order]) >= -1e-9).all()


class ScaledLinear(nn.Module):
    """A linear layer over fixed features; its gradient is cotangent times features."""

    def __init__(self, seed, scale):
        super().__init__()
        torch.manual_seed(seed)
        self.head = nn.Linear(4, 3).double()
        self.scale = scale

    def forward(self, x):
        return self.head(x * self.scale)


@few
@given(seed=seeds, scale=st.floats(0.1, 10))
def test_squared_norms_grow_with_the_square(seed, scale):
    X = np.random.default_rng(seed).normal(size=(6, 4))
    plain, scaled = ScaledLinear(seed, 1.0), ScaledLinear(seed, scale)
    scaled.head.weight.data = plain.head.weight.data / scale
    scaled.head.bias.data = plain.head.bias.data
    norms = [
        np.asarray(ConfoundingGradientTransformer(net).fit(X).transform(X))
        for net in (plain, scaled)
    ]
    # The same logits from inputs of another length: the weight's squared norm grows
    # with its square, the bias's stays.
    close(norms[1], norms[0] * [scale**2, 1])
    norm = [GradNorm(net, **HALVES).fit(X).score_samples(X) for net in (plain, scaled)]
    close(norm[1], norm[0] * scale)
