"""Attacks that know the detector: its features, its score, and that it is fooled."""

from functools import partial

import numpy as np
import pytest
import torch
from networks import BatchNormNet, images, seeded
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skgrad import (
    LODA,
    ConformalDetector,
    ConfoundingGradientTransformer,
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
    MaxSoftmaxProbability,
    MostDiscriminativeLayer,
    StabilityTransformer,
    StableConfidence,
)
from skgrad.attacks import adaptive_pgd, cosine_similarity_attack, pgd
from skgrad.attacks._adaptive import score_cotangent
from skgrad.attacks._detector_features import DetectorFeatures
from skgrad.attacks._detector_score import DetectorScore
from skgrad.datasets import load_digits_images
from skgrad.detectors import make_uniform_detector
from skgrad.torch_engine.model_state import frozen

X_FIT = images(120, (2, 4, 4))
X = X_FIT[:6]


@pytest.fixture(scope="module")
def digits():
    """A trained network, digits, and the attack that knows no detector."""
    data = load_digits_images()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            *(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(128, 10)),
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


def test_csa_aligns_the_gradients_of_other_classes(digits):
    net, _, X, y, plain = digits
    result = cosine_similarity_attack(net, X, y, eps=0.2, n_steps=10, random_state=0)
    cosines = CosineSimilarityMatrixTransformer(net).fit(X)
    clean, known, unknown = (
        cosines.transform(attacked)[:, 0].mean()
        for attacked in (X, result.X_adv, plain.X_adv)
    )
    assert known > clean + 0.02
    assert known > unknown + 0.05


def test_step_of_csa_against_its_equation():
    """Paper B, Eq. 5, on a smooth network, for which Softplus replaces nothing."""
    net = seeded(smooth, dtype=torch.float64)
    y = np.array([0, 1])
    leaf = torch.from_numpy(X[:2]).double().requires_grad_()
    logits = net(leaf)
    losses = -logits.log_softmax(dim=1).sum(dim=0)  # of each class
    gradients = [
        torch.autograd.grad(loss, leaf, create_graph=True)[0].flatten(1)
        for loss in losses
    ]
    objective = 0
    for i, predicted in enumerate(logits.argmax(dim=1).tolist()):
        # Of three classes only one pair is without the predicted one.
        one, two = (gradients[c][i] for c in range(3) if c != predicted)
        loss = nn.functional.cross_entropy(logits[i], torch.tensor(y[i]))
        cosine = nn.functional.cosine_similarity(one, two, dim=0)
        objective = objective + 0.3 * cosine + 0.7 * loss
    (ascent,) = torch.autograd.grad(objective, leaf)
    walk = {"n_steps": 1, "random_start": False, "bounds": (-1, 2)}
    result = cosine_similarity_attack(
        net, X[:2], y, eps=0.04, cosine_weight=0.3, **walk
    )
    assert_allclose(result.X_adv, leaf.detach() + 0.01 * ascent.sign(), atol=1e-9)


def test_csa_needs_three_classes():
    with pytest.raises(ValueError, match=r"3 or more classes.*it has 2"):
        cosine_similarity_attack(nn.Linear(2, 2), [[0.5, 0.5]], eps=0.1)


@pytest.mark.parametrize(
    "features", ["activations", "gradients", "cosines", "stability"]
)
def test_detector_is_fooled_more_than_by_plain_pgd(digits, features):
    net, X_fit, X, y, plain = digits
    parts = {
        "activations": LayerActivationTransformer(net, ["0", "logits"]),
        "gradients": ConfoundingGradientTransformer(net, log=True),
        "cosines": CosineSimilarityMatrixTransformer(net, sign=False),
        "stability": StabilityTransformer(net, ["noise", "grey"], random_state=0),
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


def test_paper_c_detector_rejects_fewer_than_after_plain_pgd(digits):
    net, X_fit, X, y, plain = digits
    detector = make_uniform_detector(net, "0", random_state=0).fit(X_fit)
    attack = partial(adaptive_pgd, net, X, y, detector=detector, random_state=0)
    result = attack(eps=0.2, n_steps=20)
    known, unknown = (
        (detector.predict(attacked.X_adv[attacked.success]) == -1).mean()
        for attacked in (result, plain)
    )
    assert unknown > 0.15
    assert known < unknown / 2
    low, high = (
        attack(eps=0.1, n_steps=8, detector_weight=weight).X_adv for weight in (0, 1)
    )
    assert detector.score_samples(high).mean() > detector.score_samples(low).mean()
    targeted = attack(eps=0.4, target=3, n_steps=10)
    assert_array_equal(targeted.success, targeted.predicted == 3)
    assert targeted.success.mean() > 0.5


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
    "maximum": partial(
        CosineSimilarityMatrixTransformer, channel_reduction="max", logit_scale=10
    ),
    "stability": partial(
        StabilityTransformer, changes=["noise", "shift", "blur"], random_state=0
    ),
}


