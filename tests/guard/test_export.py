"""Files of guards that run without skgrad."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from networks import LeNet, MaskedText, images, seeded
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from torch import nn

from skgrad import (
    ClassConditionalGaussian,
    Energy,
    GuardedClassifier,
    LayerActivationTransformer,
    PerClassSVDD,
    StabilityTransformer,
    StableConfidence,
    export,
    make_confounding_gradient_detector,
    make_recommended_detector,
)
from skgrad.datasets import load_digits_images, make_photo_patches
from skgrad.detectors import FDBD, GEN
from skgrad.evaluation import train_digits_network
from skgrad.guard import GuardModule

SEED = {"random_state": 0}
SHAPE = (1, 28, 28)
X_FIT = images(240, SHAPE) ** 4
X_TEST = np.concatenate([images(20, SHAPE, seed=1) ** 4, images(10, SHAPE, seed=2)])
LENET = seeded(LeNet).eval()


def rows(n_samples, seed=0):
    return np.random.default_rng(seed).normal(size=(n_samples, 4)).astype("f4")


def linear():
    return seeded(partial(nn.Linear, 4, 3))


def guard_of(net, X, *steps, **options):
    """Return a fitted guard whose detector has some steps after the activations."""
    activations = LayerActivationTransformer(net, **options)
    detector = make_pipeline(activations, *steps) if steps else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some classes are small
        return GuardedClassifier(net, detector, **SEED).fit(X)


def run_torch(path, *inputs):
    program = torch.export.load(path).module()
    with torch.no_grad():
        return [answer.numpy() for answer in program(*map(torch.from_numpy, inputs))]


def run_onnx(path, *inputs):
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    names = [one.name for one in session.get_inputs()]
    return session.run(None, dict(zip(names, inputs, strict=True)))


RUNS = {"torch": (".pt2", run_torch), "onnx": (".onnx", run_onnx)}


def exported(guard, folder, format, **options):
    """Return a function that asks the file of a guard."""
    if format == "onnx":
        pytest.importorskip("onnxscript")
    suffix, run = RUNS[format]
    export(guard, folder / f"guard{suffix}", format, **options)
    return partial(run, folder / f"guard{suffix}")


def scores_in_float64(guard, X):
    module = GuardModule(guard)
    module.features.network.double()
    inputs = X.values() if isinstance(X, dict) else [X]
    with torch.no_grad():
        return module(*map(torch.from_numpy, inputs))[1].numpy()


def assert_judged(answers, guard, X):
    """Compare answers with those of `judge`, up to rounding of the network.

    Another library rounds a network of float32 otherwise. How much that matters shows
    where the network is computed in float64: `judge` is as far from that.
    """
    logits, score, p_value, trust = answers
    assert (score.dtype, p_value.dtype, trust.dtype) == (np.float64, np.float64, bool)
    judged, calibration_scores = guard.judge(X), guard.calibration_scores_
    exact = scores_in_float64(guard, X)
    spread = np.subtract(*np.quantile(calibration_scores, [0.75, 0.25]))
    rounding = 1e-5 * (np.abs(exact) + spread) + 3 * np.abs(judged.score - exact).max()
    assert (np.abs(score - exact) <= rounding).all()
    # Scores that differ by rounding may lie on two sides of a calibration score.
    m = len(calibration_scores)
    for sign, compare in ((-1, np.greater_equal), (1, np.less_equal)):
        limits = exact + sign * rounding
        ranks = (calibration_scores <= limits[:, None]).sum(axis=1)
        assert compare(p_value, (1 + ranks) / (m + 1)).all()
    assert (trust == judged.trust).all()
    assert (logits.argmax(axis=1) == judged.predicted).all()


@pytest.mark.slow
@pytest.mark.parametrize("format", ["torch", "onnx"])
def test_files_run_without_skgrad(format, tmp_path):
    X, far = rows(200), rows(20, seed=1) * 9
    guard = guard_of(linear(), X)
    ask = exported(guard, tmp_path, format)
    new = np.concatenate([X[:20], far])
    # Any number of inputs.
    for few in (new, new[:1], new[:2]):
        assert_judged(ask(few), guard, few)
    new[3, 1] = np.nan
    logits, score, p_value, trust = ask(new)
    assert (score[3], p_value[3], trust[3]) == (-np.inf, 0, False)
    assert np.isnan(logits[3]).all()
    assert np.isfinite(score[4:]).all()


@pytest.mark.slow
def test_only_the_network_is_rounded(tmp_path):
    net = seeded(lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)))
    X = rows(200).astype(np.float64)
    guard = guard_of(net.double(), X)
    score, p_value, trust = exported(guard, tmp_path, "onnx")(X)[1:]
    judged = guard.judge(X)
    assert_allclose(score, judged.score, rtol=1e-9)
    # Calibration inputs are among these: no tie may be lost.
    assert (p_value == judged.p_value).all()
    assert (trust == judged.trust).all()


DETECTORS = {
    "GEN": ["logits", GEN(**SEED)],
    "fDBD": ["penultimate", FDBD(**SEED)],
    "Gaussian": ["conv2", ClassConditionalGaussian(threshold="per_class", **SEED)],
    "SVDD": ["fc1", PerClassSVDD(min_class_size=30, **SEED)],
}


@pytest.mark.slow
@pytest.mark.parametrize("format", ["torch", "onnx"])
@pytest.mark.parametrize("name", DETECTORS)
def test_detectors(name, format, tmp_path):
    layer, detector = DETECTORS[name]
    layers = list(dict.fromkeys([layer, "logits"]))
    guard = guard_of(LENET, X_FIT, detector, layers=layers)
    answers = exported(guard, tmp_path, format)(X_TEST)
    assert_judged(answers, guard, X_TEST)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["torch", "onnx"])
def test_changes_of_all_kinds(format, tmp_path):
    changes = ["noise", "grey", "shift", "blur", "flip", ("dark", lambda x: x * 0.9)]
    detector = make_pipeline(
        StabilityTransformer(LENET, changes, **SEED), StableConfidence(**SEED)
    )
    guard = GuardedClassifier(LENET, detector, **SEED)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that changes are too large
        guard.fit(X_FIT)
    answers = exported(guard, tmp_path, format)(X_TEST)
    # The logits of an untrained network differ by little from one input to the next.
    assert_allclose(answers[1], guard.score_samples(X_TEST), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["torch", "onnx"])
def test_demo_network(format, tmp_path):
    digits = load_digits_images()
    net = train_digits_network(digits.X_train, digits.y_train, **SEED)
    guard = guard_of(net, digits.X_fit)
    X = np.concatenate([digits.X_test, make_photo_patches(50, **SEED)])
    answers = exported(guard, tmp_path, format)(X)
    assert_judged(answers, guard, X)
    score, trust = answers[1], answers[3]
    assert 50 < trust.sum() < len(X) - 30
    # What the guide says.
    low, high = np.quantile(guard.calibration_scores_, [0.25, 0.75])
    off = np.abs(score - guard.score_samples(X)) / (high - low)
    assert np.mean(off < 1e-5) > 0.98
    assert off.max() < 3e-5


@pytest.mark.slow
@pytest.mark.parametrize("format", ["torch", "onnx"])
def test_resnet(format, tmp_path):
    torchvision = pytest.importorskip("torchvision")
    net = seeded(partial(torchvision.models.resnet18, num_classes=10)).eval()
    X = images(240, (3, 32, 32)) ** 3
    guard = guard_of(net, X)
    new = np.concatenate([X[:10], images(10, (3, 32, 32), seed=1)])
    answers = exported(guard, tmp_path, format)(new)
    assert_judged(answers, guard, new)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["torch", "onnx"])
def test_several_inputs_of_other_lengths(format, tmp_path):
    rng = np.random.default_rng(0)

    def texts(n_samples, length):
        ids = rng.integers(5, 90, (n_samples, length))
        lengths = rng.integers(3, length + 1, n_samples)
        mask = np.arange(length) < lengths[:, None]
        return {"input_ids": ids, "attention_mask": mask.astype(np.int64)}

    X = texts(200, 9)
    guard = guard_of(seeded(MaskedText), X)
    ask = exported(guard, tmp_path, format, example=X)
    for new in (texts(20, 9), texts(1, 4)):
        assert_judged(ask(*new.values()), guard, new)
    with pytest.raises(ValueError, match=r"example must hold inputs.*got None"):
        export(guard, tmp_path / "text.pt2", "torch")


# Wrong calls


class ByValues(nn.Linear):
    """A network whose layers depend on the values of a batch."""

    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else -super().forward(x)


class OfOneSize(nn.Linear):
    """A network that reads the number of samples as a number of Python."""

    def forward(self, x):
        return super().forward(x.reshape(len(x), 4))


@pytest.mark.parametrize("kind", [ByValues, OfOneSize])
def test_networks_that_cannot_be_traced(kind, tmp_path):
    guard = guard_of(seeded(partial(kind, 4, 3)), np.abs(rows(200)))
    (tmp_path / "guard.pt2").write_text("the one before")
    what = r"guard holds a network that torch\.export\.export cannot.* Torch says: "
    with pytest.raises(ValueError, match=what) as caught:
        export(guard, tmp_path / "guard.pt2", "torch")
    assert caught.value.__cause__ is not None
    assert [p.read_text() for p in tmp_path.iterdir()] == ["the one before"]


def test_wrong_calls(tmp_path):
    guard = guard_of(linear(), rows(200), Energy(), layers=["logits"])
    wrong = partial(pytest.raises, ValueError)
    with wrong(match="format must be 'onnx' or 'torch'; got 'pt2'"):
        export(guard, tmp_path / "guard.pt2", "pt2")
    with wrong(
        match=r"path must end in '\.onnx' for format='onnx'; got '.*guard\.pt2'"
    ):
        export(guard, tmp_path / "guard.pt2")
    with pytest.raises(TypeError, match="path must be a str or a Path; got 3"):
        export(guard, 3)
    with pytest.raises(FileNotFoundError, match="There is no such folder"):
        export(guard, tmp_path / "none" / "guard.pt2", "torch")
    with pytest.raises(NotFittedError):
        export(GuardedClassifier(linear()), tmp_path / "guard.pt2", "torch")
    gradients = make_confounding_gradient_detector(linear(), **SEED)
    gradients.set_params(classify__max_epochs=1).fit(rows(60), np.arange(60) % 2)
    with pytest.raises(TypeError, match=r"takes gradients.*nearest.*recommended"):
        export(gradients, tmp_path / "guard.pt2", "torch")
    with wrong(match="X must be finite"):
        example = np.full((1, 4), np.nan, "f4")
        export(guard, tmp_path / "guard.pt2", "torch", example=example)
    assert list(tmp_path.iterdir()) == []


def test_detectors_need_no_guard(tmp_path):
    detector = make_recommended_detector(linear(), effort="low", **SEED).fit(rows(200))
    score, p_value, trust = exported(detector, tmp_path, "torch")(rows(9, seed=1))[1:]
    assert_allclose(score, detector.score_samples(rows(9, seed=1)), rtol=1e-9)
    assert_allclose(p_value, detector.p_values(rows(9, seed=1)), rtol=1e-12)
    assert (trust == (detector.predict(rows(9, seed=1)) == 1)).all()
