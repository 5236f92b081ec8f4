"""Virtual-logit matching: the paper's equations, and pytorch-ood's scores."""

import numpy as np
import pytest
from linear_heads import BIAS, BLOCKS, WEIGHT, draw_linear, floats, head, split
from novelty_detectors import fitted_rows
from numpy.testing import assert_allclose
from scipy.special import logsumexp

from skgrad.detectors import ViM

X, QUERIES = draw_linear(300), draw_linear(40, seed=2, scale=3)


def test_equations_with_the_true_weights():
    origin = -np.linalg.pinv(WEIGHT) @ BIAS
    features, logits, _ = split(fitted_rows(X))
    _, _, axes = np.linalg.svd(features - origin)
    project = axes[2:].T @ axes[2:]

    def length(features):
        return np.linalg.norm((features - origin) @ project, axis=1)

    alpha = logits.max(axis=1).mean() / length(features).mean()
    features, logits, _ = split(QUERIES)
    expected = logsumexp(logits, axis=1) - alpha * length(features)
    detector = ViM(n_components=2, blocks=BLOCKS, random_state=0).fit(X)
    assert_allclose(detector.score_samples(QUERIES), expected, rtol=1e-9, atol=1e-9)
    assert_allclose(detector.alpha_, alpha)


def test_number_of_components():
    assert ViM(blocks=BLOCKS, random_state=0).fit(X).n_components_ == 3
    # Two features that never vary give no direction, and few samples few.
    still = X.copy()
    still[:, :2] = 0
    still[:, 6:] = still[:, :6] @ WEIGHT.T
    detector = ViM(blocks=BLOCKS, random_state=0).fit(still)
    assert detector.n_components_ == 2
    few = ViM(blocks=BLOCKS, target_fpr=0.5, random_state=0).fit(X[:5])
    assert few.n_components_ == 2
    for n_components, n_varied, rows in ((4, 4, still), (6, 6, X)):
        with pytest.raises(ValueError, match=rf"less than .* {n_varied} here; got"):
            ViM(n_components=n_components, blocks=BLOCKS).fit(rows)


def test_negative_logits_leave_the_sign_of_the_residual():
    lower = X - np.r_[np.zeros(6), np.full(4, 1e3)]
    detector = ViM(n_components=2, blocks=BLOCKS, random_state=0).fit(lower)
    assert detector.alpha_ > 0


def test_against_pytorch_ood():
    library = pytest.importorskip("pytorch_ood.detector")
    weight, bias = head().weight, head().bias
    fit = floats(split(fitted_rows(X))[0])
    theirs = library.ViM(None, d=2, w=weight, b=bias).fit_features(fit, None)
    expected = -theirs.predict_features(floats(split(QUERIES)[0])).numpy()
    detector = ViM(n_components=2, blocks=BLOCKS, random_state=0).fit(X)
    assert_allclose(detector.score_samples(QUERIES), expected, rtol=1e-3, atol=1e-3)