def smooth():
    convolutions = nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 3, 2), nn.Flatten()
    return nn.Sequential(*convolutions, nn.Softplus(), nn.Linear(3, 3))


@pytest.mark.parametrize("make", FEATURES.values(), ids=FEATURES)
def test_features_equal_transform_and_are_differentiable(make):
    net = seeded(smooth, dtype=torch.float64)
    first_step = make(net).fit(X_FIT)
    x = torch.as_tensor(X[:2]).double()
    features = DetectorFeatures(first_step, net)
    with frozen(net):
        features.check(net, x)
        assert_allclose(features.values(net, x), first_step.transform(X[:2]), rtol=1e-6)
        with torch.enable_grad():
            leaf = x.clone().requires_grad_(True)
            found, logits = features.recorded(net, leaf)
            assert_allclose(logits.detach(), net(x), rtol=1e-12)
            assert_allclose(found.detach(), first_step.transform(x.numpy()), rtol=1e-9)
            if not getattr(first_step, "sign", False):
                assert torch.autograd.gradcheck(
                    lambda x: features.recorded(net, x)[0], leaf, fast_mode=True
                )


def test_levels_get_a_gradient():
    net = seeded(smooth, dtype=torch.float64)
    features = DetectorFeatures(StabilityTransformer(net, "grey").fit(X_FIT), net)
    leaf = torch.as_tensor(X[:2]).double().requires_grad_()
    with frozen(net), torch.enable_grad():
        found, _ = features.recorded(net, leaf)
        (gradient,) = torch.autograd.grad(found[:, 1].sum(), leaf)
        # That of the network, at the rounded inputs.
        rounded = X_FIT.min(axis=(0, 2, 3)), np.ptp(X_FIT, axis=(0, 2, 3))
        low, step = (one.reshape(2, 1, 1) for one in (rounded[0], rounded[1] / 15))
        levels = low + np.round((X[:2] - low) / step) * step
        at = torch.from_numpy(levels).double().requires_grad_()
        plain, _ = features.recorded(net, at)
        (expected,) = torch.autograd.grad(plain[:, 0].sum(), at)
    assert_allclose(gradient, expected, rtol=1e-4, atol=1e-8)


def test_unknown_noise_is_averaged_over():
    net = seeded(smooth, dtype=torch.float64)
    transformer = StabilityTransformer(net, "noise", random_state=0).fit(X_FIT)
    x, own = torch.as_tensor(X).double(), transformer.transform(X)
    draws = np.random.RandomState(3)
    features = DetectorFeatures(transformer, net, 2, draws)
    with frozen(net):
        features.restart()
        found = features.values(net, x).numpy()
        # Drawn again each time.
        assert (features.values(net, x).numpy()[:, 1] != found[:, 1]).all()
    draws = np.random.RandomState(np.random.RandomState(3).randint(2**31 - 1))
    scale = 0.1 * X_FIT.std(axis=(0, 2, 3)).reshape(2, 1, 1)
    noises = scale * draws.standard_normal((2, 2, 4, 4))
    classes = net(x).argmax(dim=1)[:, None]
    rows = []
    for noise in noises:
        p = net(x + torch.from_numpy(noise)).softmax(dim=1).gather(1, classes)[:, 0]
        rows.append((p / (1 - p)).log().detach().numpy())
    assert_allclose(found[:, 1], np.mean(rows, axis=0), rtol=1e-5)
    # The detector itself keeps its noise.
    assert_array_equal(transformer.transform(X), own)


def test_attack_on_unknown_noise():
    net = seeded(BatchNormNet)
    features = StabilityTransformer(net, "noise", random_state=0)
    detector = make_pipeline(features, StableConfidence(target_fpr=0.2)).fit(X_FIT)
    attack = partial(adaptive_pgd, net, X, detector=detector, eps=0.1, n_steps=3)
    whole = attack(n_draws=2, random_state=0).X_adv
    # Each batch has the same draws.
    parts = attack(n_draws=2, random_state=0, batch_size=2).X_adv
    assert_allclose(parts, whole, atol=1e-6)
    assert (attack(random_state=0).X_adv != whole).any()
    detector = make_pipeline(StabilityTransformer(net, "flip"), LODA()).fit(X_FIT)
    with pytest.raises(ValueError, match="n_draws must be None for a detector without"):
        adaptive_pgd(net, X, detector=detector, eps=0.1, n_draws=2)


