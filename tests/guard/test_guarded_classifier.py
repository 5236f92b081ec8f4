"""The guard: the answers of network and detector, all from one pass."""

import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from networks import LeNet, MaskedText, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.metrics import get_scorer, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import skgrad
from skgrad import (
    ConformalDetector,
    Energy,
    GuardedClassifier,
    LayerActivationTransformer,
    MaxSoftmaxProbability,
    MLPAnomalyClassifier,
    PerClassSVDD,
    make_geometric_gradient_detector,
    make_recommended_detector,
    predict_logits,
)
from skgrad.baselines import ODIN
from skgrad.evaluation import evaluate
from skgrad.guard import PValueMonitor, risk_threshold
from skgrad.inspection import ScoreDistributionDisplay
from skgrad.metrics import auroc_scorer

SHAPE = (1, 28, 28)
X_FIT = images(240, SHAPE) ** 4
# Inputs like those of the fit, and others.
X_TEST = np.concatenate([images(20, SHAPE, seed=1) ** 4, images(10, SHAPE, seed=2)])
NET = seeded(LeNet).eval()
WORDS = [f"digit {number}" for number in range(10)]


def rows(n_samples, seed=0):
    return np.random.default_rng(seed).normal(size=(n_samples, 4)).astype("f4")


def linear(n_classes=3):
    return seeded(partial(nn.Linear, 4, n_classes))


def layers_and(*steps, **options):
    return make_pipeline(LayerActivationTransformer(NET, **options), *steps)


SEED = {"random_state": 0}
FOREST = IsolationForest(n_estimators=10, random_state=0)
DETECTORS = {
    "recommended": make_recommended_detector(NET, **SEED),
    "low effort": make_recommended_detector(NET, effort="low", **SEED),
    "no logits": make_geometric_gradient_detector(NET, **SEED),
    "per class": layers_and(
        PerClassSVDD(threshold="per_class", **SEED), layers=["conv1", "logits"]
    ),
    "data frames": layers_and(StandardScaler(), PerClassSVDD(**SEED)).set_output(
        transform="pandas"
    ),
    "of another library": layers_and(ConformalDetector(FOREST, **SEED)),
}


def quietly_fitted(estimator, X=X_FIT):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some classes are small
        return estimator.fit(X)


def guarded(name="recommended", **options):
    guard = GuardedClassifier(NET, DETECTORS[name], target_fpr=0.1, **options, **SEED)
    return quietly_fitted(guard)


@pytest.mark.parametrize("name", DETECTORS)
def test_judge_equals_network_and_detector(name):
    guard = guarded(name, classes=WORDS)
    detector = clone(DETECTORS[name])
    detector[-1].set_params(target_fpr=0.1)
    quietly_fitted(detector)
    judged = guard.judge(X_TEST)
    with torch.no_grad():
        logits = NET(torch.from_numpy(X_TEST)).double().numpy()
    features = detector[:-1].transform(X_TEST)
    p_values = detector[-1].p_values(features)
    assert judged.predicted.tolist() == [WORDS[k] for k in logits.argmax(axis=1)]
    assert_array_equal(judged.score, detector.score_samples(X_TEST))
    assert_array_equal(judged.p_value, p_values)
    assert_array_equal(judged.trust, detector.predict(X_TEST) == 1)
    assert 0 < judged.trust.sum() < len(X_TEST)
    # The other methods say the same.
    probabilities = softmax(predict_logits(NET, X_TEST).astype("f8"), axis=1)
    assert_allclose(guard.predict_proba(X_TEST), probabilities, rtol=1e-12)
    assert_allclose(judged.probability, probabilities.max(axis=1), rtol=1e-12)
    assert_array_equal(guard.p_values(X_TEST), p_values)
    assert_array_equal(guard.score_samples(X_TEST), judged.score)
    assert_array_equal(guard.decision_function(X_TEST) >= 0, judged.trust)
    answers = np.where(judged.trust, judged.predicted, "rejected")
    assert_array_equal(guard.predict(X_TEST), answers)
    chosen = detector[-1].select_anomalies(features, fdr=0.5)
    assert_array_equal(guard.select_anomalies(X_TEST, fdr=0.5), chosen)


