"""A guard as one torch module: it says what the guard says."""

import copy
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from model_state import assert_same_state, state_of
from networks import LeNet, MaskedText, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from skgrad import (
    ClassConditionalDetector,
    ClassConditionalGaussian,
    CombinedDetector,
    ConfidenceDrop,
    ConformalDetector,
    Energy,
    GuardedClassifier,
    LayerActivationTransformer,
    MaxSoftmaxProbability,
    MLPAnomalyClassifier,
    PerClassSVDD,
    StabilityTransformer,
    StableConfidence,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
)
from skgrad.baselines import ODIN
from skgrad.detectors import FDBD, GEN, DeepKNN, MaxLogit
from skgrad.guard import GuardModule

SHAPE = (1, 28, 28)
X_FIT = images(240, SHAPE) ** 4
# Inputs of the fit, whose scores are calibration scores, others like them, and others.
X_TEST = np.concatenate(
    [X_FIT, images(20, SHAPE, seed=1) ** 4, images(10, SHAPE, seed=2)]
)
NET = seeded(LeNet).eval()
SEED = {"random_state": 0}
PER_CLASS = {"threshold": "per_class", **SEED}


def layers_and(*steps, layers=("conv1", "logits")):
    return make_pipeline(LayerActivationTransformer(NET, list(layers)), *steps)


def copies_and(*steps):
    changes = ["noise", "grey", "blur", ("dark", lambda x: 0.9 * x)]
    return make_pipeline(StabilityTransformer(NET, changes, **SEED), *steps)


PARTS = [("energy", Energy()), ("svdd", PerClassSVDD())]
SCALED = make_pipeline(StandardScaler(with_std=False), ConformalDetector(Energy()))
DETECTORS = {
    "recommended": make_recommended_detector(NET, **SEED),
    "low effort": make_recommended_detector(NET, effort="low", **SEED),
    "max logit": layers_and(MaxLogit(**PER_CLASS)),
    "max softmax": layers_and(MaxSoftmaxProbability(**PER_CLASS)),
    "GEN": layers_and(GEN(n_largest=5, gamma=0.3, **SEED)),
    "fDBD": layers_and(FDBD(**PER_CLASS), layers=["conv1", "penultimate", "logits"]),
    "stability": copies_and(StableConfidence(copies="worst", **SEED)),
    "drop": copies_and(ConfidenceDrop(**SEED)),
    "Gaussian": layers_and(ClassConditionalGaussian(min_class_size=30, **PER_CLASS)),
    # Classes of enough inputs for a whole covariance, and of fewer.
    "small classes": layers_and(
        ClassConditionalGaussian(min_class_size=18, **SEED),
        layers=["fc1", "conv1", "logits"],
    ),
    "mixed Gaussian": layers_and(
        ClassConditionalGaussian(covariance=0.3, **SEED), layers=["fc1", "logits"]
    ),
    "tied Gaussian": layers_and(ClassConditionalGaussian(covariance="tied", **SEED)),
    "SVDD": layers_and(PerClassSVDD(min_class_size=30, weights=[1, 3], **PER_CLASS)),
    "combined": layers_and(CombinedDetector(PARTS, weights=[1, 2], **PER_CLASS)),
    "scaled": layers_and(StandardScaler(), PerClassSVDD(blocks=[-1, 10], **SEED)),
    "conformal": layers_and(ConformalDetector(SCALED, **SEED), layers=["logits"]),
    "conformal outside": ConformalDetector(layers_and(Energy()), **SEED),
    "passthrough": layers_and("passthrough", Energy(**SEED)),
}


def quietly_fitted(detector, X=X_FIT):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some classes are small
        return detector.fit(X)


def answers(module, *inputs):
    with torch.no_grad():
        return [answer.numpy() for answer in module(*inputs)]


@pytest.mark.parametrize("name", DETECTORS)
def test_module_equals_detector(name):
    detector = quietly_fitted(DETECTORS[name])
    if name == "scaled":  # old versions of scikit-learn do not round them to float32
        for statistic in ("mean_", "scale_"):
            exact = getattr(detector[1], statistic)
            setattr(detector[1], statistic, exact.astype(np.float32).astype(float))
    X = torch.from_numpy(X_TEST)
    logits, score, p_value, trust = answers(GuardModule(detector), X)
    expected, threshold = detector.score_samples(X_TEST), detector
    features = X_TEST
    if name != "conformal outside":
        features, threshold = detector[:-1].transform(X_TEST), detector[-1]
    with torch.no_grad():
        assert_array_equal(logits, NET(X))
    p_values = threshold.p_values(features)
    assert_allclose(score, expected, rtol=1e-7, atol=1e-12 * np.ptp(expected))
    assert_array_equal(p_value, p_values)
    assert_array_equal(trust, detector.predict(X_TEST) == 1)
    assert len(np.unique(p_value)) > 5
    assert 0 < trust.sum() < len(trust)


