"""Degenerate data, names of columns, and independence of rows, for all detectors."""

import numpy as np
import pandas as pd
import pytest
from novelty_detectors import MAKERS, OWN, draw
from numpy.testing import assert_allclose

# Exempt where other columns or far inputs matter: the scores of logits alone, of
# directions, and of what differs between classes.
EXEMPT = {"softmax", "GEN", "KNN", "RMDS", "fDBD", "ViM", "NCI", "CORE"}
OVER_LAYERS = {name: make for name, make in OWN.items() if name not in EXEMPT}


def each(makers):
    return pytest.mark.parametrize("make", makers.values(), ids=makers)


@each(OWN)
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
def test_degenerate_data_gives_finite_scores(make, X):
    detector = make(target_fpr=0.5, calibration_fraction=0.5, random_state=0).fit(X)
    assert np.isfinite(detector.score_samples(X)).all()
    assert np.isfinite(detector.offset_)


@each(OVER_LAYERS)
def test_feature_that_never_varied_counts_when_it_does(make):
    X = draw(300)
    X[:, 0] = 7.0
    changed = X.copy()
    changed[:, 0] = 70.0
    detector = make(random_state=0).fit(X)
    assert (detector.score_samples(changed) < detector.score_samples(X)).all()


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("size", [1e160, 1e300])
def test_immensely_far_inputs_are_rejected(name, size):
    detector = OWN[name](random_state=0).fit(draw(300))
    far = size * np.random.default_rng(0).normal(size=(20, 5))
    assert np.isfinite(detector.score_samples(far)).all()
    if name not in EXEMPT:
        assert (detector.predict(far) == -1).all()


@each(OWN)
def test_data_frames(make):
    frame = pd.DataFrame(
        draw(100), columns=["a_0", "a_1", *(f"logits_{i}" for i in range(3))]
    )
    detector = make(random_state=0).fit(frame)
    assert detector.feature_names_in_.tolist() == frame.columns.tolist()
    with pytest.raises(ValueError, match="feature names"):
        detector.predict(frame[frame.columns[::-1]])


@each(OWN)
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.full((9, 5), np.nan), "Input X contains NaN"),
        (np.ones((1, 5)), r"2 or more in-distribution samples.*got n_samples = 1"),
        (np.ones((3, 4, 5)), r"X must be a matrix of features.*got shape \(3, 4, 5\)"),
    ],
)
def test_bad_data(make, X, message):
    with pytest.raises(ValueError, match=message):
        make().fit(X)


@each(MAKERS)
def test_scores_do_not_depend_on_the_other_rows(make):
    # Projections of constant columns differ by rounding only, the hardest case.
    X = np.hstack([np.full((100, 20), 0.1), draw(100)])
    detector = make(random_state=0).fit(X)
    together = detector.score_samples(X)
    for size in (1, 7):
        parts = [detector.score_samples(X[i : i + size]) for i in range(0, 100, size)]
        assert_allclose(np.concatenate(parts), together, rtol=1e-9, atol=1e-9)
