"""Distance to decision boundaries: the paper's equation, and pytorch-ood's scores."""

import numpy as np
import pytest
from linear_heads import BLOCKS, WEIGHT, draw_linear, floats, head, split
from novelty_detectors import fitted_rows
from numpy.testing import assert_allclose

from skgrad.detectors import FDBD

X, QUERIES = draw_linear(300), draw_linear(40, seed=2, scale=3)


def test_equation_with_the_true_weights():
    features, logits, predicted = split(QUERIES)
    mean = split(fitted_rows(X))[0].mean(axis=0)
    expected = []
    for f, z, y in zip(features, logits, predicted, strict=True):
        others = [c for c in range(len(z)) if c != y]
        apart = [np.linalg.norm(WEIGHT[y] - WEIGHT[c]) for c in others]
        distances = (z[y] - z[others]) / apart
        expected.append(distances.mean() / np.linalg.norm(f - mean))
    detector = FDBD(blocks=BLOCKS, random_state=0).fit(X)
    assert_allclose(detector.score_samples(QUERIES), expected, rtol=1e-9)


def test_classes_with_equal_weights_have_no_boundary():
    twins = np.hstack([X, X[:, -1:]])
    detector = FDBD(blocks=[6, 5], random_state=0).fit(twins)
    single = FDBD(blocks=BLOCKS, random_state=0).fit(X)
    last = X[X[:, 6:].argmax(axis=1) == 3]
    assert len(last) > 5
    scores = detector.score_samples(np.hstack([last, last[:, -1:]]))
    # One of four summands is 0.
    assert_allclose(scores, single.score_samples(last) * 3 / 4)


def test_against_pytorch_ood():
    library = pytest.importorskip("pytorch_ood.detector")
    theirs = library.fDBD(None, head()).fit_features(floats(split(fitted_rows(X))[0]))
    expected = -theirs.predict_features(floats(split(QUERIES)[0])).numpy()
    detector = FDBD(blocks=BLOCKS, random_state=0).fit(X)
    assert_allclose(detector.score_samples(QUERIES), expected, rtol=1e-4)