def guarded(**options):
    return quietly_fitted(GuardedClassifier(NET, **options, **SEED))


def with_holes(X):
    X = X.copy()
    X[2, 0, 3, 3], X[11] = np.nan, np.inf
    return X


def test_inputs_that_cannot_be_judged_leave_the_others_alone():
    guard, X = guarded(), X_TEST[220:]
    module = GuardModule(guard)
    expected = answers(module, torch.from_numpy(X))
    logits, score, p_value, trust = answers(module, torch.from_numpy(with_holes(X)))
    with pytest.warns(UserWarning, match="rows 2, 11: rejected"):
        judged = guard.judge(with_holes(X))
    assert_array_equal(np.isinf(score), np.isinf(judged.score))
    assert_array_equal(p_value, judged.p_value)
    assert_array_equal(trust, judged.trust)
    assert np.isnan(logits[[2, 11]]).all()
    right = np.delete(np.arange(50), [2, 11])
    for answer, other in zip((logits, score, p_value, trust), expected, strict=True):
        assert_array_equal(answer[right], other[right])


class Overflowing(nn.Linear):
    def forward(self, x):
        return super().forward(x) * torch.where(x[:, :1] > 9, torch.inf, 1.0)


def test_inputs_for_which_the_network_overflows_are_not_trusted():
    X = np.random.default_rng(0).normal(size=(200, 4)).astype("f4")
    guard = GuardedClassifier(seeded(lambda: Overflowing(4, 3)), **SEED).fit(X)
    few = torch.from_numpy(X[:3])
    expected = answers(GuardModule(guard), few)
    few[1, 0] = 10
    logits, score, p_value, trust = answers(GuardModule(guard), few)
    assert (score[1], p_value[1], trust[1]) == (-np.inf, 0, False)
    assert np.isnan(logits[1]).all()
    assert_array_equal(p_value[[0, 2]], expected[2][[0, 2]])


@pytest.mark.parametrize("name", ["recommended", "SVDD", "stability", "combined"])
def test_rows_do_not_depend_on_one_another(name):
    module = GuardModule(quietly_fitted(DETECTORS[name]))
    X = torch.from_numpy(X_TEST[235:265])
    together = answers(module, X)
    for row in (0, 17, 29):
        for one, all_of_them in zip(
            answers(module, X[row : row + 1]), together, strict=True
        ):
            assert_allclose(one[0], all_of_them[row], rtol=1e-4)


def test_ties_with_calibration_scores_are_kept():
    X = np.repeat(X_FIT[:4], 60, axis=0)
    detector = quietly_fitted(GuardedClassifier(NET, DETECTORS["tied Gaussian"]), X)
    # Of four different scores, a lost tie would cost a quarter of the p-value.
    p_value, trust = answers(GuardModule(detector), torch.from_numpy(X[::60]))[2:]
    assert len(set(detector.calibration_scores_)) == 4
    assert_array_equal(p_value, detector.p_values(X[::60]))
    assert trust.all()


def test_float64_networks_and_far_inputs():
    net = seeded(lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)))
    X = np.random.default_rng(0).normal(size=(200, 4))
    detector = GuardedClassifier(net.double(), **SEED).fit(X)
    far = np.concatenate([X[:5], [[1e200, -1e250, 0, 1]]])
    _, score, p_value, trust = answers(GuardModule(detector), torch.from_numpy(far))
    judged = detector.judge(far)
    assert_allclose(score, judged.score, rtol=1e-9)
    assert_array_equal(p_value, judged.p_value)
    assert_array_equal(trust, judged.trust)


# Inputs of other kinds


def test_several_inputs_come_in_their_order():
    rng = np.random.default_rng(0)
    mask = np.ones((200, 7), dtype=np.int64)
    mask[50:, 4:] = 0
    X = {"input_ids": rng.integers(5, 90, (200, 7)), "attention_mask": mask}
    guard = GuardedClassifier(seeded(MaskedText), **SEED).fit(X)
    module = GuardModule(guard)
    few = {key: value[40:60] for key, value in X.items()}
    judged = guard.judge(few)
    _, score, p_value, trust = answers(module, *map(torch.from_numpy, few.values()))
    assert_allclose(score, judged.score, rtol=1e-9)
    assert_array_equal(p_value, judged.p_value)
    assert_array_equal(trust, judged.trust)
    with pytest.raises(TypeError, match="inputs must be 2 tensors, in the order 'inp"):
        module(torch.from_numpy(few["input_ids"]))


def test_numbers_of_other_types_reach_the_network_as_in_judge():
    module = GuardModule(guarded(detector=make_recommended_detector(NET, **SEED)))
    X = torch.from_numpy(X_TEST[:9])
    expected = answers(module, X)
    for one, other in zip(answers(module, X.double()), expected, strict=True):
        assert_array_equal(one, other)


