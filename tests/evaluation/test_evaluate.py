"""`evaluate`: what is fitted on what, what is computed, and what raises."""

import sys

import numpy as np
import pytest
import torch
from networks import images
from numpy.testing import assert_array_equal
from pyod.models.knn import KNN
from recording_detectors import (
    FITTED,
    SCORED,
    Distance,
    Taught,
    forget,
    ids_of,
    linear_model,
    rows,
)
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skgrad import (
    ConformalDetector,
    LayerActivationTransformer,
    MaxSoftmaxProbability,
)
from skgrad.attacks import fgsm
from skgrad.evaluation import AnomalySet, evaluate
from skgrad.evaluation._resources import Meter
from skgrad.metrics import auroc

X_FIT, Y_FIT = rows(120, seed=1)
X_TEST, Y_TEST = rows(50, seed=2)
NEARLY = np.nextafter(X_TEST.astype(np.float64), 9)
FAR, _ = rows(20, seed=3, shift=5.0)
NOISE, _ = rows(15, seed=4, shift=-3.0)
SOURCES = np.random.default_rng(5).integers(50, size=30)
ATTACK = AnomalySet(X_TEST[SOURCES] + rows(30, seed=6)[0], sources=SOURCES)


@pytest.fixture(autouse=True)
def nothing_recorded():
    forget()


class Broken(OutlierMixin, BaseEstimator):
    """Rejects by a threshold of its own; its scores are none, or of the wrong sign."""

    def __init__(self, how):
        self.how = how

    def fit(self, X, y=None):
        self.limit_ = np.percentile(self.decision_function(X), 90)
        return self

    def decision_function(self, X):
        off = np.linalg.norm(X, axis=1)
        if self.how == "nan":
            off[0] = np.nan
        return off

    def predict(self, X):
        return np.where(self.decision_function(X) > self.limit_, -1, 1)


def judge(detectors=None, anomalies=None, **options):
    """Evaluate with the defaults of this file."""
    options = {"X_fit": X_FIT, "X_test": X_TEST} | options
    model = options.pop("model", None) or linear_model()
    return evaluate(
        model,
        detectors={"distance": Distance()} if detectors is None else detectors,
        anomalies={"far": FAR} if anomalies is None else anomalies,
        **options,
    )


def same(one, two):
    """Return True if two evaluations agree in all but seconds and memory."""
    columns = [c for c in one.frame if "seconds" not in c and "memory" not in c]
    return one.frame[columns].equals(two.frame[columns])


# Values


def test_scores_and_table_are_those_of_the_detector():
    found = judge(anomalies={"far": FAR, "noise": NOISE})
    detector = Distance().fit(X_FIT)
    for result, X in zip(found.results, (FAR, NOISE), strict=True):
        assert_array_equal(result.scores_id, detector.score_samples(X_TEST))
        assert_array_equal(result.scores_anomaly, detector.score_samples(X))
        assert result.offset == detector.offset_
        assert_array_equal(result.rejected_anomaly, detector.predict(X) == -1)
        assert_array_equal(result.classes_id, Y_TEST)
    assert (found.frame[["fit_seconds", "score_seconds"]] > 0).all(axis=None)
    row = found.frame.iloc[1]
    y = np.repeat([1, -1], [50, 15])
    scores = detector.score_samples(np.concatenate([X_TEST, NOISE]))
    assert row["auroc"] == auroc(y, scores)
    assert row["realised_fpr"] == np.mean(detector.predict(X_TEST) == -1)
    assert row["rejected_anomalies"] == np.mean(detector.predict(NOISE) == -1)
    assert (row["protocol"], row["anomaly"], row["n_anomalies"]) == ("C", "noise", 15)


class Fixed(Distance):
    """A threshold that some scores equal."""

    def fit(self, X, y=None):
        self.offset_ = 0.5
        return self

    def score_samples(self, X):
        return np.where(np.asarray(X)[:, 0] > 0, 1.0, 0.5)


def test_decisions_at_the_threshold_and_per_class():
    logits = LayerActivationTransformer(linear_model(), "logits")
    how = {"threshold": "per_class", "target_fpr": 0.2, "random_state": 0}
    per_class = make_pipeline(logits, MaxSoftmaxProbability(**how))
    fixed, other = judge({"fixed": Fixed(), "per class": per_class}).results
    assert (fixed.scores_id == fixed.offset).any()
    assert not fixed.rejected_id.any()
    assert other.offset is None
    expected = per_class.fit(X_FIT).predict(X_TEST) == -1
    assert_array_equal(other.rejected_id, expected)


class ZeroOne(Taught):
    """Of labels 0 and 1 the second means anomaly."""

    def fit(self, X, y):
        super().fit(X, y)
        self.classes_ = np.array([0, 1])
        return self

    def decision_function(self, X):
        return -super().decision_function(X)

    def predict(self, X):
        return (self.decision_function(X) > 0).astype(int)


