"""Thresholds, p-values and selections of all detectors; the rates are simulated."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from novelty_detectors import MAKERS, PER_CLASS, draw
from numpy.testing import assert_allclose, assert_array_equal
from pyod.models.knn import KNN
from scipy.stats import binom
from sklearn.base import is_outlier_detector
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from skgrad import (
    LODA,
    ClassConditionalDetector,
    CombinedDetector,
    ConformalDetector,
    Energy,
    MaxLogit,
    MaxSoftmaxProbability,
    PyODDetector,
)
from skgrad.detectors import TooFewSamplesWarning, conformal_p_values

# Simulation: detectors that learn fast, 999 held-out samples (so that the rates are
# whole shares of 1,000), 100 new ones for each of 200 draws.
N_DRAWS, N_NEW, N_HELD_OUT = 200, 100, 999
FAST = {"calibration_fraction": 0.9, "random_state": 0}
QUICK = {
    "LODA": partial(LODA, n_cuts=10),
    "softmax": MaxSoftmaxProbability,
    "wrapped": partial(ConformalDetector, OneClassSVM()),
}
SIMULATED = [
    ("LODA", QUICK["LODA"], 0.05),
    ("softmax", QUICK["softmax"], 0.1),
    *(
        pytest.param(name, make, rate, marks=pytest.mark.slow)
        for name, make, rate in [
            *((n, QUICK[n], r) for n in QUICK for r in (0.01, 0.1)),
            *((n, MAKERS[n], 0.05) for n in ("SVDD", "Gaussian", "combined", "PyOD")),
            ("energy", Energy, 0.05),
            ("max logit", MaxLogit, 0.05),
        ]
    ),
]


def within_band(n_rejected, n, rate):
    low, high = binom.interval(0.99, n, rate)
    return low <= n_rejected <= high


@pytest.mark.parametrize(("name", "make", "target_fpr"), SIMULATED)
def test_false_alarm_rate_on_new_data(name, make, target_fpr):
    n_rejected = 0
    for i in range(N_DRAWS):
        detector = make(target_fpr=target_fpr, **FAST).fit(draw(1110, seed=i))
        assert len(detector.calibration_scores_) == N_HELD_OUT
        n_rejected += np.sum(detector.predict(draw(N_NEW, seed=10_000 + i)) == -1)
    assert within_band(n_rejected, N_DRAWS * N_NEW, target_fpr)


def unequal(n_samples, seed):
    """Draw three classes of which the last is rare and scattered."""
    generator = np.random.default_rng(seed)
    label = generator.choice(3, p=[0.45, 0.45, 0.1], size=n_samples)
    spread = np.array([1, 1, 4])[label, None]
    layer = generator.normal(size=(n_samples, 2)) * spread + 3 * label[:, None]
    logits = generator.normal(size=(n_samples, 3)) + 12 * np.eye(3)[label] / spread
    return np.hstack([layer, logits])


def columns_of(name):
    # Without names all columns are logits.
    return slice(2 if name in {"softmax", "GEN"} else 0, None)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "softmax" else pytest.mark.slow)
        for name in PER_CLASS
    ],
)
def test_false_alarm_rate_within_each_class(name):
    # Class 2 is rare and scattered: one threshold would reject far more of it.
    columns, target_fpr = columns_of(name), 0.1
    allowed, rejected, seen = np.zeros(3), np.zeros(3), np.zeros(3)
    for i in range(N_DRAWS):
        detector = PER_CLASS[name](target_fpr=target_fpr, **FAST)
        detector.fit(unequal(900, seed=i)[:, columns])
        new = unequal(N_NEW, seed=10_000 + i)[:, columns]
        label = new[:, -3:].argmax(axis=1)
        held_out = np.bincount(detector._calibration_classes, minlength=3)
        rates = np.floor(target_fpr * (held_out + 1)) / (held_out + 1)
        in_class = np.bincount(label, minlength=3)
        rejected += np.bincount(label[detector.predict(new) == -1], minlength=3)
        allowed += rates * in_class
        seen += in_class
    assert (allowed / seen <= target_fpr).all()
    for c in range(3):
        assert within_band(rejected[c], seen[c], allowed[c] / seen[c])


@pytest.mark.parametrize("name", MAKERS)
def test_signs_and_identities(name):
    X, new = draw(400), draw(300, seed=1)
    far = draw(50, seed=2) + np.array([40, -40, 0, 0, 0])
    far[:, 2:] = 0.0
    X, new, far = (values[:, columns_of(name)] for values in (X, new, far))
    make = partial(MAKERS[name], target_fpr=0.1, calibration_fraction=0.3)
    detector = make(random_state=0).fit(X)
    # The held-out samples among them: one has the score of the threshold, and passes.
    new = np.vstack([new, X])
    scores, decision = detector.score_samples(new), detector.decision_function(new)
    assert scores.dtype == decision.dtype == np.float64
    assert_allclose(decision, scores - detector.offset_, rtol=1e-12)
    assert_array_equal(detector.predict(new), np.where(decision < 0, -1, 1))
    p_values = detector.p_values(new)
    assert_array_equal(
        p_values, conformal_p_values(scores, detector.calibration_scores_)
    )
    assert_array_equal(p_values <= 0.1, detector.predict(new) == -1)
    assert detector.score_samples(far).max() < np.median(scores)
    assert (detector.predict(far) == -1).mean() > 0.9
    assert is_outlier_detector(make_pipeline(detector))


@pytest.mark.parametrize("name", PER_CLASS)
def test_thresholds_and_p_values_per_class(name):
    X, new = (unequal(n, seed=n)[:, columns_of(name)] for n in (900, 300))
    detector = PER_CLASS[name](
        target_fpr=0.1, calibration_fraction=0.3, random_state=0
    ).fit(X)
    p_values = detector.p_values(new)
    assert_array_equal(p_values <= 0.1, detector.predict(new) == -1)
    scores, label = detector.score_samples(new), new[:, -3:].argmax(axis=1)
    calibration, classes = detector.calibration_scores_, detector._calibration_classes
    for c in range(3):
        own = calibration[classes == c]
        lower = (own[None] <= scores[label == c, None]).sum(axis=1)
        assert_allclose(p_values[label == c], (1 + lower) / (1 + len(own)))
        offset = np.sort(own)[int(0.1 * (len(own) + 1)) - 1]
        assert detector.class_offsets_[c] == offset
        expected = scores[label == c] - offset
        assert_allclose(detector.decision_function(new)[label == c], expected)


def test_small_and_unseen_classes_get_the_overall_threshold():
    X = draw(300)[:, 2:]
    X[:, 2] = -50.0
    X[:12, 2] = 50.0
    detector = MaxSoftmaxProbability(
        threshold="per_class", calibration_fraction=0.5, random_state=0
    )
    with pytest.warns(
        TooFewSamplesWarning, match=r"at least 19 held-out samples of it; classes \[2\]"
    ):
        detector.fit(X)
    assert sorted(detector.class_offsets_) == [0, 1]
    score = detector.score_samples(X[:12])
    assert_allclose(detector.decision_function(X[:12]), score - detector.offset_)
    overall = conformal_p_values(score, detector.calibration_scores_)
    assert_array_equal(detector.p_values(X[:12]), overall)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_false_discovery_rate_by_simulation(share):
    # Benjamini-Hochberg bounds the rate by fdr times the share of normal inputs.
    fdr, found, false = 0.2, [], []
    for seed in range(N_DRAWS):
        detector = LODA(n_cuts=10, calibration_fraction=0.8, random_state=0)
        batch = draw(100, seed=10_000 + seed)
        anomalous = np.arange(100) < 100 * share
        batch[anomalous, :2] += [8.0, -8.0]
        selected = detector.fit(draw(1000, seed=seed)).select_anomalies(batch, fdr=fdr)
        false.append(np.sum(selected & ~anomalous) / max(selected.sum(), 1))
        found.append(np.sum(selected & anomalous) / max(anomalous.sum(), 1))
    error = 2.6 * np.std(false) / np.sqrt(N_DRAWS)
    assert np.mean(false) <= fdr * (1 - share) + error
    assert np.mean(false) >= 0.5 * fdr * (1 - share) - error
    if share:
        assert np.mean(found) > 0.9


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_known_anomalies_are_left_out(make):
    X, y = draw(300), np.repeat([1, -1], [200, 100])
    # Not the same in all columns, of which some detectors see differences alone.
    X[200:] += 100.0 * np.arange(1, X.shape[1] + 1)
    without = make(random_state=0).fit(X[:200])
    labelled = make(random_state=0).fit(X, y)
    assert_array_equal(labelled.score_samples(X), without.score_samples(X))
    assert labelled.offset_ == without.offset_
    classes = np.arange(300) % 10
    assert make(random_state=0).fit(X, classes).offset_ != without.offset_


def test_forms_of_labels():
    X, y = draw(300), np.repeat([1, -1], [200, 100])
    expected = LODA(random_state=0).fit(X[:200]).offset_
    forms = list(y), pd.Series(y, dtype=object), pd.DataFrame({"y": y}), y.astype(float)
    for labels in forms:
        assert LODA(random_state=0).fit(X, labels).offset_ == expected
    with pytest.raises(ValueError, match="y must label some rows"):
        LODA().fit(draw(30), -np.ones(30))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LODA().fit(draw(30), np.ones(7))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_labels_0_and_1_are_ignored_with_a_warning(make):
    X, y = draw(300), np.repeat([0, 1], [200, 100])
    expected = make(random_state=0).fit(X).offset_
    for labels in (y, y == 1, pd.DataFrame({"y": y.astype(float)})):
        with pytest.warns(
            UserWarning, match=r"y=np.where\(y == 1, -1, 1\).*leave y out"
        ):
            detector = make(random_state=0).fit(X, labels)
        assert detector.offset_ == expected
    # Of one value they say nothing.
    for labels in (np.ones(300), np.ones(300, dtype=bool), np.zeros(300)):
        assert make(random_state=0).fit(X, labels).offset_ == expected


@pytest.mark.parametrize(
    ("parameter", "part", "make"),
    [
        ("target_fpr", LODA(target_fpr=0.5), ConformalDetector),
        (
            "calibration_fraction",
            PyODDetector(KNN(), calibration_fraction=0.3),
            lambda part: ClassConditionalDetector(part, blocks=[-1, 3]),
        ),
        (
            "threshold",
            Energy(threshold="per_class"),
            lambda part: CombinedDetector([("first", part)], blocks=[-1, 3]),
        ),
    ],
)
def test_parameters_without_effect_inside_others(parameter, part, make):
    with pytest.raises(
        ValueError, match=rf"{parameter} of {type(part).__name__} must stay at its def"
    ):
        make(part).fit(draw(200))


def test_parameters_without_effect_at_the_end_of_pipelines():
    for detector in (LODA(target_fpr=0.5), Energy(threshold="per_class")):
        for wrap in (make_pipeline, partial(GridSearchCV, param_grid={})):
            inner = wrap(make_pipeline(StandardScaler(), detector))
            with pytest.raises(ValueError, match="must stay at its default"):
                ConformalDetector(inner).fit(draw(200))
    # A pipeline's last step holds out no rows; that of a search has to decide.
    pipeline = make_pipeline(StandardScaler(), LODA(calibration_fraction=0.1))
    with pytest.raises(ValueError, match="calibration_fraction of LODA must stay"):
        ConformalDetector(pipeline).fit(draw(200))
    search = GridSearchCV(pipeline, {}, scoring=lambda *_: 1.0)
    inner = ConformalDetector(search, random_state=0).fit(draw(100)).detector_
    assert len(inner.best_estimator_[-1].calibration_scores_) == 8
    # A frozen detector may decide elsewhere.
    frozen = FrozenEstimator(make_pipeline(LODA(target_fpr=0.2)).fit(draw(100)))
    assert ConformalDetector(frozen).fit(draw(100, seed=1)).detector_ is frozen


def test_parameters_set_after_fit_wait_for_the_next():
    X, new = draw(200)[:, 2:], draw(50, seed=1)[:, 2:]
    detector = MaxSoftmaxProbability(random_state=0).fit(X)
    expected = detector.predict(new)
    detector.set_params(threshold="per_class", target_fpr=0.4)
    assert_array_equal(detector.predict(new), expected)


def test_equal_rows_have_equal_decisions_in_any_number():
    for seed in range(5):
        rows = np.random.default_rng(seed).normal(size=(2, 20))
        X = np.repeat(rows, 60, axis=0)
        detector = MAKERS["Gaussian"](random_state=0).fit(X)
        together = detector.predict(X)[::60]
        assert [detector.predict(row[None])[0] for row in rows] == together.tolist()


def test_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for make in (
        partial(ConformalDetector, make_pipeline(StandardScaler(), OneClassSVM())),
        partial(ClassConditionalDetector, OneClassSVM(), blocks=[-1, 3]),
        *MAKERS.values(),
    ):
        first, second = (make(random_state=1).fit(draw(100)) for _ in range(2))
        assert first.offset_ == second.offset_
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
