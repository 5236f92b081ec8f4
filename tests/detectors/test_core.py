"""CORE by its definition, with the true weights."""

import numpy as np
import pytest
from linear_heads import BLOCKS, WEIGHT, draw_linear, split, with_logits
from novelty_detectors import fitted_rows
from numpy.testing import assert_allclose
from scipy.special import logsumexp

from skgrad.detectors import CORE

X, QUERIES = draw_linear(300), draw_linear(40, seed=2, scale=3)


def residual(f, y, span):
    weights = WEIGHT if span == "all" else WEIGHT[[y]]
    return f - np.linalg.pinv(weights) @ weights @ f


def parts(X, means, span):
    """Return energy and cosine of each row, and the residuals."""
    features, logits, predicted = split(X)
    rest = np.stack(
        [residual(*row, span) for row in zip(features, predicted, strict=True)]
    )
    if means is None:
        return rest, predicted
    own = means[predicted]
    lengths = np.linalg.norm(rest, axis=1) * np.linalg.norm(own, axis=1)
    return np.column_stack([logsumexp(logits, axis=1), (rest * own).sum(1) / lengths])


@pytest.mark.parametrize("span", ["predicted", "all"])
def test_by_definition(span):
    fit = fitted_rows(X)
    rest, predicted = parts(fit, None, span)
    means = np.stack([rest[predicted == c].mean(axis=0) for c in range(4)])
    usual = parts(fit, means, span)
    scores = (parts(QUERIES, means, span) - usual.mean(axis=0)) / usual.std(axis=0)
    detector = CORE(span=span, blocks=BLOCKS, random_state=0).fit(X)
    assert_allclose(
        detector.score_samples(QUERIES), scores.sum(axis=1), rtol=1e-7, atol=1e-7
    )


def test_weights_of_all_classes_need_more_features():
    small = with_logits(X[:, :6])[:, [0, 1, 2]]
    logits = small @ np.random.default_rng(0).normal(size=(3, 4))
    rows = np.hstack([small, logits])
    with pytest.raises(ValueError, match=r"span must be 'predicted'.* 3 here"):
        CORE(span="all", blocks=[3, 4]).fit(rows)
    CORE(blocks=[3, 4]).fit(rows)


def test_a_class_that_was_never_predicted_has_no_direction():
    predicted = split(X)[2]
    label = np.bincount(predicted).argmax()
    new = X[predicted == label]
    seen = CORE(blocks=BLOCKS, random_state=0).fit(X)
    detector = CORE(blocks=BLOCKS, random_state=0).fit(X[predicted != label])
    assert detector.score_samples(new).mean() < seen.score_samples(new).mean() - 1
