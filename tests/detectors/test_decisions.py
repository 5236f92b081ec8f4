"""The promises about held-out scores, simulated."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from networks import LeNet, images, seeded
from novelty_detectors import MAKERS, PER_CLASS, draw
from numpy.testing import assert_allclose, assert_array_equal
from pyod.models.knn import KNN
from scipy.stats import binom
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from torch.utils.data import TensorDataset

from skgrad import (
    LODA,
    ClassConditionalDetector,
    CombinedDetector,
    ConformalDetector,
    Energy,
    MaxLogit,
    MaxSoftmaxProbability,
    MLPAnomalyClassifier,
    PerClassSVDD,
    PyODDetector,
    make_uniform_detector,
)
from skgrad.detectors import (
    TooFewSamplesWarning,
    conformal_p_values,
    conformal_threshold,
    select_by_fdr,
)
from skgrad.feature_extraction import FeatureArray

FAR = np.array([40.0, -40.0, 0.0, 0.0, 0.0])
# Simulation: detectors that learn fast, 999 held-out samples (so that the rates are
# whole shares of 1,000), 100 fresh ones for each of 200 draws.
N_DRAWS, N_FRESH, N_HELD_OUT = 200, 100, 999
FAST = {"calibration_fraction": 0.9, "random_state": 0}
SIMULATED = {
    **{
        name: MAKERS[name]
        for name in ("SVDD", "Gaussian", "tied", "softmax", "combined", "PyOD")
    },
    "LODA": partial(LODA, n_cuts=10),
    "energy": Energy,
    "max logit": MaxLogit,
    "wrapped": partial(ConformalDetector, OneClassSVM()),
}
# Every detector at one rate, the quickest at all.
AT_RATES = [(name, 0.05) for name in SIMULATED]
AT_RATES += [(n, r) for n in ("LODA", "softmax", "wrapped") for r in (0.01, 0.1)]


def within_band(n_rejected, n, rate):
    low, high = binom.interval(0.99, n, rate)
    return low <= n_rejected <= high


@pytest.mark.parametrize(("name", "target_fpr"), AT_RATES)
def test_false_alarm_rate_on_fresh_data(name, target_fpr):
    make, n_rejected = SIMULATED[name], 0
    for i in range(N_DRAWS):
        detector = make(target_fpr=target_fpr, **FAST).fit(draw(1110, seed=i))
        assert len(detector.calibration_scores_) == N_HELD_OUT
        n_rejected += np.sum(detector.predict(draw(N_FRESH, seed=10_000 + i)) == -1)
    assert within_band(n_rejected, N_DRAWS * N_FRESH, target_fpr)


@pytest.mark.parametrize(
    ("name", "target_fpr"), [("softmax", 0.05), *((name, 0.1) for name in PER_CLASS)]
)
def test_false_alarm_rate_within_each_class(name, target_fpr):
    # Class 2 is rare and scattered: one threshold would reject far more of it.
    promised, rejected, seen = np.zeros(3), np.zeros(3), np.zeros(3)
    columns = slice(2 if name == "softmax" else 0, None)
    for i in range(N_DRAWS):
        detector = PER_CLASS[name](target_fpr=target_fpr, **FAST)
        detector.fit(unequal(900, seed=i)[:, columns])
        fresh = unequal(N_FRESH, seed=10_000 + i)[:, columns]
        label = fresh[:, -3:].argmax(axis=1)
        held_out = np.bincount(detector._calibration_classes, minlength=3)
        rates = np.floor(target_fpr * (held_out + 1)) / (held_out + 1)
        assert sorted(detector.class_offsets_) == [0, 1, 2]
        for c in range(3):
            rejected[c] += np.sum(detector.predict(fresh)[label == c] == -1)
            promised[c] += rates[c] * np.sum(label == c)
            seen[c] += np.sum(label == c)
    assert (promised / seen <= target_fpr).all()
    for c in range(3):
        assert within_band(rejected[c], seen[c], promised[c] / seen[c])


def unequal(n_samples, seed):
    """Draw three classes of which the last is rare and scattered."""
    generator = np.random.default_rng(seed)
    label = generator.choice(3, p=[0.45, 0.45, 0.1], size=n_samples)
    spread = np.array([1, 1, 4])[label, None]
    layer = generator.normal(size=(n_samples, 2)) * spread + 3 * label[:, None]
    logits = generator.normal(size=(n_samples, 3)) + 12 * np.eye(3)[label] / spread
    return np.hstack([layer, logits])


def test_one_threshold_rejects_a_scattered_class_more_often():
    X, fresh = unequal(2000, seed=0), unequal(2000, seed=1)
    in_2 = fresh[:, 2:].argmax(axis=1) == 2
    rates = [
        np.mean(
            MaxSoftmaxProbability(threshold=threshold, target_fpr=0.1, random_state=0)
            .fit(X[:, 2:])
            .predict(fresh[in_2, 2:])
            == -1
        )
        for threshold in ("overall", "per_class")
    ]
    assert rates[0] > 0.4
    assert rates[1] < 0.25


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_p_values_agree_with_decisions(make):
    detector = make(target_fpr=0.1, calibration_fraction=0.3, random_state=0)
    p_values = detector.fit(draw(400)).p_values(draw(300, seed=1))
    assert p_values.dtype == np.float64
    assert_array_equal(p_values <= 0.1, detector.predict(draw(300, seed=1)) == -1)
    if make is not MaxSoftmaxProbability:
        assert detector.p_values(FAR[None])[0] < 0.05


@pytest.mark.parametrize("name", PER_CLASS)
def test_p_values_agree_with_decisions_per_class(name):
    columns = slice(2 if name == "softmax" else 0, None)
    X, fresh = (unequal(n, seed=n)[:, columns] for n in (900, 300))
    detector = PER_CLASS[name](
        target_fpr=0.1, calibration_fraction=0.3, random_state=0
    ).fit(X)
    p_values = detector.p_values(fresh)
    assert_array_equal(p_values <= 0.1, detector.predict(fresh) == -1)
    scores, label = detector.score_samples(fresh), fresh[:, -3:].argmax(axis=1)
    calibration, classes = detector.calibration_scores_, detector._calibration_classes
    for c in range(3):
        own = calibration[classes == c]
        lower = (own[None] <= scores[label == c, None]).sum(axis=1)
        assert_allclose(p_values[label == c], (1 + lower) / (1 + len(own)))
        expected = scores[label == c] - detector.class_offsets_[c]
        assert_allclose(detector.decision_function(fresh)[label == c], expected)


def test_p_values_are_valid_by_simulation():
    # P(p <= alpha) = floor(alpha (m + 1)) / (m + 1), for any continuous distribution.
    generator = np.random.default_rng(0)
    scores = generator.standard_cauchy(size=(5_000, 50))
    p_values = np.array([conformal_p_values(s[:1], s[1:])[0] for s in scores])
    for alpha in (0.02, 0.05, 0.1, 0.33, 0.5, 0.9):
        exact = np.floor(alpha * 50 + 1e-9) / 50
        assert within_band(np.sum(p_values <= alpha + 1e-12), len(p_values), exact)


def test_ties_make_p_values_larger_never_smaller():
    scores = np.random.default_rng(0).integers(4, size=(5_000, 20))
    p_values = np.array([conformal_p_values(s[:1], s[1:])[0] for s in scores])
    for alpha in (0.05, 0.2, 0.5):
        assert np.mean(p_values <= alpha) <= alpha


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_false_discovery_rate_by_simulation(share):
    # The promise for the good inputs among the selected: fdr times their share.
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


def test_selection_by_definition():
    p_values = np.random.default_rng(0).uniform(size=50) ** 3
    for fdr in (0.01, 0.1, 0.5):
        order = np.sort(p_values)
        passed = np.flatnonzero(order <= fdr * np.arange(1, 51) / 50)
        cut = order[passed[-1]] if len(passed) else -1.0
        assert_array_equal(select_by_fdr(p_values, fdr), p_values <= cut)
    assert select_by_fdr([]).tolist() == []
    assert select_by_fdr([0.02, 0.04, 0.06, 0.08, 0.10], fdr=0.1).all()


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


def test_asking_after_fit_for_another_threshold_changes_nothing():
    detector = MaxSoftmaxProbability(random_state=0).fit(draw(200)[:, 2:])
    expected = detector.predict(draw(50, seed=1)[:, 2:])
    detector.set_params(threshold="per_class")
    assert_array_equal(detector.predict(draw(50, seed=1)[:, 2:]), expected)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_known_anomalies_are_left_out(make):
    X, y = draw(300), np.repeat([1, -1], [200, 100])
    X[200:] += 100.0
    without = make(random_state=0).fit(X[:200])
    labelled = make(random_state=0).fit(X, y)
    assert_array_equal(labelled.score_samples(X), without.score_samples(X))
    assert labelled.offset_ == without.offset_
    classes = np.arange(300) % 10
    assert make(random_state=0).fit(X, classes).offset_ != without.offset_
    with pytest.raises(ValueError, match="y must label some rows"):
        make().fit(X, -np.ones(300))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        make().fit(X, y[:7])


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (conformal_p_values, ([0.0], []), "calibration_scores must hold at least one"),
        (conformal_p_values, ([np.nan], [0.0]), "scores must hold numbers and no NaN"),
        (select_by_fdr, ([0.1, 1.1],), r"p_values must lie in \[0, 1\].*to 1.1"),
        (select_by_fdr, ([0.1], 0), "'fdr' parameter"),
        (select_by_fdr, ([[0.1, 0.2]],), "p_values must hold numbers, shape"),
        (conformal_threshold, ([0.0], 1.5), "'target_fpr' parameter"),
    ],
)
def test_bad_input(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


class TestWrapper:
    @pytest.mark.parametrize(
        "inner",
        [
            IsolationForest(n_estimators=20),
            OneClassSVM(),
            LocalOutlierFactor(novelty=True),
            KNN(),
            LODA(),
            PyODDetector(KNN()),
        ],
        ids=lambda d: type(d).__name__,
    )
    def test_any_outlier_detector(self, inner):
        detector = ConformalDetector(inner, target_fpr=0.1, random_state=0)
        far = draw(20, seed=1) + FAR
        assert (detector.fit(draw(400)).predict(far) == -1).all()
        assert not hasattr(inner, "offset_")
        assert not hasattr(inner, "decision_scores_")

    def test_inner_detector_sees_no_held_out_sample(self):
        X = draw(100)
        detector = ConformalDetector(
            LocalOutlierFactor(novelty=True), random_state=0, target_fpr=0.1
        ).fit(X)
        rows = {tuple(row) for row in detector.detector_._fit_X}
        held_out = [row for row in X if tuple(row) not in rows]
        assert len(held_out) == 20
        scores = detector.detector_.score_samples(held_out)
        assert_allclose(np.sort(scores), np.sort(detector.calibration_scores_))

    def test_fitted_detector_is_taken_as_it_is(self):
        forest = IsolationForest(random_state=0).fit(draw(300))
        X = draw(200, seed=1)
        detector = ConformalDetector(FrozenEstimator(forest)).fit(X)
        assert_allclose(detector.calibration_scores_, forest.score_samples(X))

    def test_supervised_classifier(self):
        X = np.vstack([draw(600), draw(100, seed=1) + 0.25 * FAR])
        fresh = draw(2000, seed=2)
        for y in (np.repeat([0, 1], [600, 100]), np.repeat([1, -1], [600, 100])):
            for inner in (LogisticRegression(), MLPAnomalyClassifier(max_epochs=20)):
                detector = ConformalDetector(
                    inner, target_fpr=0.1, calibration_fraction=0.5, random_state=0
                ).fit(X, y)
                assert len(detector.calibration_scores_) == 300
                assert (detector.predict(X[600:]) == -1).mean() > 0.95
                assert 0.04 < np.mean(detector.predict(fresh) == -1) < 0.17
        with pytest.raises(ValueError, match="requires y to be passed"):
            ConformalDetector(LogisticRegression()).fit(X)
        with pytest.raises(
            ValueError, match=r"y must hold 0 for in-distribution.*both"
        ):
            ConformalDetector(LogisticRegression()).fit(X, np.arange(700) % 3)

    def test_raw_inputs_of_any_kind(self):
        net = seeded(LeNet)
        X, fresh = images(120, (1, 28, 28)) ** 4, images(9, (1, 28, 28), seed=1)

        def predicted_class(X):
            with torch.no_grad():
                return net(torch.as_tensor(np.asarray(X))).argmax(axis=1).numpy()

        pipeline = make_uniform_detector(net, "conv1", target_fpr=0.5)
        kinds = {
            "array": (X, fresh),
            "tensor": (torch.from_numpy(X), torch.from_numpy(fresh)),
            "dataset": (
                TensorDataset(torch.from_numpy(X)),
                TensorDataset(torch.from_numpy(fresh)),
            ),
        }
        scores = {}
        for kind, (known, new) in kinds.items():
            detector = ConformalDetector(pipeline, target_fpr=0.1, random_state=0)
            scores[kind] = detector.fit(known).score_samples(new)
            assert (detector.p_values(new) <= 0.1).all()
        for kind in kinds:
            assert_allclose(scores[kind], scores["array"], rtol=1e-5)
        per_class = ConformalDetector(
            pipeline,
            threshold="per_class",
            predicted_class=predicted_class,
            target_fpr=0.3,
            calibration_fraction=0.5,
            random_state=0,
        ).fit(X)
        assert per_class.class_offsets_
        assert per_class.predict(fresh).shape == (9,)

    def test_data_frames_and_sparse_matrices(self):
        from scipy.sparse import csr_array

        names = ["a_0", "a_1", "logits_0", "logits_1", "logits_2"]
        X = draw(300)
        for kind in (pd.DataFrame(X, columns=names), csr_array(X)):
            detector = ConformalDetector(
                IsolationForest(n_estimators=5),
                threshold="per_class",
                blocks=[-1, 3],
                target_fpr=0.2,
                random_state=0,
            ).fit(kind)
            assert detector.n_features_in_ == 5
            assert sorted(detector.class_offsets_) == [0, 1, 2]
            assert detector.predict(kind).shape == (300,)
        with pytest.raises(ValueError, match="expecting 5 features"):
            detector.predict(X[:, :4])

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"detector": 3}, TypeError, "detector must be an outlier detector.*got 3"),
            ({"detector": KNN}, TypeError, "must be an outlier detector of"),
            ({"threshold": "class"}, ValueError, "'threshold' parameter"),
            ({"predicted_class": 3}, ValueError, "'predicted_class' parameter"),
            ({"threshold": "per_class"}, ValueError, "blocks must be given"),
            (
                {"threshold": "per_class", "predicted_class": lambda X: X},
                ValueError,
                r"predicted_class must return one class per sample, of shape \(10,\)",
            ),
        ],
    )
    def test_bad_parameters(self, options, error, message):
        options = {"detector": OneClassSVM(), "target_fpr": 0.5, **options}
        with pytest.raises(error, match=message):
            ConformalDetector(**options).fit(draw(50))

    def test_transformers_are_no_detectors(self):
        from sklearn.preprocessing import StandardScaler

        with pytest.raises(TypeError, match="must be an outlier detector of scikit"):
            ConformalDetector(StandardScaler()).fit(draw(50))


class TestPyOD:
    def test_sign_and_scores(self):
        X, fresh = draw(200), draw(50, seed=1)
        detector = PyODDetector(KNN(), random_state=0).fit(X)
        expected = -detector.detector_.decision_function(fresh)
        assert_array_equal(detector.score_samples(fresh), expected)

    def test_seeds(self):
        from pyod.models.iforest import IForest

        X = draw(200)
        first, second = (
            PyODDetector(IForest(n_estimators=5), random_state=1).fit(X)
            for _ in range(2)
        )
        assert_array_equal(first.score_samples(X), second.score_samples(X))
        assert first.detector.random_state is None
        fixed = PyODDetector(IForest(random_state=7)).fit(X)
        assert fixed.detector_.random_state == 7

    def test_search_over_its_parameters(self):
        detector = PyODDetector(KNN(), target_fpr=0.2)
        detector.set_params(detector__n_neighbors=3).fit(draw(50))
        assert detector.detector_.n_neighbors == 3

    def test_others_are_refused(self):
        with pytest.raises(TypeError, match=r"detector of PyOD.*use ConformalDetector"):
            PyODDetector(IsolationForest()).fit(draw(50))

    def test_scores_of_a_bare_one_are_refused(self):
        from skgrad.metrics import in_distribution_scores

        with pytest.raises(TypeError, match="PyOD does the opposite"):
            in_distribution_scores(KNN().fit(draw(50)), draw(50))


def test_svdd_per_class_is_the_papers_tau():
    # 95 % of the held-out inputs of each class pass.
    detector = PerClassSVDD(
        blocks=[-1, 3], threshold="per_class", calibration_fraction=0.5, random_state=0
    ).fit(draw(1200))
    for label, offset in detector.class_offsets_.items():
        own = detector.calibration_scores_[detector._calibration_classes == label]
        assert 0.95 <= np.mean(own >= offset) < 0.97


class TestPyODInHiding:
    """PyOD's sign is turned at the adapter; elsewhere it would be wrong in silence."""

    HIDDEN = {
        "pipeline": lambda: make_pipeline(StandardScaler(), KNN()),
        "frozen": lambda: FrozenEstimator(KNN().fit(draw(50))),
        "search": lambda: GridSearchCV(KNN(), {"n_neighbors": [3]}),
        "nested": lambda: FrozenEstimator(make_pipeline(KNN()).fit(draw(50))),
    }

    @pytest.mark.parametrize("hide", HIDDEN.values(), ids=HIDDEN)
    def test_it_is_refused(self, hide):
        for make in (
            ConformalDetector,
            lambda d: ClassConditionalDetector(d, blocks=[-1, 3]),
            lambda d: CombinedDetector([("a", d)]),
        ):
            with pytest.raises(TypeError, match=r"PyOD does the opposite.*PyODD"):
                make(hide()).fit(draw(100))

    def test_within_a_pipeline_the_adapter_does(self):
        detector = ConformalDetector(
            make_pipeline(StandardScaler(), PyODDetector(KNN())), random_state=0
        ).fit(draw(400))
        assert (detector.predict(draw(20, seed=1) + FAR) == -1).all()