def test_decisions_of_classifiers():
    found = judge({"t": Taught(), "z": ZeroOne()}, known_anomalies=FAR + 1)
    for result in found.results:
        assert result.rejected_anomaly.mean() > 0.9
        assert result.rejected_id.mean() < 0.1


def test_results_do_not_depend_on_the_order_of_detectors_and_kinds():
    forest = IsolationForest(n_estimators=5, contamination=0.1)
    detectors, kinds = {"f": forest, "d": Distance()}, {"far": FAR, "noise": NOISE}
    other_way = (dict(reversed(given.items())) for given in (detectors, kinds))
    one = judge(detectors, kinds, seeds=[3]).figures
    two = judge(*other_way, seeds=[3]).figures
    keys = ["detector", "anomaly", "auroc", "aupr_in", "realised_fpr"]
    one, two = (f[keys].set_index(keys[:2]).sort_index() for f in (one, two))
    assert one.equals(two)


def test_seeds_reach_every_random_state_but_that_of_frozen_detectors():
    pipeline = make_pipeline(StandardScaler(), Distance(random_state=99))
    wrapped = ConformalDetector(Distance(), target_fpr=0.2)
    forest = IsolationForest(random_state=99).fit(X_FIT)
    detectors = {"f": FrozenEstimator(forest), "pipeline": pipeline, "wrapped": wrapped}
    frozen = judge(detectors, seeds=[4, 5]).results[0]
    assert_array_equal(frozen.scores_id, forest.score_samples(X_TEST))
    assert {state for _, _, state in FITTED} == {4, 5}
    assert pipeline[-1].random_state == 99
    assert not hasattr(pipeline[-1], "middle_")


def test_rows_are_judged_as_the_inputs_that_they_are():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 16, 3))
    X, noise = images(80, (1, 6, 6)), images(20, (1, 6, 6), seed=1) ** 9

    def scores(X, noise, shape=None):
        logits = LayerActivationTransformer(model, "logits", input_shape=shape)
        softmax = make_pipeline(logits, MaxSoftmaxProbability(target_fpr=0.2))
        data = {"X_test": X[60:], "X_fit": X[:60], "input_shape": shape}
        return judge({"d": softmax}, {"noise": noise}, model=model, **data).results[0]

    shaped = scores(X, noise)
    flat = scores(X.reshape(80, -1), noise.reshape(20, -1), (1, 6, 6))
    assert_array_equal(flat.scores_anomaly, shaped.scores_anomaly)
    assert_array_equal(flat.classes_id, shaped.classes_id)


# What is fitted on what


def test_c_fits_on_the_inputs_given_or_on_other_folds():
    judge()
    ((X, y, _),) = FITTED
    assert ids_of(X) == ids_of(X_FIT)
    assert y is None
    forget()
    found = judge(X_fit=None, n_folds=4)
    assert len(found.results) == len(FITTED) == 4
    tested = [X_TEST[i] for i in range(50)]
    for (X, _, _), result in zip(list(FITTED), found.results, strict=True):
        seen = set(ids_of(X))
        new = [row for row in tested if row.tobytes() not in seen]
        assert len(seen) + len(new) == 50
        again = Distance().fit(X)
        assert sorted(again.score_samples(new)) == sorted(result.scores_id)


@pytest.mark.parametrize("with_fit", [True, False])
def test_b_fits_on_correctly_classified_inputs_only(with_fit):
    known, y = (X_FIT, Y_FIT) if with_fit else (X_TEST, Y_TEST)
    y = y.copy()
    y[::3] = (y[::3] + 1) % 3
    wrong = set(ids_of(known[::3]))
    labels = {"y_fit": y} if with_fit else {"X_fit": None, "y_test": y}
    found = judge(protocol="B", **labels)
    assert FITTED
    fitted = [set(ids_of(X)) for X, _, _ in FITTED]
    assert not any(seen & wrong for seen in fitted)
    assert set.union(*fitted) == set(ids_of(known)) - wrong
    # All inputs are tested on.
    assert sum(len(r.scores_id) for r in found.results) == 50


