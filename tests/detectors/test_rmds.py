"""Relative Mahalanobis distance: the paper's equation, and pytorch-ood's scores."""

import numpy as np
import pytest
import torch
from novelty_detectors import LAST_3, draw, fitted_rows
from numpy.testing import assert_allclose, assert_array_equal

from skgrad.detectors import RMDS

X, QUERIES = draw(400), 3 * draw(60, seed=1)


def relative_distance(features, classes, queries):
    """Eq. 2 and 3 of the paper, with numpy: the nearest class, relatively."""
    labels = np.unique(classes)
    means = np.stack([features[classes == c].mean(axis=0) for c in labels])
    within = features - means[np.searchsorted(labels, classes)]
    tied = np.linalg.inv(within.T @ within / len(features))
    centred = features - features.mean(axis=0)
    background = np.linalg.inv(centred.T @ centred / len(features))

    def squares(differences, inverse):
        return np.einsum("...i,ij,...j->...", differences, inverse, differences)

    own = squares(queries[:, None] - means, tied)
    return (own - squares(queries - features.mean(axis=0), background)[:, None]).min(1)


def test_equations_with_numpy():
    detector = RMDS(random_state=0, **LAST_3).fit(X)
    fit = fitted_rows(X)
    classes = fit[:, 2:].argmax(axis=1)
    expected = -relative_distance(fit[:, :2], classes, QUERIES[:, :2])
    assert_allclose(detector.score_samples(QUERIES), expected, rtol=1e-4, atol=1e-4)
    assert_array_equal(detector.modelled_classes_, [0, 1, 2])


def test_normalised_features():
    detector = RMDS(normalize=True, random_state=0, **LAST_3).fit(X)
    assert_allclose(
        detector.score_samples(QUERIES * [7, 7, 1, 1, 1]),
        detector.score_samples(QUERIES),
    )
    lengths = np.linalg.norm(X[:, :2], axis=1, keepdims=True)
    unit = np.hstack([X[:, :2] / lengths, X[:, 2:]])
    plain = RMDS(random_state=0, **LAST_3).fit(unit)
    assert_allclose(detector.score_samples(unit), plain.score_samples(unit))


def test_more_classes_than_features_and_classes_of_one_sample():
    X = np.random.default_rng(0).normal(size=(300, 8))
    X[:, 2:] += 3 * np.eye(6)[np.arange(300) % 5]
    X[-1, 7] = 50
    detector = RMDS(blocks=[-1, 6], calibration_fraction=0.1, random_state=0).fit(X)
    fit = fitted_rows(X, fraction=0.1)
    assert (fit[:, 7] == 50).any()
    expected = -relative_distance(fit[:, :2], fit[:, 2:].argmax(axis=1), X[:, :2])
    assert_allclose(detector.score_samples(X), expected, rtol=1e-4, atol=1e-4)


def test_directions_in_which_classes_do_not_differ_do_not_count():
    wide = np.hstack([np.random.default_rng(1).normal(size=(400, 1)), X])
    detector = RMDS(random_state=0, **LAST_3).fit(wide)
    moved = wide[:50].copy()
    moved[:, 0] += 100
    change = detector.score_samples(moved) - detector.score_samples(wide[:50])
    # By a Mahalanobis distance alone it would be about 10,000.
    assert np.abs(change).max() < 300


def test_against_pytorch_ood():
    library = pytest.importorskip("pytorch_ood.detector")
    detector = RMDS(random_state=0, **LAST_3).fit(X)
    fit = torch.from_numpy(fitted_rows(X)).float()
    theirs = library.RMD(None).fit_features(fit[:, :2], fit[:, 2:].argmax(dim=1))
    scores = -theirs.predict_features(torch.from_numpy(QUERIES[:, :2]).float()).numpy()
    # Its covariances are sums over the samples, not means.
    assert_allclose(
        detector.score_samples(QUERIES), len(fit) * scores, rtol=1e-3, atol=1e-3
    )
