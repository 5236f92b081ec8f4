"""Neural collapse: the paper's equation, and pytorch-ood's scores."""

import numpy as np
import pytest
from linear_heads import BLOCKS, WEIGHT, draw_linear, floats, head, split
from novelty_detectors import fitted_rows
from numpy.testing import assert_allclose

from skgrad.detectors import NCI

X, QUERIES = draw_linear(300), draw_linear(40, seed=2, scale=3)


@pytest.mark.parametrize("n_samples", [300, 5])
def test_equation_with_the_true_weights(n_samples):
    features, _, predicted = split(QUERIES)
    centred = features - split(fitted_rows(X[:n_samples]))[0].mean(axis=0)
    aligned = (centred * WEIGHT[predicted]).sum(axis=1)
    expected = aligned / np.linalg.norm(centred, axis=1)
    expected += 0.3 * np.abs(features).sum(axis=1)
    detector = NCI(alpha=0.3, blocks=BLOCKS, target_fpr=0.5, random_state=0)
    detector.fit(X[:n_samples])
    # Also with fewer samples than features: no weights are needed.
    assert_allclose(detector.score_samples(QUERIES), expected, rtol=1e-9)


def test_against_pytorch_ood():
    library = pytest.importorskip("pytorch_ood.detector")
    theirs = library.NCI(None, head(), alpha=0.1)
    theirs.fit_features(floats(split(fitted_rows(X))[0]))
    expected = -theirs.predict_features(floats(split(QUERIES)[0])).numpy()
    detector = NCI(alpha=0.1, blocks=BLOCKS, random_state=0).fit(X)
    assert_allclose(detector.score_samples(QUERIES), expected, rtol=1e-4, atol=1e-4)
