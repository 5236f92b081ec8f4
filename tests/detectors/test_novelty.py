"""Degenerate data, names of columns, and independence of rows, for all detectors."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from novelty_detectors import MAKERS, OWN, draw
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skgrad import MaxSoftmaxProbability

# The scores of logits alone are exempt where other columns or far logits matter.
OVER_LAYERS = {n: make for n, make in OWN.items() if make is not MaxSoftmaxProbability}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request):
    return request.param


@pytest.fixture(params=OWN.values(), ids=OWN)
def make_own(request):
    return request.param


@pytest.fixture(params=OVER_LAYERS.values(), ids=OVER_LAYERS)
def make_over_layers(request):
    return request.param


def test_clone_and_pickle(make):
    X = draw(200)
    detector = make(random_state=0, target_fpr=0.1).fit(X)
    again = pickle.loads(pickle.dumps(detector))
    assert_array_equal(again.score_samples(X), detector.score_samples(X))
    assert joblib.hash(clone(detector)) == joblib.hash(clone(clone(detector)))


@pytest.mark.parametrize(
    "X",
    [
        np.ones((40, 5)),
        np.repeat(draw(2), 20, axis=0),
        draw(4),
        draw(2),
        np.hstack([np.zeros((40, 30)), draw(40)]),
        draw(40) * 1e150,
        draw(40) * 1e-150,
    ],
    ids=["constant", "duplicates", "4 rows", "2 rows", "wide", "huge", "tiny"],
)
def test_degenerate_data_gives_finite_scores(make_own, X):
    detector = make_own(target_fpr=0.5, calibration_fraction=0.5, random_state=0).fit(X)
    assert np.isfinite(detector.score_samples(X)).all()
    assert np.isfinite(detector.offset_)


def test_feature_that_never_varied_counts_when_it_does(make_over_layers):
    X = draw(300)
    X[:, 0] = 7.0
    changed = X.copy()
    changed[:, 0] = 70.0
    detector = make_over_layers(random_state=0).fit(X)
    assert (detector.score_samples(changed) < detector.score_samples(X)).all()


@pytest.mark.parametrize("size", [1e160, 1e300])
def test_immensely_far_inputs_are_rejected(make_over_layers, size):
    detector = make_over_layers(random_state=0).fit(draw(300))
    far = size * np.random.default_rng(0).normal(size=(20, 5))
    assert np.isfinite(detector.score_samples(far)).all()
    assert (detector.predict(far) == -1).all()


def test_data_frames(make_own):
    frame = pd.DataFrame(
        draw(100), columns=["a_0", "a_1", *(f"logits_{i}" for i in range(3))]
    )
    detector = make_own(random_state=0).fit(frame)
    assert detector.feature_names_in_.tolist() == frame.columns.tolist()
    with pytest.raises(ValueError, match="feature names"):
        detector.predict(frame[frame.columns[::-1]])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.full((9, 5), np.nan), "Input X contains NaN"),
        (np.ones((1, 5)), r"2 or more in-distribution samples.*got n_samples = 1"),
        (np.ones((3, 4, 5)), r"X must be a matrix of features.*got shape \(3, 4, 5\)"),
    ],
)
def test_bad_data(make_own, X, message):
    with pytest.raises(ValueError, match=message):
        make_own().fit(X)


def test_scores_do_not_depend_on_the_other_rows(make):
    # Projections of constant columns differ by rounding only, the hardest case.
    X = np.hstack([np.full((100, 20), 0.1), draw(100)])
    detector = make(random_state=0).fit(X)
    together = detector.score_samples(X)
    for size in (1, 7):
        parts = [detector.score_samples(X[i : i + size]) for i in range(0, 100, size)]
        assert_allclose(np.concatenate(parts), together, rtol=1e-9, atol=1e-9)
