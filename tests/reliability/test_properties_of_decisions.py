"""What must hold of metrics, p-values, splits, attacks and noise for any data."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skgrad import NoveltyKFold
from skgrad.attacks import (
    bim,
    fgsm,
    iterative_least_likely,
    pgd,
    random_noise,
    semantic,
)
from skgrad.detectors import conformal_p_values, select_by_fdr
from skgrad.metrics import aupr_in, aupr_out, auroc, detection_accuracy, tnr_at_tpr

few = settings(max_examples=20, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 10_000)
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
@few
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


@few
@given(drawn=labels_and_scores())
def test_metrics_of_mirrored_scores(drawn):
    y, scores = drawn
    assert_allclose(auroc(y, -scores), 1 - auroc(y, scores), atol=1e-12)
    assert_allclose(auroc(-y, -scores), auroc(y, scores), atol=1e-12)
    assert_allclose(aupr_out(-y, -scores), aupr_in(y, scores), atol=1e-12)
    mirrored = detection_accuracy(-y, -scores)
    assert_allclose(mirrored, detection_accuracy(y, scores), atol=1e-12)


@few
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


@few
@given(
    p_values=st.lists(st.floats(0, 1), min_size=1, max_size=30),
    rates=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
    seed=seeds,
)
def test_selection_grows_with_the_rate(p_values, rates, seed):
    p_values, (low, high) = np.array(p_values), sorted(rates)
    fewer, more = (select_by_fdr(p_values, fdr=rate) for rate in (low, high))
    assert (fewer <= more).all()
    # Selected p-values are lower than the others.
    if fewer.any() and not fewer.all():
        assert p_values[fewer].max() <= p_values[~fewer].min()
    order = np.random.default_rng(seed).permutation(len(p_values))
    assert_array_equal(select_by_fdr(p_values[order], fdr=low), fewer[order])


@few
@given(
    n_splits=st.integers(2, 5),
    counts=st.tuples(st.integers(5, 30), st.integers(5, 20)),
    shuffle=st.booleans(),
    seed=seeds,
)
def test_folds_are_a_partition(n_splits, counts, shuffle, seed):
    y = np.random.default_rng(seed).permutation(np.repeat([1, -1], counts))
    random_state = seed if shuffle else None
    folds = NoveltyKFold(n_splits, shuffle=shuffle, random_state=random_state)
    tested = []
    for train, test in folds.split(y[:, None], y):
        assert (y[train] == 1).all()
        assert not set(train) & set(test)
        assert set(y[test]) == {1, -1}
        assert set(train) | set(test[y[test] == 1]) == set(np.flatnonzero(y == 1))
        tested.extend(test)
    assert sorted(tested) == list(range(len(y)))


ATTACKS = {
    "fgsm": fgsm,
    "bim": partial(bim, n_steps=3),
    "pgd": partial(pgd, n_steps=3, random_state=0),
    "pgd, l2": partial(pgd, n_steps=3, norm="l2", random_state=0),
    "iterative least likely": partial(iterative_least_likely, n_steps=3),
    "random noise": partial(random_noise, random_state=0),
    "random noise, l2": partial(random_noise, norm="l2", random_state=0),
    "semantic": lambda model, X, eps, **options: semantic(model, X, **options),
}


@st.composite
def models_and_inputs(draw):
    """Draw a network, inputs, their bounds and how far an attack may go."""
    seed, shape = draw(seeds), draw(st.sampled_from([(3,), (2, 5), (2, 3, 4)]))
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 6))
    model = nn.Sequential(model, nn.Tanh(), nn.Linear(6, 3)).double()
    low, width = draw(st.floats(-10, 10)), draw(st.floats(0.1, 20))
    bounds = (low, low + width)
    X = np.random.default_rng(seed).uniform(*bounds, size=(4, *shape))
    return model, X, bounds, draw(st.floats(0.001, 2)) * width


@pytest.mark.parametrize("name", ATTACKS)
@few
@given(drawn=models_and_inputs())
def test_attacks_stay_within_eps_and_bounds(name, drawn):
    model, X, bounds, eps = drawn
    result = ATTACKS[name](model, X, eps=eps, bounds=bounds)
    rounding = 1e-9 * (1 + np.abs(X).max())
    assert result.X_adv.min() >= bounds[0] - rounding
    assert result.X_adv.max() <= bounds[1] + rounding
    change = (result.X_adv - X).reshape(len(X), -1)
    assert_allclose(result.linf, np.abs(change).max(axis=1), atol=rounding)
    assert_allclose(result.l2, np.linalg.norm(change, axis=1), atol=rounding)
    if name != "semantic":
        length = result.l2 if "l2" in name else result.linf
        assert (length <= eps + rounding).all()
    with torch.no_grad():
        predicted = model(torch.from_numpy(result.X_adv)).argmax(dim=1).numpy()
    assert_array_equal(result.predicted, predicted)