def test_feature_union_weights_its_columns():
    net = seeded(BatchNormNet).double()
    parts = [
        ("a", LayerActivationTransformer(net, "conv")),
        ("b", "drop"),
        ("c", ConfoundingGradientTransformer(net)),
    ]
    union = FeatureUnion(parts, transformer_weights={"c": 3.0}).fit(X_FIT)
    features, x = DetectorFeatures(union, net), torch.as_tensor(X).double()
    with frozen(net):
        assert_allclose(features.values(net, x), union.transform(x.numpy()), rtol=1e-9)
        with torch.enable_grad():
            recorded, _ = features.recorded(net, x.requires_grad_())
    assert_allclose(recorded.detach(), union.transform(X.astype(float)), rtol=1e-9)


class Paraboloid(OutlierMixin, BaseEstimator):
    """A score with a gradient that is known: -sum (x - 1)^2."""

    def fit(self, X, y=None):
        self.n_seen_ = len(X)
        return self

    def score_samples(self, X):
        return -((np.asarray(X) - 1) ** 2).sum(axis=1)


def test_gradient_of_a_known_score(monkeypatch):
    score = DetectorScore(make_pipeline(Paraboloid()).fit(np.zeros((3, 4))))
    values = np.random.default_rng(0).normal(size=(5, 4))
    widths = np.full((5, 4), 0.5)
    widths[:, 2] = 0
    expected = -2 * (values - 1)
    expected[:, 2] = 0
    # Central differences of a parabola are exact, whatever their width.
    assert_allclose(score.gradient(values, widths), expected, atol=1e-12)
    direction = score_cotangent(score, values, values, widths)
    size = np.abs(expected).max(axis=1, keepdims=True)
    assert_allclose(direction, expected / size, atol=1e-12)
    # In many small parts, too.
    monkeypatch.setattr("skgrad.attacks._detector_score._MAX_VALUES", 24)
    assert_allclose(score.gradient(values, widths), expected, atol=1e-12)


class Constant(Paraboloid):
    def score_samples(self, X):
        return np.zeros(len(X))


def test_flat_scores_draw_features_to_those_of_the_clean_inputs():
    score = DetectorScore(make_pipeline(Constant()).fit(np.zeros((3, 3))))
    clean, values = np.array([[1.0, 1, 1]]), np.array([[0.0, 2, 5]])
    direction = score_cotangent(score, values, clean, np.array([[1.0, 2, 0]]))
    # In units of the widths; a feature that does not vary is left alone.
    assert_allclose(direction, [[1, -0.25, 0]])


def logits_into(*steps):
    return lambda net: make_pipeline(LayerActivationTransformer(net, "logits"), *steps)


KINDS = {
    "conformal": lambda net: ConformalDetector(logits_into(LODA())(net)),
    "classifier": logits_into(LogisticRegression()),
    "scikit-learn": logits_into(IsolationForest(n_estimators=10)),
    "confidence": logits_into(MaxSoftmaxProbability()),
    "pandas": lambda net: logits_into(LODA())(net).set_output(transform="pandas"),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_kinds_of_detectors(make):
    net = seeded(BatchNormNet).double()
    # Only the classifier looks at labels.
    y = np.arange(120) % 2 if make is KINDS["classifier"] else None
    detector = make(net).fit(X_FIT, y)
    result = adaptive_pgd(net, X[:3], detector=detector, eps=0.1, n_steps=2)
    assert (result.linf <= 0.1 + 1e-9).all()
    assert result.linf.max() > 0.01


def activations(net):
    return LayerActivationTransformer(net).fit(X_FIT)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (activations, TypeError, "detector must be a fitted Pipeline whose first"),
        (
            lambda net: make_pipeline(activations(net), StandardScaler()).fit(X_FIT),
            *(TypeError, r"must end in an outlier.*StandardScaler\(\)"),
        ),
        (
            lambda net: make_pipeline(FeatureUnion([("a", StandardScaler())]), LODA()),
            *(TypeError, r"got StandardScaler\(\) in its first step"),
        ),
        (
            lambda net: make_pipeline(LayerActivationTransformer(net), LODA()),
            *(NotFittedError, "its LayerActivationTransformer is not"),
        ),
        (
            lambda net: make_pipeline(activations(net), LODA()),
            *(NotFittedError, "not fitted"),
        ),
        (
            lambda net: make_pipeline(activations(seeded(BatchNormNet)), LODA()),
            *(ValueError, "LayerActivationTransformer has another one"),
        ),
    ],
)
def test_invalid_detectors(make, error, message):
    net = seeded(BatchNormNet)
    with pytest.raises(error, match=message):
        adaptive_pgd(net, X, detector=make(net), eps=0.1)


def test_features_that_change_under_autograd():
    class Unsteady(BatchNormNet):
        """Computes something else while autograd records it."""

        def forward(self, x):
            return super().forward(x * (3 if x.requires_grad else 1))

    net = seeded(Unsteady)
    detector = make_pipeline(LayerActivationTransformer(net), LODA()).fit(X_FIT)
    with pytest.raises(ValueError, match="features that can be differentiated"):
        adaptive_pgd(net, X, detector=detector, eps=0.1)