def test_recommended_detector_is_the_default():
    options = {"target_fpr": 0.1, "batch_size": 7, **SEED}
    guard = GuardedClassifier(NET, **options).fit(X_FIT)
    expected = make_recommended_detector(NET, **options).fit(X_FIT)
    assert_array_equal(guard.score_samples(X_TEST), expected.score_samples(X_TEST))
    assert_array_equal(guard.judge(X_TEST).trust, expected.predict(X_TEST) == 1)
    assert guard.detector_[0].batch_size == 7
    scores = expected[-1].calibration_scores_
    assert_array_equal(guard.calibration_scores_, scores)


def test_trust_keeps_the_rate_of_false_alarms():
    model, new = linear(), rows(500, seed=99)
    energy = make_pipeline(LayerActivationTransformer(model, "logits"), Energy())
    guard = GuardedClassifier(model, energy, target_fpr=0.2)
    rejected, after = [], []
    for seed in range(60):
        guard.set_params(random_state=seed).fit(rows(145, seed=seed))
        rejected.append(np.mean(~guard.judge(new).trust))
        after.append(np.mean(~guard.recalibrate(rows(29, seed + 100)).judge(new).trust))
    # 29 samples place the threshold: 0.2 on average, off by 0.07 in a single fit.
    assert abs(np.mean(rejected) - 0.2) < 0.03
    assert abs(np.mean(after) - 0.2) < 0.03


# Inputs that the network cannot take


def with_holes(X):
    X = X.copy()
    X[2, 0, 3, 3], X[11] = np.nan, np.inf
    return X


