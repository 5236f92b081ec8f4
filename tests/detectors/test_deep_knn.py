"""Distance to the k-th neighbour: by definition, and pytorch-ood's scores."""

import numpy as np
import pytest
import torch
from novelty_detectors import LAST_3, draw, fitted_rows
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist

from skgrad.detectors import DeepKNN

# More columns than the two of the layer, whose directions all are alike.
X = np.hstack([np.random.default_rng(0).normal(size=(400, 4)), draw(400)])
QUERIES = np.hstack([np.random.default_rng(1).normal(size=(60, 4)), draw(60, seed=1)])


def unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def test_by_definition():
    detector = DeepKNN(n_neighbors=7, random_state=0, **LAST_3).fit(X)
    apart = cdist(unit(QUERIES[:, :6]), unit(fitted_rows(X)[:, :6]))
    expected = -np.sort(apart, axis=1)[:, 6]
    assert_allclose(detector.score_samples(QUERIES), expected)


def test_small_distances_keep_their_digits():
    rows = np.random.default_rng(2).permutation(np.repeat(X[:10], 30, axis=0))
    detector = DeepKNN(n_neighbors=2, random_state=0, **LAST_3).fit(rows)
    near = rows[:20].copy()
    near[:, 0] += 1e-12 * np.abs(near[:, 0])
    scores = detector.score_samples(np.vstack([rows[:20], near]))
    assert (scores[:20] == 0).all()
    expected = -np.linalg.norm(unit(near[:, :6]) - unit(rows[:20, :6]), axis=1)
    assert_allclose(scores[20:], expected, rtol=1e-3)


def test_few_samples_and_samples_drawn():
    detector = DeepKNN(n_neighbors=1000, random_state=0, **LAST_3).fit(X)
    apart = cdist(unit(QUERIES[:, :6]), unit(fitted_rows(X)[:, :6]))
    assert_allclose(detector.score_samples(QUERIES), -apart.max(axis=1))
    some = DeepKNN(n_neighbors=1, n_reference=20, random_state=0, **LAST_3).fit(X)
    scores = -some.score_samples(fitted_rows(X))
    # Those that were drawn are their own neighbours.
    assert (scores == 0).sum() == 20


def test_the_default_stays_within_a_class():
    # 80 rows to fit on and 3 classes, then more than 100 rows each.
    assert DeepKNN(random_state=0, **LAST_3).fit(X[:100]).n_neighbors_ == 80 // 6
    assert DeepKNN(random_state=0, **LAST_3).fit(X).n_neighbors_ == 50


def test_against_pytorch_ood():
    library = pytest.importorskip("pytorch_ood.detector")
    detector = DeepKNN(n_neighbors=5, random_state=0, **LAST_3).fit(X)
    fit = torch.from_numpy(fitted_rows(X))
    theirs = library.KNN(None, k=5).fit_features(fit[:, :6], torch.zeros(len(fit)))
    scores = theirs.predict_features(torch.from_numpy(QUERIES[:, :6])).numpy()
    assert_allclose(detector.score_samples(QUERIES), -scores, rtol=1e-5)