@pytest.mark.parametrize(
    ("protocol", "with_fit", "wrapped"),
    [("A", True, False), ("A", False, True), ("A'", False, False), ("A'", True, True)],
)
def test_supervised_detectors_learn_from_the_split_alone(protocol, with_fit, wrapped):
    kinds = {"attack": ATTACK, "far": FAR, "noise": NOISE}
    detector = Taught()
    if wrapped:
        detector = ConformalDetector(detector, target_fpr=0.2)
    X_fit = X_FIT if with_fit else None
    found = judge({"taught": detector}, kinds, protocol=protocol, X_fit=X_fit)
    assert len(FITTED) == len(found.results) == 3
    test, fit = set(ids_of(X_TEST)), set(ids_of(X_FIT))
    members = {name: set(ids_of(getattr(X, "X", X))) for name, X in kinds.items()}
    for (X, y, _), result in zip(FITTED, found.results, strict=True):
        seen = ids_of(X)
        known = {i for i, label in zip(seen, y, strict=True) if label == 1}
        strange = set(seen) - known
        # Paper A's classifier is trained on the split alone, whatever else is there.
        assert known <= test
        assert not known & fit
        # A conformal detector holds out a fifth of the known ones.
        assert len(known) == (32 if wrapped else 40)
        assert len(result.scores_id) == 10
        for name, those in members.items():
            learnt_from = (name == result.anomaly) == (protocol == "A")
            assert bool(strange & those) == learnt_from
        if result.anomaly == "attack":
            assert len(result.scores_anomaly) < 15


def test_unsupervised_detectors_see_no_anomaly_under_a():
    judge(anomalies={"attack": ATTACK, "far": FAR}, protocol="A")
    for X, y, _ in FITTED:
        assert y is None
        assert not set(ids_of(X)) & set(ids_of(FAR))
        assert set(ids_of(X)) - set(ids_of(X_TEST)) == set(ids_of(X_FIT))
    # Both kinds have one split, so there is one fit.
    assert len(FITTED) == 1


def test_known_anomalies_are_learnt_from_by_those_that_can():
    known, others = FAR + 40, {"distance": Distance(), "taught": Taught()}
    found = judge(others, known_anomalies=known)
    (plain, none, _), (taught, y, _) = FITTED
    assert ids_of(plain) == ids_of(X_FIT)
    assert none is None
    assert ids_of(taught) == ids_of(np.concatenate([X_FIT, known]))
    assert y.tolist() == [1] * len(X_FIT) + [-1] * len(known)
    without = judge({"distance": Distance()})
    assert_array_equal(found.results[0].scores_id, without.results[0].scores_id)
    folds = judge({"t": Taught()}, X_fit=None, known_anomalies=known, n_folds=2)
    assert len(folds.results) == 2


@pytest.mark.parametrize("options", [{"protocol": "A"}, {}])
def test_attacks_need_sources_where_test_inputs_are_fitted_on(options):
    model = linear_model()
    result = fgsm(model, X_TEST, eps=0.5, bounds=(-50, 50))
    with pytest.raises(ValueError, match=r"anomalies\['FGSM'\] must have its sources"):
        judge(anomalies={"FGSM": result}, X_fit=None, **options)
    with_sources = AnomalySet.from_attack(result, sources=np.arange(50))
    judge(anomalies={"FGSM": with_sources}, X_fit=None, **options)
    # Fitted on other inputs, no clean one can be on the other side.
    if not options:
        judge(anomalies={"FGSM": result})


def test_groups_reach_the_results():
    kinds = {"near": AnomalySet(FAR, group="near data"), "noise": NOISE}
    failed = AnomalySet(np.empty((0, 4), np.float32), sources=[], group="attacks")
    kinds["failed"] = failed
    for detector, protocol in ((Distance(), "C"), (Taught(), "A")):
        found = judge({"d": detector}, kinds, protocol=protocol)
        assert found.groups == {
            "near": "near data",
            "noise": "other",
            "failed": "attacks",
        }
        assert list(found.summary(by="group").index[:3]) == list(found.groups.values())


@pytest.mark.parametrize(
    ("protocol", "detector"),
    [("A", Taught()), ("A'", Taught()), ("A'", Distance()), ("C", Distance())],
)
def test_attacks_without_success_are_a_row_of_nan(protocol, detector, tmp_path):
    failed = AnomalySet(np.empty((0, 4), np.float32), sources=[])
    kinds = {"failed": failed, "far": FAR}
    found = judge({"d": detector}, kinds, protocol=protocol)
    frame = found.frame.set_index("anomaly")
    assert np.isnan(frame.loc["failed", ["auroc", "auroc_low"]].astype(float)).all()
    assert frame.loc["failed", "n_anomalies"] == 0
    # The other kind is all that A' learns from, and there is none.
    taught = protocol != "A'" or isinstance(detector, Distance)
    assert (frame.loc["far", "auroc"] > 0.9) == taught
    assert len(found.write(tmp_path)) == 3
    assert (found.summary().loc["mean", "d"] > 0.9) == taught


# What is computed, and kept


def test_second_run_from_memory_is_identical_and_free(tmp_path):
    options = {"memory": str(tmp_path), "seeds": [0, 1], "protocol": "A'"}
    detectors = {"distance": Distance(), "taught": Taught()}
    kinds = {"attack": ATTACK, "far": FAR}
    first = judge(detectors, kinds, **options)
    forget()
    second = judge(detectors, kinds, **options)
    assert FITTED == SCORED == []
    assert first.frame.equals(second.frame)
    # It is what comes out without memory.
    assert same(first, judge(detectors, kinds, **{**options, "memory": None}))