CONTAINERS = {
    "array": lambda X: X,
    "tensor": torch.from_numpy,
    "list": lambda X: X.tolist(),
    "dataset": lambda X: TensorDataset(torch.from_numpy(X)),
    "loader": lambda X: DataLoader(TensorDataset(torch.from_numpy(X)), 8),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_wrong_rows_are_rejected_and_the_others_judged(kind):
    guard, X = guarded(classes=WORDS), CONTAINERS[kind](with_holes(X_TEST))
    with pytest.warns(UserWarning, match=r"X holds NaN.* rows 2, 11: rejected"):
        judged = guard.judge(X)
    wrong, right = [2, 11], np.delete(np.arange(30), [2, 11])
    assert judged.predicted[wrong].tolist() == ["rejected"] * 2
    assert judged.p_value[wrong].tolist() == [0, 0]
    assert judged.score[wrong].tolist() == [-np.inf] * 2
    assert np.isnan(judged.probability[wrong]).all()
    assert not judged.trust[wrong].any()
    # In the same batches, as others round otherwise.
    expected = guard.judge(CONTAINERS[kind](X_TEST[right]))
    for name, column in expected._columns().items():
        assert_array_equal(getattr(judged, name)[right], column)
    for method in (guard.predict, guard.p_values, guard.predict_proba):
        with pytest.raises(ValueError, match=r"X must be finite.* rows? 2"):
            method(X)


def test_nothing_but_wrong_rows():
    with pytest.warns(UserWarning, match="in row 0: rejected"):
        judged = guarded().judge(np.full((1, *SHAPE), np.nan))
    assert (judged.predicted.tolist(), judged.trust.tolist()) == ([-1], [False])


def test_inputs_are_checked_without_the_network():
    guard, calls = guarded(), []
    hook = NET.register_forward_pre_hook(lambda *_: calls.append(1))
    (x,) = guard.check_inputs([X_TEST[0].tolist()])
    hook.remove()
    assert not calls
    assert_array_equal(x, X_TEST[0])
    assert x.dtype == np.float32
    together = guard.judge([x, guard.check_inputs(X_TEST[1:2])[0]])
    assert_array_equal(together.trust, guard.judge(X_TEST[:2]).trust)
    wrong = {
        r"X must hold samples of shape \(1, 28, 28\).*got": X_TEST[:1, :, :9],
        "X must be finite": np.full((1, *SHAPE), np.nan),
        "X must be numeric": [[[["a"] * 28] * 28]],
    }
    for match, X in wrong.items():
        with pytest.raises(ValueError, match=match):
            guard.check_inputs(X)
    with pytest.raises(TypeError, match="X must hold numbers"):
        guard.check_inputs([{"a": 1}])


class Pair(nn.Module):
    """A network of two inputs."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, left, right):
        return self.left(left) + self.right(right)


def test_wrong_rows_of_several_inputs():
    X = {"left": rows(200), "right": rows(200, seed=1)}
    guard = GuardedClassifier(seeded(Pair), **SEED).fit(X)
    few = {key: entry[:6].copy() for key, entry in X.items()}
    few["left"][1, 0], few["right"][3, 2] = np.nan, np.inf
    with pytest.warns(UserWarning, match="rows 1, 3"):
        judged = guard.judge(few)
    keep = [0, 2, 4, 5]
    others = {key: entry[keep] for key, entry in few.items()}
    expected = guard.judge(others)
    assert_array_equal(judged.score[keep], expected.score)
    for key, entry in guard.check_inputs(others).items():
        assert_array_equal(entry, others[key])


def test_wrong_rows_of_tokens():
    ids = np.random.default_rng(0).integers(1000, size=(120, 6))
    guard = GuardedClassifier(seeded(MaskedText), **SEED).fit(ids)
    expected, few = guard.judge(ids[:9]), ids[:9].astype(np.float64)
    few[3, 1], few[5, 0] = np.nan, np.inf
    for given in (few, torch.from_numpy(few), TensorDataset(torch.from_numpy(few))):
        with pytest.warns(UserWarning, match="rows 3, 5: rejected"):
            judged = guard.judge(given)
        assert judged.p_value[[3, 5]].tolist() == [0, 0]
        keep = np.delete(np.arange(9), [3, 5])
        assert_allclose(judged.score[keep], expected.score[keep], rtol=1e-5)
    # A number between tokens is a wrong call, not a damaged input.
    with pytest.raises(ValueError, match="X must hold whole numbers"):
        guard.judge(ids[:9] + 0.5)


def test_values_too_large_for_the_network():
    guard, X = GuardedClassifier(linear(), **SEED).fit(rows(200)), rows(5).astype("f8")
    X[1, 2] = 1e200
    with pytest.warns(UserWarning, match="in row 1: rejected"):
        assert guard.judge(X).p_value[1] == 0
    half = GuardedClassifier(linear().bfloat16(), **SEED).fit(rows(200))
    with pytest.warns(UserWarning, match="in row 1: rejected"):
        half.judge(X)


# Classes and labels


def test_reject_labels():
    model, X, far = linear(), rows(200), np.full((1, 4), 99, "f4")
    for classes, label, expected in (
        (None, None, -1),
        (None, 3, 3),
        (["a", "b", "c"], None, "rejected"),
        (["a", "b", "c"], "do not know", "do not know"),
        ([7, 8, 9], None, -1),
    ):
        guard = GuardedClassifier(
            model, classes=classes, reject_label=label, **SEED
        ).fit(X)
        assert guard.predict(far).tolist() == [guard.reject_label_] == [expected]
        names = [0, 1, 2] if classes is None else classes
        assert guard.classes_.tolist() == names
        k = model(torch.from_numpy(far)).argmax()
        assert guard.judge(far).predicted.tolist() == [names[k]]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"classes": ["a", "b"]}, r"classes must name each of the 3 logits.*got 2"),
        ({"classes": ["a", "a", "b"]}, "classes must be None or .* each once"),
        ({"classes": ["a", 1, "b"]}, r"classes must be None or .* got \['a', 1"),
        ({"classes": [0.5, 1.5, 2.5]}, "classes must be None or"),
        ({"reject_label": 2}, r"reject_label must be a whole .* none of them; got 2"),
        ({"reject_label": "no"}, "reject_label must be a whole number"),
        ({"classes": list("abc"), "reject_label": -1}, "reject_label must be a word"),
        ({"classes": [-1, 0, 1]}, "reject_label must be a whole number.*got -1"),
    ],
)
def test_wrong_classes(options, match):
    guard = GuardedClassifier(linear(), **options, **SEED)
    with pytest.raises(ValueError, match=match):
        guard.fit(rows(200))
    assert not hasattr(guard, "detector_")


def test_labels_are_compared_with_the_classes():
    model, X = linear(), rows(200)
    guard = GuardedClassifier(model, classes=list("abc"), **SEED)
    scores = guard.fit(X).calibration_scores_
    y = np.array(list("abca" * 50))
    assert_array_equal(guard.fit(X, y).calibration_scores_, scores)
    with pytest.raises(ValueError, match=r"y must hold classes of the model, 'a', 'b'"):
        guard.fit(X, np.arange(200) % 3)
    with pytest.raises(ValueError, match=r"y must hold one value for each of the 200"):
        guard.fit(X, y[1:])
    # As for detectors.
    signs = np.repeat([1, -1], [200, 9])
    both = np.concatenate([X, rows(9) + 50])
    assert_array_equal(guard.fit(both, signs).calibration_scores_, scores)


# Thresholds


def test_another_threshold_is_that_of_another_fit():
    for name in ("recommended", "per class"):
        guard = guarded(name)
        p_values = guard.p_values(X_TEST)
        again = clone(guard).set_params(target_fpr=0.4)
        expected = quietly_fitted(again).judge(X_TEST)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert guard.set_threshold(target_fpr=0.4) is guard
        assert guard.target_fpr == 0.4
        assert_array_equal(guard.judge(X_TEST).trust, expected.trust)
        assert_array_equal(guard.p_values(X_TEST), p_values)
        for wrong in (0, 1, "a", np.nan):
            with pytest.raises(ValueError, match="target_fpr must be a number between"):
                guard.set_threshold(target_fpr=wrong)
        assert guard.target_fpr == 0.4
        assert_array_equal(guard.judge(X_TEST).trust, expected.trust)


def test_threshold_of_an_error_rate():
    model, X = linear(), rows(600)
    confidence = MaxSoftmaxProbability(threshold="per_class")
    detector = make_pipeline(LayerActivationTransformer(model, "logits"), confidence)
    guard = GuardedClassifier(model, detector, target_fpr=0.1, **SEED).fit(X)
    assert len(guard.detector_[-1].class_offsets_) == 3
    scores, p_values = guard.score_samples(X), guard.p_values(X)
    found = risk_threshold(np.arange(600) % 9 > 0, scores, alpha=0.2, delta=0.2)
    before = guard.judge(X).trust
    guard.set_threshold(score=found.threshold)
    trust = guard.judge(X).trust
    assert_array_equal(trust, scores >= found.threshold)
    assert (trust != before).any()
    assert_array_equal(guard.p_values(X), p_values)
    guard.set_threshold(target_fpr=0.1)
    assert_array_equal(guard.judge(X).trust, before)
    for wrong in ({}, {"score": 1.0, "target_fpr": 0.1}):
        with pytest.raises(ValueError, match="set_threshold must get either target"):
            guard.set_threshold(**wrong)
    for wrong in ("low", np.nan):
        with pytest.raises(ValueError, match="score must be a number; got"):
            guard.set_threshold(score=wrong)


def test_a_monitor_takes_a_guard():
    guard = guarded()
    monitor = PValueMonitor(guard)
    assert monitor.n_calibration_ == len(guard.calibration_scores_)
    X = with_holes(X_TEST)
    with pytest.warns(UserWarning, match="rejected"):
        judged = guard.judge(X)
    monitor.update(judged)
    assert monitor.n_seen_ == 30
    assert monitor.class_counts_[-1] == (2, 2)
    for label in set(judged.predicted.tolist()):
        of_class = judged.predicted == label
        counts = np.sum(of_class), np.sum(of_class & ~judged.trust)
        assert monitor.class_counts_[label] == counts


def test_recalibration_leaves_the_features_alone():
    guard = guarded()
    before, first = guard.score_samples(X_TEST), guard.detector_[0]
    new = images(60, SHAPE, seed=5)
    rejected = np.mean(~guard.judge(new).trust)
    assert rejected > 0.9
    guard.recalibrate(new)
    assert_array_equal(guard.calibration_scores_, guard.score_samples(new))
    assert guard.detector_[0] is first
    assert_array_equal(guard.score_samples(X_TEST), before)
    m = np.array([1 + np.sum(guard.calibration_scores_ <= s) for s in before])
    assert_array_equal(guard.p_values(X_TEST), m / 61)
    # The detector of the parameter is not the one that was fitted.
    assert not hasattr(guard.detector[-1], "offset_")


def test_threads_see_one_threshold_or_the_other():
    model, X, few = linear(), rows(200), rows(20, seed=1)
    guard = clone_of(model).fit(X)
    expected = []
    for rate in (0.1, 0.6):
        trust = guard.set_threshold(target_fpr=rate).judge(few).trust
        expected.append(trust.tolist())
    assert expected[0] != expected[1]

    def switch_and_ask(number):
        found = []
        for turn in range(10):
            guard.set_threshold(target_fpr=(0.1, 0.6)[(number + turn) % 2])
            found.append(guard.judge(few).trust.tolist())
        return found

    with ThreadPoolExecutor(4) as pool:
        answers = [
            answer for part in pool.map(switch_and_ask, range(4)) for answer in part
        ]
    assert len(answers) == 40
    assert all(answer in expected for answer in answers)


# The tools of scikit-learn, and files


def test_search_over_the_detector():
    model, X = linear(), rows(300)
    y = predict_logits(model, X).argmax(axis=1)
    detector = make_pipeline(LayerActivationTransformer(model, "logits"), Energy())
    guard = GuardedClassifier(model, detector, **SEED)
    search = GridSearchCV(guard, {"target_fpr": [0.1, 0.4]}, cv=3, error_score="raise")
    search.fit(X, y)
    # Whatever is rejected counts as an error.
    assert search.best_params_ == {"target_fpr": 0.1}
    assert 0.8 < search.best_score_ < 1
    assert search.best_estimator_.model is model
    nested = clone(guard).set_params(detector__energy__threshold="per_class")
    assert nested.detector[-1].threshold == "per_class"
    assert guard.detector[-1].threshold == "overall"


def test_guard_at_the_end_of_a_pipeline():
    model, X = linear(), rows(200)
    scaled = make_pipeline(FunctionTransformer(lambda X: X / 2), clone_of(model))
    alone = clone_of(model).fit(X / 2)
    assert_array_equal(scaled.fit(X).predict(X), alone.predict(X / 2))


def clone_of(model):
    return clone(GuardedClassifier(model, **SEED))


def test_scorers_of_detectors_take_a_guard():
    X, far = rows(200), rows(40) + 20
    # Of two classes a classifier's second would be taken for the anomaly.
    guard = clone_of(linear(2)).fit(X)
    y = np.repeat([1, -1], [200, 40])
    assert auroc_scorer(guard, np.concatenate([X, far]), y) > 0.99


def test_scorers_of_classifiers_judge_trust():
    X = rows(200)
    guard = clone_of(linear(2)).fit(X)
    y = predict_logits(guard.model, X).argmax(axis=1)
    found = get_scorer("roc_auc")(guard, X, y)
    assert found == roc_auc_score(y, guard.decision_function(X)) < 0.8
    assert get_scorer("accuracy")(guard, X, y) == guard.judge(X).trust.mean() < 1


@pytest.mark.parametrize("name", ["recommended", "no logits", "data frames"])
def test_files_and_pickles(name, tmp_path):
    guard = guarded(name, classes=WORDS)
    expected = guard.set_threshold(target_fpr=0.3).judge(X_TEST)
    skgrad.save(guard, tmp_path / "guard.skgrad")
    loaded = skgrad.load(tmp_path / "guard.skgrad", model=NET)
    pickled = pickle.loads(pickle.dumps(guard))
    for twin in (loaded, pickled):
        for column, values in expected._columns().items():
            assert_array_equal(getattr(twin.judge(X_TEST), column), values)
        assert twin.detector_[0].model is twin.detector[0].model is twin.model
    assert loaded.model is NET


def test_tools_of_detectors_take_a_guard_or_say_what_they_take():
    model, X = linear(), rows(200)
    guard = clone_of(model).fit(X)
    y = np.repeat([1, -1], [150, 50])
    display = ScoreDistributionDisplay.from_estimator(guard, X, y)
    assert_array_equal(display.scores_id, guard.decision_function(X[:150]))
    with pytest.raises(TypeError, match=r"detectors\['g'\] must predict anomalies"):
        evaluate(model, {"g": guard}, X, {"far": X + 9})


# Wrong detectors

OTHER = LayerActivationTransformer(seeded(LeNet))
SUPERVISED = ConformalDetector(MLPAnomalyClassifier())
WRONG = {
    "a baseline": (ODIN(NET), "detector must be None or a Pipeline that begins"),
    "features alone": (layers_and(), "detector must be None or a Pipeline"),
    "scaler first": (
        make_pipeline(StandardScaler(), Energy()),
        "detector must be None or a Pipeline",
    ),
    "foreign": (layers_and(FOREST), "Put a detector of another library"),
    "supervised": (layers_and(SUPERVISED), "ends in a novelty"),
    "a class": (Energy, "detector must be None or a Pipeline"),
    "another network": (
        make_pipeline(OTHER, Energy()),
        "model must be the network of the detector's first step",
    ),
    "rate": (layers_and(Energy(target_fpr=0.2)), "target_fpr of Energy must stay"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_detectors(case):
    detector, match = WRONG[case]
    with pytest.raises((TypeError, ValueError), match=match):
        GuardedClassifier(NET, detector).fit(X_FIT)


def test_options_without_effect_are_rejected():
    guard = GuardedClassifier(NET, layers_and(Energy()), batch_size=7)
    with pytest.raises(ValueError, match=r"batch_size of Gua.*Set batch_size of the"):
        guard.fit(X_FIT)
