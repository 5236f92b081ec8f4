"""What all novelty detectors promise."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from novelty_detectors import MAKERS, OWN, draw
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_outlier_detector
from sklearn.pipeline import make_pipeline

from skgrad import (
    LODA,
    MaxSoftmaxProbability,
)
from skgrad.detectors import TooFewSamplesWarning, conformal_threshold


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request):
    return request.param


@pytest.fixture(params=OWN.values(), ids=OWN)
def make_own(request):
    return request.param


def test_signs_and_identities(make):
    X = draw(400)
    far = draw(50, seed=1) + np.array([40, -40, 0, 0, 0])
    far[:, 2:] = 0.0
    if make is MaxSoftmaxProbability:  # without names all columns are logits
        X, far = X[:, 2:], far[:, 2:]
    detector = make(random_state=0).fit(X)
    scores, decision = detector.score_samples(X), detector.decision_function(X)
    assert scores.dtype == decision.dtype == np.float64
    assert_allclose(decision, scores - detector.offset_, rtol=1e-12)
    assert_array_equal(detector.predict(X), np.where(decision < 0, -1, 1))
    assert detector.score_samples(far).max() < np.median(scores)
    assert (detector.predict(far) == -1).mean() > 0.9
    assert is_outlier_detector(detector)
    assert is_outlier_detector(make_pipeline(detector))


def test_random_state_decides(make):
    X = draw(200)
    first, second = (make(random_state=1).fit(X) for _ in range(2))
    assert_array_equal(first.score_samples(X), second.score_samples(X))
    assert first.offset_ == second.offset_
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    make(random_state=1).fit(X)
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_clone_and_pickle(make):
    X = draw(200)
    detector = make(random_state=0, target_fpr=0.1).fit(X)
    twin = pickle.loads(pickle.dumps(detector))
    assert_array_equal(twin.score_samples(X), detector.score_samples(X))
    assert joblib.hash(clone(detector)) == joblib.hash(clone(clone(detector)))
    assert joblib.hash(clone(detector)) == joblib.hash(clone(detector))


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


def test_feature_that_never_varied_counts_when_it_does(make_own):
    if make_own is MaxSoftmaxProbability:
        pytest.skip("looks at nothing but the logits")
    X = draw(300)
    X[:, 0] = 7.0
    changed = X.copy()
    changed[:, 0] = 70.0
    detector = make_own(random_state=0).fit(X)
    assert (detector.score_samples(changed) < detector.score_samples(X)).all()


def test_data_frames(make_own):
    frame = pd.DataFrame(
        draw(100), columns=["a_0", "a_1", *(f"logits_{i}" for i in range(3))]
    )
    detector = make_own(random_state=0).fit(frame)
    assert detector.feature_names_in_.tolist() == frame.columns.tolist()
    with pytest.raises(ValueError, match="feature names"):
        detector.predict(frame[frame.columns[::-1]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_fpr": 0}, r"'target_fpr' parameter .* range \(0.0, 1.0\)"),
        ({"target_fpr": 1.0}, "'target_fpr' parameter"),
        ({"calibration_fraction": 1}, "'calibration_fraction' parameter"),
        ({"random_state": "x"}, "'random_state' parameter"),
    ],
)
def test_bad_parameters(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options).fit(draw(50))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.full((9, 5), np.nan), "Input X contains NaN"),
        (np.empty((0, 5)), r"at least one sample; got shape \(0, 5\)"),
        (np.ones((1, 5)), "2 or more in-distribution samples.*got n_samples = 1"),
        (np.ones(5), r"X must be a matrix of features.*got shape \(5,\)"),
        (np.ones((3, 4, 5)), r"X must be a matrix of features.*got shape \(3, 4, 5\)"),
        ([["a"] * 5] * 9, "could not convert string to float|dtype"),
    ],
)
def test_bad_data(make_own, X, message):
    with pytest.raises(ValueError, match=message):
        make_own().fit(X)


def test_scores_do_not_depend_on_the_other_rows(make):
    # Constant columns, whose projections differ by rounding only, tell the most.
    X = np.hstack([np.full((300, 20), 0.1), draw(300)])
    detector = make(random_state=0).fit(X)
    together = detector.score_samples(X)
    for size in (1, 7):
        parts = [detector.score_samples(X[i : i + size]) for i in range(0, 300, size)]
        assert_allclose(np.concatenate(parts), together, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", [1e160, 1e300])
def test_what_is_immensely_far_is_rejected(make_own, size):
    if make_own is MaxSoftmaxProbability:
        pytest.skip("is sure of immense logits, and ought to be")
    detector = make_own(random_state=0).fit(draw(300))
    far = size * np.random.default_rng(0).normal(size=(20, 5))
    assert np.isfinite(detector.score_samples(far)).all()
    assert (detector.predict(far) == -1).all()


def test_read_only_data(make):
    X = draw(200)
    X.flags.writeable = False
    assert make(random_state=0).fit(X).predict(X).shape == (200,)


def test_too_few_held_out_samples_are_told():
    with pytest.warns(
        TooFewSamplesWarning, match=r"at least 19 held-out samples; there are 4"
    ):
        LODA(random_state=0).fit(draw(20))


def test_threshold_rank():
    assert conformal_threshold(range(10), 1 - 1e-12) == 9
    scores = np.arange(99)[::-1]
    for target_fpr, expected in (
        (0.01, 0),
        (0.05, 4),
        (0.07, 6),
        (0.29, 28),
        (0.5, 49),
    ):
        assert conformal_threshold(scores, target_fpr) == expected


@pytest.mark.parametrize(
    ("scores", "target_fpr", "message"),
    [
        ([], 0.1, "scores must hold at least one number"),
        ([1.0, np.nan], 0.1, "no NaN; got 2 values, 1 of them NaN"),
        ([[1.0, 2.0]], 0.1, "scores must hold numbers, shape"),
        ([1.0], 0, "'target_fpr' parameter"),
        ([1.0], 2, "'target_fpr' parameter"),
    ],
)
def test_bad_threshold(scores, target_fpr, message):
    with pytest.raises(ValueError, match=message):
        conformal_threshold(scores, target_fpr)


def test_threshold_is_valid_by_simulation():
    # P(new < threshold) <= target_fpr exactly, for any continuous distribution.
    generator = np.random.default_rng(0)
    scores = generator.standard_cauchy(size=(20_000, 60))
    below = [row[0] < conformal_threshold(row[1:], 0.1) for row in scores]
    exact = int(0.1 * 60) / 60
    assert abs(np.mean(below) - exact) < 3 * np.sqrt(exact / len(scores))