def test_scores_in_memory_depend_on_all_that_goes_into_them(tmp_path):
    def run(weight=1.0, power=1.0, memory=str(tmp_path), **options):
        model = linear_model()
        torch.nn.init.constant_(model.weight, weight)
        logits = LayerActivationTransformer(model, "logits")
        detector = make_pipeline(logits, Distance(power))
        return judge({"d": detector}, model=model, memory=memory, **options)

    run()
    forget()
    run()
    assert SCORED == []
    for change in (
        {"weight": 0.5},
        {"power": 2.0},
        {"seeds": [1]},
        {"X_fit": X_FIT + np.float32(1e-6)},
        {"X_test": X_TEST[:-1]},
        {"anomalies": {"far": FAR[:-1]}},
    ):
        forget()
        found = run(**change)
        assert SCORED, change
        assert same(found, run(**change, memory=None)), change


def test_interrupted_run_continues(tmp_path):
    detectors = {"one": Distance(), "two": Distance(power=2.0)}
    with pytest.raises(ValueError, match="NaN"):
        judge({**detectors, "three": Broken("nan")}, memory=str(tmp_path))
    forget()
    found = judge(detectors, memory=str(tmp_path))
    assert FITTED == []
    assert same(found, judge(detectors))


# Costs


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_memory_meter_sees_an_allocation():
    with Meter("cpu") as idle:
        pass
    with Meter("cpu") as busy:
        block = np.ones(25_000_000)
        del block
    assert 0 <= idle.peak_memory < 50 * 2**20
    assert 190 * 2**20 < busy.peak_memory < 260 * 2**20
    assert busy.seconds > 0


# What raises an error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X_test": X_TEST[:0]}, "X_test must hold in-distribution"),
        ({"X_test": X_TEST[:4], "protocol": "A"}, "X_test must hold 5 inputs or more"),
        ({"anomalies": {"x": FAR * np.nan}}, r"\['x'\] must be finite"),
        ({"X_fit": X_FIT[:, :3]}, r"have the shape of X_fit, \(3,\)"),
        ({"X_fit": X_TEST[:6]}, "X_test must hold other inputs.* 12%"),
        ({"X_fit": 100 * X_FIT + 5000}, "differ, as in their scale"),
        ({"anomalies": {"x": X_FIT[9:10]}}, "none of the inputs in X_fit"),
        # Compared in the coarser of two types, as a model sees no more digits.
        ({"anomalies": {"x": X_TEST[:2]}, "X_test": NEARLY}, "in X_test; 2 are equal"),
        ({"detectors": {"d": Distance}}, r"detectors\['d'\]"),
        ({"detectors": {"d": KNN()}}, r"detectors\['d'\] must score .* Wrap PyOD"),
        ({"detectors": {"d": Distance(sign=-1)}}, "wrong sign"),
        ({"detectors": {"d": Broken("nan")}}, r"\['d'\] .* 1 times NaN"),
        ({"detectors": {"d": Broken("sign")}}, "that it scores highest"),
        ({"detectors": {"t": Taught()}}, r"learns from anomalies.*\"A\""),
        ({"protocol": "B"}, "y_fit must be given under protocol 'B'"),
        ({"protocol": "B", "X_fit": None}, "y_test must be given"),
        ({"protocol": "B", "y_fit": (Y_FIT + 1) % 3}, "none of the 120"),
        ({"y_fit": Y_FIT, "X_fit": None}, "y_fit must be None without"),
        ({"seeds": [0, 1, 0]}, "seeds must be different integers"),
        ({"n_jobs": 0}, "n_jobs must be None, a number of workers from 1"),
        ({"n_jobs": 1.5}, "n_jobs must be None, a number of workers from 1"),
        ({"n_folds": 51, "X_fit": None}, "n_folds"),
        ({"known_anomalies": FAR + 1, "protocol": "A"}, "must be None under protocol"),
        ({"known_anomalies": ATTACK}, "must hold no sources"),
        ({"known_anomalies": FAR}, "none of the inputs in known_anomalies"),
        ({"known_anomalies": X_TEST[:5]}, "must be none of the inputs in X_test"),
        ({"known_anomalies": X_FIT[:2]}, "must be none of the inputs in X_fit; 2 are"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        judge(**change)
    # Only what the scores of a detector show is noticed after its fit.
    assert FITTED == [] or "detectors" in change or "scale" in message


def test_inputs_that_the_model_cannot_take_are_named():
    with pytest.raises(ValueError, match="model cannot take X") as caught:
        judge(X_test=X_TEST[:, :3])
    assert caught.value.__notes__ == ["The X of this message is X_test."]