@pytest.mark.parametrize(
    "form",
    [
        list,
        pd.Series,
        lambda y: pd.Series(y, dtype=object),
        lambda y: pd.DataFrame({"y": y}),
        lambda y: y[:, None],
        lambda y: y.astype(float),
    ],
)
def test_labels_of_anomalies_in_any_form(form):
    X, y = draw(300), np.repeat([1, -1], [200, 100])
    X[200:] += 100.0
    expected = LODA(random_state=0).fit(X[:200])
    detector = LODA(random_state=0).fit(X, form(y))
    assert detector.offset_ == expected.offset_


def test_equal_rows_are_judged_alike_however_many():
    for seed in range(10):
        rows = np.random.default_rng(seed).normal(size=(2, 20))
        X = np.repeat(rows, 60, axis=0)
        detector = MAKERS["Gaussian"](random_state=0).fit(X)
        together = detector.predict(X)[::60]
        assert [detector.predict(row[None])[0] for row in rows] == together.tolist()


def test_columns_in_another_order_are_refused_by_the_wrapper():
    names = ["b_0", "a_0"]
    X = draw(200)[:, :2]
    detector = ConformalDetector(IsolationForest(), random_state=0)
    detector.fit(FeatureArray(X, names))
    with pytest.raises(ValueError, match="columns seen by fit"):
        detector.predict(FeatureArray(X[:, ::-1], names[::-1]))


