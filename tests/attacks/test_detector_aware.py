"""Attacks that know the detector: it is fooled too, and nothing is left changed."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from networks import AnyWidth, BatchNormNet, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import TensorDataset

from skgrad import (
    LODA,
    ClassConditionalGaussian,
    ConformalDetector,
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
    MaxSoftmaxProbability,
    MostDiscriminativeLayer,
)
from skgrad.attacks import adaptive_pgd, cosine_similarity_attack, pgd
from skgrad.attacks._adaptive import _Aim
from skgrad.attacks._detector_features import DetectorFeatures
from skgrad.attacks._detector_score import DetectorScore
from skgrad.datasets import load_digits_images
from skgrad.detectors import make_uniform_detector
from skgrad.torch_engine.model_state import frozen

X_FIT = images(120, (2, 4, 4))
X = X_FIT[:6]


def net_and_detector():
    net = seeded(BatchNormNet).double()
    activations = LayerActivationTransformer(net)
    return net, make_pipeline(activations, ClassConditionalGaussian()).fit(X_FIT)


def aware(model, X, y=None, **options):
    """Run adaptive PGD against a detector made for the model."""
    detector = options.pop("detector", None)
    if detector is None:
        features = LayerActivationTransformer(model, "logits")
        detector = make_pipeline(features, LODA(random_state=0))
        detector.fit(np.random.default_rng(0).uniform(size=(120, *np.shape(X)[1:])))
    options = {"n_steps": 3, "random_state": 0, **options}
    return adaptive_pgd(model, X, y, detector=detector, **options)


ATTACKS = {
    "csa": partial(cosine_similarity_attack, n_steps=3, random_state=0),
    "adaptive": aware,
}


@pytest.fixture(params=ATTACKS.values(), ids=ATTACKS)
def attack(request):
    return request.param


@pytest.fixture(scope="module")
def digits():
    """A trained network, digits, and the attack that knows no detector."""
    data = load_digits_images()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, 10),
        )
        x, y = torch.from_numpy(data.X_train), torch.from_numpy(data.y_train)
        adam = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(8):
            for rows in torch.randperm(len(x)).split(64):
                loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
                adam.zero_grad()
                loss.backward()
                adam.step()
    net.zero_grad()
    X, y = data.X_test[:16], data.y_test[:16]
    return net, data.X_fit, X, y, pgd(net, X, y, eps=0.2, n_steps=15, random_state=0)


def test_csa_brings_the_gradients_of_other_classes_together(digits):
    net, _, X, y, plain = digits
    result = cosine_similarity_attack(net, X, y, eps=0.2, n_steps=10, random_state=0)
    cosines = CosineSimilarityMatrixTransformer(net).fit(X)
    clean, known, unknown = (
        cosines.transform(attacked)[:, 0].mean()
        for attacked in (X, result.X_adv, plain.X_adv)
    )
    assert known > clean + 0.02
    assert known > unknown + 0.05


@pytest.mark.parametrize("features", ["activations", "gradients", "cosines"])
def test_detector_is_fooled_as_plain_pgd_does_not(digits, features):
    net, X_fit, X, y, plain = digits
    parts = {
        "activations": LayerActivationTransformer(net, ["0", "logits"]),
        "gradients": ConfoundingGradientTransformer(net, log=True),
        "cosines": CosineSimilarityMatrixTransformer(net, sign=False),
    }
    steps = (StandardScaler(), PCA(0.99), LODA(random_state=0))
    detector = make_pipeline(parts[features], *steps).fit(X_fit)
    result = adaptive_pgd(
        net, X, y, detector=detector, eps=0.2, n_steps=20, random_state=0
    )
    assert result.success.mean() >= plain.success.mean() - 0.1
    before, after = (
        detector.score_samples(attacked.X_adv[attacked.success]).mean()
        for attacked in (plain, result)
    )
    assert after > before + 0.05
    rejected = (detector.predict(result.X_adv[result.success]) == -1).mean()
    assert rejected <= 0.2


def test_papers_detector_loses_what_plain_pgd_left_it(digits):
    net, X_fit, X, y, plain = digits
    detector = make_uniform_detector(net, "0", random_state=0).fit(X_fit)
    result = adaptive_pgd(
        net, X, y, detector=detector, eps=0.2, n_steps=20, random_state=0
    )
    known, unknown = (
        (detector.predict(attacked.X_adv[attacked.success]) == -1).mean()
        for attacked in (result, plain)
    )
    assert unknown > 0.15
    assert known < unknown / 2


def test_weight_nought_is_plain_descent(digits):
    net, X_fit, X, y, _ = digits
    detector = make_uniform_detector(net, "0", random_state=0).fit(X_fit)
    attack = partial(adaptive_pgd, net, X, y, detector=detector, eps=0.1, n_steps=8)
    scores = [
        detector.score_samples(attack(detector_weight=w, random_state=0).X_adv).mean()
        for w in (0, 1)
    ]
    assert scores[1] > scores[0]


def test_targets_are_reached(digits):
    net, X_fit, X, y, _ = digits
    detector = make_uniform_detector(net, "0", random_state=0).fit(X_fit)
    result = adaptive_pgd(
        net, X, y, detector=detector, eps=0.4, target=3, n_steps=10, random_state=0
    )
    assert_array_equal(result.success, result.predicted == 3)
    assert result.success.mean() > 0.5


FEATURES = {
    "mean": partial(LayerActivationTransformer, layers=["0", "logits"]),
    "max": partial(LayerActivationTransformer, pooling="max"),
    "none": partial(LayerActivationTransformer, layers="0", pooling="none"),
    "layer": partial(MostDiscriminativeLayer, random_state=0),
    "norms": ConfoundingGradientTransformer,
    "log norms": partial(ConfoundingGradientTransformer, log=True, label="each"),
    "own label": partial(ConfoundingGradientTransformer, label=np.array([1, 0.5, 0])),
    "statistics": CosineSimilarityMatrixTransformer,
    "unsigned": partial(CosineSimilarityMatrixTransformer, sign=False),
    "upper": partial(CosineSimilarityMatrixTransformer, output="upper", top_n=2),
    "matrix": partial(
        CosineSimilarityMatrixTransformer,
        output="matrix",
        channel_reduction="max",
        logit_scale=10,
    ),
}


def smooth():
    return nn.Sequential(
        nn.Conv2d(2, 3, 3),
        nn.Tanh(),
        nn.Conv2d(3, 3, 2),
        nn.Flatten(),
        nn.Softplus(),
        nn.Linear(3, 3),
    )


@pytest.mark.parametrize("make", FEATURES.values(), ids=FEATURES)
def test_features_are_those_of_transform_and_differentiable(make):
    net = seeded(smooth, dtype=torch.float64)
    extract = make(net).fit(X_FIT)
    x = torch.as_tensor(X[:2]).double()
    features = DetectorFeatures(extract, net)
    with frozen(net):
        features.check(net, x)
        assert_allclose(features.values(net, x), extract.transform(X[:2]), rtol=1e-6)
        with torch.enable_grad():
            leaf = x.clone().requires_grad_(True)
            found = features.recorded(net, leaf)
            assert_allclose(found.detach(), extract.transform(x.numpy()), rtol=1e-9)
            if not getattr(extract, "sign", False):
                assert torch.autograd.gradcheck(
                    partial(features.recorded, net), leaf, fast_mode=True
                )


def test_union_weighs_its_columns():
    net = seeded(BatchNormNet).double()
    parts = [
        ("a", LayerActivationTransformer(net, "conv")),
        ("b", "drop"),
        ("c", ConfoundingGradientTransformer(net)),
    ]
    union = FeatureUnion(
        parts,
        transformer_weights={"c": 3.0},
    ).fit(X_FIT)
    with frozen(net):
        found = DetectorFeatures(union, net).values(net, torch.as_tensor(X).double())
    assert_allclose(found, union.transform(X.astype(float)), rtol=1e-9)


class Paraboloid(OutlierMixin, BaseEstimator):
    """A score with slopes that are known: -sum (x - 1)^2."""

    def fit(self, X, y=None):
        self.n_seen_ = len(X)
        return self

    def score_samples(self, X):
        return -((np.asarray(X) - 1) ** 2).sum(axis=1)


def test_slopes_of_a_known_score():
    steps = make_pipeline(Paraboloid()).fit(np.zeros((3, 4)))
    score = DetectorScore(steps)
    values = np.random.default_rng(0).normal(size=(5, 4))
    widths = np.full((5, 4), 0.5)
    widths[:, 2] = 0
    expected = -2 * (values - 1)
    expected[:, 2] = 0
    # Central differences of a parabola are exact, whatever their width.
    assert_allclose(score.slopes(values, widths), expected, atol=1e-12)


def test_slopes_in_chunks_are_the_same(monkeypatch):
    _, detector = net_and_detector()
    features = detector[0].transform(X)
    score = DetectorScore(detector[1:])
    score.take_form_of(features)
    widths = np.full(features.shape, 0.1)
    whole = score.slopes(np.asarray(features), widths)
    monkeypatch.setattr("skgrad.attacks._detector_score._TOGETHER", 50)
    assert_allclose(score.slopes(np.asarray(features), widths), whole, atol=1e-9)


def test_flat_scores_draw_the_features_home():
    home = np.array([[1.0, 1, 1], [0, 0, 0]])
    values = np.array([[0.0, 2, 5], [4, 4, 4]])
    widths = np.array([[1.0, 2, 0], [1, 1, 1]])
    aim = _Aim(_Flat(), home=home, widths=widths)
    slopes = aim.slopes(values, np.array([True, False]))
    # In units of the widths; what does not move is not asked to.
    assert_allclose(slopes, [[1, -0.25, 0], [0, 0, 0]])


class _Flat:
    def slopes(self, values, widths):
        return np.zeros_like(values)


def wrapped(kind):
    net, detector = net_and_detector()
    if kind == "conformal":
        detector = ConformalDetector(detector, random_state=0).fit(X_FIT)
    elif kind == "frozen":
        detector = FrozenEstimator(detector)
    elif kind == "pandas":
        detector = make_pipeline(*(step for _, step in detector.steps))
        detector[0].set_output(transform="pandas")
        detector.fit(X_FIT)
    elif kind == "classifier":
        logits = LayerActivationTransformer(net, "logits")
        detector = make_pipeline(logits, LogisticRegression())
        detector.fit(X_FIT, np.arange(120) % 2)
    elif kind == "sklearn":
        logits = LayerActivationTransformer(net, "logits")
        forest = IsolationForest(n_estimators=10, random_state=0)
        detector = make_pipeline(logits, forest).fit(X_FIT)
    elif kind == "confidence":
        logits = LayerActivationTransformer(net, "logits")
        detector = make_pipeline(logits, MaxSoftmaxProbability()).fit(X_FIT)
    return net, detector


@pytest.mark.parametrize(
    "kind", ["conformal", "frozen", "pandas", "classifier", "sklearn", "confidence"]
)
def test_kinds_of_detectors(kind):
    net, detector = wrapped(kind)
    result = aware(net, X[:3], detector=detector, eps=0.1)
    assert (result.linf <= 0.1 + 1e-9).all()


def test_eps_and_bounds_hold(attack):
    result = attack(seeded(BatchNormNet), X[:5], eps=0.3)
    assert result.X_adv.dtype == np.float32
    assert result.X_adv.min() >= 0
    assert result.X_adv.max() <= 1
    assert np.abs(result.X_adv - X[:5]).max() <= 0.3 + 1e-6


def test_rows(attack):
    rows = np.random.default_rng(0).uniform(size=(5, 9))
    result = attack(AnyWidth(), rows, np.array([0, 1, 2, 0, 1]), eps=0.1)
    assert result.X_adv.shape == (5, 9)
    assert result.X_adv.dtype == np.float64


@pytest.mark.parametrize("features", ["activations", "gradients", "cosines"])
def test_batch_size_changes_nothing(features):
    net = seeded(BatchNormNet).double()
    extract = {
        "activations": LayerActivationTransformer(net),
        "gradients": ConfoundingGradientTransformer(net, log=True),
        "cosines": CosineSimilarityMatrixTransformer(net, sign=False),
    }[features]
    detector = make_pipeline(extract, LODA(random_state=0)).fit(X_FIT)
    attack = partial(aware, net, X[:3], detector=detector, eps=0.1, n_steps=2)
    expected = attack(batch_size=3).X_adv
    for batch_size in (1, 2):
        assert_allclose(attack(batch_size=batch_size).X_adv, expected, atol=1e-9)


def test_batch_size_changes_nothing_of_csa():
    attack = partial(ATTACKS["csa"], seeded(BatchNormNet).double(), X[:5], eps=0.1)
    expected = attack(batch_size=5).X_adv
    for batch_size in (1, 3):
        assert_allclose(attack(batch_size=batch_size).X_adv, expected, atol=1e-9)


def test_same_seed_same_result_and_global_generators_untouched(attack):
    net = seeded(BatchNormNet)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (attack(net, X[:4], eps=0.1, random_state=4) for _ in range(2))
    assert_array_equal(first.X_adv, second.X_adv)
    other = attack(net, X[:4], eps=0.1, random_state=5)
    assert not np.array_equal(first.X_adv, other.X_adv)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_model_and_data_are_left_as_they_were(attack):
    net = seeded(BatchNormNet).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    tensor = torch.from_numpy(X[:4].copy())
    gradients = ConfoundingGradientTransformer(net)
    options = {}
    if attack is aware:
        options["detector"] = make_pipeline(gradients, LODA()).fit(X_FIT)
    attack(net, tensor, eps=0.1, **options)
    assert all(part.training for part in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(part._forward_hooks for part in net.modules())
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert_array_equal(tensor, X[:4])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps": 0}, "'eps' parameter"),
        ({"n_steps": 0}, "'n_steps' parameter"),
        ({"step_size": 0}, "'step_size' parameter"),
        ({"softplus_beta": 0}, "'softplus_beta' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"X": X[:, :1]}, r"\(1, 4, 4\)"),
        ({"X": X[:0]}, "at least one sample"),
        ({"X": X * 2}, r"X must lie within bounds; it spans \["),
        ({"X": X * np.nan}, "X must be finite"),
        ({"y": [0]}, "y must be None or 6 integer classes"),
        ({"y": [7] * 6}, "y must hold classes 0 to 2.*got 7 to 7"),
        ({"device": "abacus"}, "device must be None"),
    ],
)
def test_bad_input(attack, change, message):
    net, detector = net_and_detector()
    arguments = {"X": X, "eps": 0.1, **change}
    if attack is aware:
        arguments["detector"] = detector
    with pytest.raises(ValueError, match=message):
        attack(net, **arguments)


def test_what_is_no_model(attack):
    _, detector = net_and_detector()
    options = {"detector": detector} if attack is aware else {}
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module"):
        attack("resnet", X, eps=0.1, **options)


def test_what_is_no_array(attack):
    net, detector = net_and_detector()
    options = {"detector": detector} if attack is aware else {}
    with pytest.raises(TypeError, match=r"X must be an array or tensor; got a Dataset"):
        attack(net, TensorDataset(torch.ones(2, 2)), eps=0.1, **options)


def test_kinds_of_input_agree(attack):
    net = AnyWidth()
    rows = np.random.default_rng(0).uniform(size=(5, 4))
    fit = np.random.default_rng(1).uniform(size=(120, 4))
    logits = LayerActivationTransformer(net, "logits")
    for frame in (False, True):
        detector = make_pipeline(clone(logits), LODA(random_state=0))
        detector.fit(pd.DataFrame(fit).add_prefix("x") if frame else fit)
        options = {"detector": detector} if attack is aware else {}
        kinds = [rows.tolist(), torch.from_numpy(rows)]
        kinds.append(pd.DataFrame(rows).add_prefix("x"))
        expected = attack(net, rows, eps=0.1, **options).X_adv
        for data in kinds:
            assert_array_equal(attack(net, data, eps=0.1, **options).X_adv, expected)


def test_csa_needs_three_classes_and_a_share():
    with pytest.raises(ValueError, match=r"3 or more classes.*it has 2"):
        cosine_similarity_attack(nn.Linear(2, 2), [[0.5, 0.5]], eps=0.1)
    with pytest.raises(ValueError, match="'cosine_weight' parameter"):
        cosine_similarity_attack(
            nn.Linear(2, 3), [[0.5, 0.5]], eps=0.1, cosine_weight=2
        )


class PredictOnly(OutlierMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.n_seen_ = len(X)
        return self

    def predict(self, X):
        return np.ones(len(X), dtype=int)


def bad_detector(kind):
    net, detector = net_and_detector()
    activations = LayerActivationTransformer(net)
    if kind == "no pipeline":
        return net, activations.fit(X_FIT)
    if kind == "no detector":
        return net, make_pipeline(activations).fit(X_FIT)
    if kind == "ends in a scaler":
        return net, make_pipeline(activations, StandardScaler()).fit(X_FIT)
    if kind == "no transformer":
        rows = X_FIT.reshape(120, -1)
        return net, make_pipeline(StandardScaler(), LODA()).fit(rows)
    if kind == "passed through":
        union = FeatureUnion([("a", StandardScaler()), ("b", activations)])
        return net, make_pipeline(union, LODA())
    if kind == "predict only":
        return net, make_pipeline(activations, PredictOnly()).fit(X_FIT)
    if kind == "not fitted":
        return net, make_pipeline(activations, LODA())
    if kind == "half fitted":
        return net, make_pipeline(activations.fit(X), LODA())
    return seeded(BatchNormNet), detector


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("no pipeline", TypeError, "detector must be a fitted Pipeline whose first"),
        ("no detector", TypeError, "detector must be a fitted Pipeline whose first"),
        ("ends in a scaler", TypeError, r"must score inputs.*StandardScaler\(\)"),
        ("no transformer", TypeError, r"got StandardScaler\(\) in its first step"),
        ("passed through", TypeError, r"got StandardScaler\(\) in its first step"),
        ("predict only", TypeError, r"must score inputs.*PredictOnly\(\)"),
        ("not fitted", NotFittedError, "its LayerActivationTransformer is not"),
        ("half fitted", NotFittedError, "not fitted"),
        ("other model", ValueError, "LayerActivationTransformer holds another one"),
    ],
)
def test_bad_detectors(kind, error, message):
    net, detector = bad_detector(kind)
    with pytest.raises(error, match=message):
        adaptive_pgd(net, X, detector=detector, eps=0.1)


def test_features_that_cannot_be_told_are_refused():
    class Moody(BatchNormNet):
        """Sees inputs otherwise while autograd watches them."""

        def forward(self, x):
            return super().forward(x * (3 if x.requires_grad else 1))

    net = seeded(Moody)
    detector = make_pipeline(LayerActivationTransformer(net), LODA()).fit(X_FIT)
    with pytest.raises(ValueError, match="could not be differentiated"):
        adaptive_pgd(net, X, detector=detector, eps=0.1)


def test_weight_must_be_a_share():
    net, detector = net_and_detector()
    with pytest.raises(ValueError, match="'detector_weight' parameter"):
        adaptive_pgd(net, X, detector=detector, eps=0.1, detector_weight=2)