# Devices, threads and time


@pytest.mark.parametrize("name", ["recommended", "SVDD", "combined", "stability"])
def test_all_of_it_is_computed_on_the_device_of_the_inputs(name):
    module = GuardModule(quietly_fitted(DETECTORS[name])).to("meta")
    # It has no values, so whatever went through numpy would raise.
    for answer in module(torch.zeros(3, *SHAPE, device="meta")):
        assert answer.device.type == "meta"


@pytest.mark.slow
def test_nothing_of_it_is_on_another_device_than_a_gpu():
    module = GuardModule(quietly_fitted(DETECTORS["recommended"])).to("meta")
    # The GPU need not be there.
    with FakeTensorMode():
        tensors = dict(module.named_parameters()) | dict(module.named_buffers())
        there = {
            name: torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")
            for name, tensor in tensors.items()
        }
        X = torch.empty(3, *SHAPE, device="cuda")
        for answer in torch.func.functional_call(module, there, (X,)):
            assert answer.device.type == "cuda"


def test_module_is_a_copy_and_leaves_the_network_alone():
    net = copy.deepcopy(NET)
    guard = quietly_fitted(GuardedClassifier(net.train(), **SEED))
    before = state_of(net)
    module = GuardModule(guard)
    expected = answers(module, torch.from_numpy(X_TEST))
    assert_same_state(before, state_of(net))
    assert not any(part.training for part in module.features.modules())
    with torch.no_grad():
        net.fc1.weight.zero_()
    guard.set_threshold(target_fpr=0.5)
    for one, other in zip(
        answers(module, torch.from_numpy(X_TEST)), expected, strict=True
    ):
        assert_array_equal(one, other)
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_threshold_and_calibration_of_the_guard_count():
    guard = guarded().recalibrate(X_TEST[200:]).set_threshold(target_fpr=0.4)
    _, _, p_value, trust = answers(GuardModule(guard), torch.from_numpy(X_TEST))
    assert_array_equal(trust, guard.judge(X_TEST).trust)
    assert_array_equal(p_value, guard.p_values(X_TEST))
    guard.set_threshold(score=-np.inf)
    assert answers(GuardModule(guard), torch.from_numpy(X_TEST))[3].all()


def test_threads_share_a_module():
    module, pieces = GuardModule(guarded()), torch.from_numpy(X_TEST).split(30)
    expected = [answers(module, piece) for piece in pieces]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda piece: answers(module, piece), pieces * 3))
    for one, other in zip(found, expected * 3, strict=True):
        for answer, right in zip(one, other, strict=True):
            assert_array_equal(answer, right)


# What has no such form


class Own(Energy):
    """A score of the user's, which may be anything."""


GRADIENTS = "guard must take its features from forward passes.*nearest.*recommended"
DUE = "guard must be a fitted GuardedClassifier, or a fitted pipeline"
FOREST = IsolationForest(n_estimators=5, random_state=0)
WRONG = {
    "paper A": (make_confounding_gradient_detector(NET), GRADIENTS),
    "paper B": (make_geometric_gradient_detector(NET), GRADIENTS),
    "high effort": (
        make_recommended_detector(NET, effort="high"),
        "forward passes; 'GradientNorms' takes gradients.*'medium' or 'low'",
    ),
    "own class": (layers_and(Own()), "guard must be made of.*; Own has none"),
    "of scikit-learn": (
        layers_and(ConformalDetector(FOREST)),
        "IsolationForest has none. Those that do are 'ClassConditionalGaussian'",
    ),
    "inside another": (
        layers_and(CombinedDetector([("own", ClassConditionalDetector(FOREST))])),
        "ClassConditionalDetector has none",
    ),
    "neighbours": (layers_and(DeepKNN()), "DeepKNN has none"),
    "scaler": (layers_and(MinMaxScaler(), Energy()), "MinMaxScaler has none"),
    "classifier": (layers_and(MLPAnomalyClassifier()), "MLPAnomalyClassifier has none"),
    "steps before": (make_pipeline(StandardScaler(), Energy()), DUE),
    "baseline": (ODIN(NET), DUE),
    "transformer": (LayerActivationTransformer(NET), DUE),
    "network": (NET, DUE),
    "class": (GuardedClassifier, DUE),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_has_no_module_is_named(case):
    guard, match = WRONG[case]
    if hasattr(guard, "fit") and not isinstance(guard, type):
        few = X_FIT[:60]
        labels = np.arange(60) % 2 if case in ("paper A", "classifier") else None
        few = few.reshape(60, -1) if case == "steps before" else few
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            guard.fit(few, labels)
    with pytest.raises(TypeError, match=match):
        GuardModule(guard)


@pytest.mark.parametrize(
    "guard", [GuardedClassifier(NET), clone(DETECTORS["recommended"])]
)
def test_a_guard_must_be_fitted(guard):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        GuardModule(guard)