def test_the_wrapper_remembers_where_the_logits_are():
    names = ["a_0", "a_1", "logits_0", "logits_1", "logits_2"]
    X = draw(300)
    detector = ConformalDetector(
        LODA(), threshold="per_class", target_fpr=0.2, random_state=0
    ).fit(FeatureArray(X, names))
    expected = detector.predict(FeatureArray(X, names))
    assert_array_equal(detector.predict(X), expected)
    detector.set_params(blocks=[1, 4])
    assert_array_equal(detector.predict(X), expected)


class Guarded:
    """A classifier whose bound method tells the predicted class."""

    def __init__(self):
        self.weights = np.zeros(3)

    def predict(self, X):
        return np.asarray(X)[:, 2:].argmax(axis=1)


def test_clones_share_the_classifier():
    net = Guarded()
    detector = ConformalDetector(
        LODA(), threshold="per_class", predicted_class=net.predict, target_fpr=0.2
    )
    twin = clone(detector)
    assert twin.predicted_class.__self__ is net
    assert detector.predicted_class.__self__ is net
    assert sorted(twin.fit(draw(300)).class_offsets_) == [0, 1, 2]


def test_frozen_detectors_within_others():
    frozen = FrozenEstimator(LODA(random_state=0).fit(draw(200)))
    X = draw(200, seed=1)
    detector = CombinedDetector([("f", frozen)], random_state=0).fit(X)
    assert detector.detectors_["f"].estimator is frozen.estimator
    assert np.isfinite(detector.score_samples(X)).all()


def test_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    pipeline = make_pipeline(StandardScaler(), OneClassSVM())
    for detector in (
        ConformalDetector(pipeline, random_state=0),
        ClassConditionalDetector(OneClassSVM(), blocks=[-1, 3], random_state=0),
        PyODDetector(KNN(), random_state=0),
    ):
        detector.fit(draw(100))
    assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_detectors_that_cannot_score_new_inputs():
    with pytest.raises(TypeError, match="novelty=True"):
        ConformalDetector(LocalOutlierFactor()).fit(draw(50))
