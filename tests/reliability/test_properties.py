"""What must hold of features, scores, metrics and p-values for any network and data."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad import (
    ClassConditionalGaussian,
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    Energy,
    LayerActivationTransformer,
    MaxLogit,
    MaxSoftmaxProbability,
    PerClassSVDD,
)
from skgrad.detectors import conformal_p_values
from skgrad.metrics import aupr_in, aupr_out, auroc, detection_accuracy, tnr_at_tpr

few = settings(max_examples=8, deadline=None, derandomize=True, database=None)
more = settings(few, max_examples=20)
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
    twin, order = head_permuted(model, list(order)), list(order)

    def features(make, **options):
        makers = [make(net, **options) for net in (model, twin)]
        return [np.asarray(one.fit_transform(X)) for one in makers]

    # Labels that treat classes alike, and statistics of pairs, have no order.
    for label in ("all", "none"):
        close(*features(ConfoundingGradientTransformer, label=label))
    for sign in (True, False):
        close(*features(CosineSimilarityMatrixTransformer, sign=sign))
    # The columns of a class move with it.
    one, other = features(LayerActivationTransformer, layers="logits")
    close(other, one[:, order])
    each = features(ConfoundingGradientTransformer, label="each")
    one, other = (part.reshape(len(X), 4, -1) for part in each)
    close(other, one[:, order])
    options = {"output": "matrix", "sign": False}
    one, other = (
        part.reshape(len(X), 4, 4)
        for part in features(CosineSimilarityMatrixTransformer, **options)
    )
    close(other, one[:, order][:, :, order])


@pytest.mark.parametrize("name", DETECTORS)
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
def test_units_of_features_of_a_density(seed, scale, shift):
    rng = np.random.default_rng(seed)
    X, new = rng.normal(size=(80, 5)), rng.normal(size=(7, 5))
    units = np.r_[scale, 1 / scale]
    gaussian = ClassConditionalGaussian(
        blocks=[-1, 3], include_logits=False, target_fpr=0.2, random_state=0
    )
    moved = X.copy(), new.copy()
    for data in moved:
        data[:, :2] = data[:, :2] * units + shift
    before = gaussian.fit(X).score_samples(new)
    after = gaussian.fit(moved[0]).score_samples(moved[1])
    # A density changes by the logarithm of the volume alone, the same for all.
    assert np.ptp(after - before) < 1e-2 * max(1, np.ptp(before))


METRICS = {
    "auroc": auroc,
    "aupr_in": aupr_in,
    "aupr_out": aupr_out,
    "detection_accuracy": detection_accuracy,
    "tnr_at_tpr": tnr_at_tpr,
}
RISING = {
    "exp": np.exp,
    "cube": lambda s: s**3,
    "affine": lambda s: 7 * s - 3,
    "arctan": np.arctan,
}


@st.composite
def labels_and_scores(draw):
    """Draw labels of both kinds, and scores with ties."""
    y = [1, -1, *draw(st.lists(st.sampled_from([1, -1]), min_size=2, max_size=30))]
    size = len(y)
    # Whole numbers, so that a rising function keeps ties and makes none.
    scores = draw(st.lists(st.integers(-4, 4), min_size=size, max_size=size))
    return np.array(y), np.array(scores, dtype=float)


@pytest.mark.parametrize("name", METRICS)
@more
@given(drawn=labels_and_scores(), function=st.sampled_from(sorted(RISING)), seed=seeds)
def test_metrics_depend_on_the_order_alone(name, drawn, function, seed):
    metric = METRICS[name]
    y, scores = drawn
    expected = metric(y, scores)
    assert 0 <= expected <= 1
    assert_allclose(metric(y, RISING[function](scores)), expected, rtol=1e-12)
    order = np.random.default_rng(seed).permutation(len(y))
    assert_allclose(metric(y[order], scores[order]), expected, rtol=1e-12)
    # Copies of all rows leave the shares as they are.
    again = metric(np.tile(y, 2), np.tile(scores, 2))
    assert_allclose(again, expected, rtol=1e-12)


@more
@given(drawn=labels_and_scores())
def test_metrics_of_mirrored_scores(drawn):
    y, scores = drawn
    assert_allclose(auroc(y, -scores), 1 - auroc(y, scores), atol=1e-12)
    assert_allclose(auroc(-y, -scores), auroc(y, scores), atol=1e-12)
    assert_allclose(aupr_out(-y, -scores), aupr_in(y, scores), atol=1e-12)
    mirrored = detection_accuracy(-y, -scores)
    assert_allclose(mirrored, detection_accuracy(y, scores), atol=1e-12)


@more
@given(drawn=labels_and_scores(), function=st.sampled_from(sorted(RISING)))
def test_p_values_depend_on_the_order_alone(drawn, function):
    y, scores = drawn
    rising = RISING[function]
    known, new = scores[y == 1], scores[y == -1]
    p_values = conformal_p_values(new, known)
    assert_array_equal(conformal_p_values(rising(new), rising(known)), p_values)
    assert (p_values > 0).all()
    assert (p_values <= 1).all()
    order = np.argsort(new)
    assert (np.diff(p_values[order]) >= 0).all()
    # One more held-out score below all raises none of them under its own share.
    assert (conformal_p_values(new, np.r_[known, -99]) >= p_values * 0.5).all()
