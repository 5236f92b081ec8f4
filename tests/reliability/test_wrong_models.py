"""Models: all cases once per validator, one of each kind at every entry point."""

import re
import warnings
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from entry_points import (
    CLASSES,
    ENTRY_POINTS,
    IMAGES,
    LIBRARY_ENTRY_POINTS,
    ROWS,
    network,
)
from model_state import assert_same_state, state_of
from networks import BatchNormNet, seeded
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import softmax
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from torch import nn

from skgrad import (
    LayerActivationTransformer,
    make_recommended_detector,
    predict_logits,
)

LOGITS = r"model must return logits: .*returned "


class Returns(nn.Module):
    """A network whose logits pass through a function."""

    def __init__(self, function, base=None):
        super().__init__()
        self.base = seeded(BatchNormNet) if base is None else base
        self.conv = self.base.conv
        self.function = function

    def forward(self, x):
        return self.function(self.base(x))


class NoParameters(nn.Module):
    """A network without parameters."""

    def forward(self, x):
        return x.flatten(1)[:, :3] - x.flatten(1)[:, 3:6]


class Raises(nn.Module):
    """A network that fails."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)

    def forward(self, x):
        raise KeyError("no such weight")


def lazy():
    return nn.Sequential(nn.LazyConv2d(3, 3), nn.Flatten(), nn.LazyLinear(3))


def of_inference_mode():
    with torch.inference_mode():
        return BatchNormNet()


# Models that give the results of the plain network.
VALID = {
    "in train mode": lambda: seeded(BatchNormNet).train(),
    "returns (logits, more)": lambda: Returns(lambda z: (z, "more")),
}
# What is no model, and how a message calls it.
NO_MODELS = {
    "None": (None, "NoneType"),
    "class, not instance": (BatchNormNet, "type|class"),
    "name": ("resnet18", "resnet18"),
    "state_dict": (seeded(BatchNormNet).state_dict(), "OrderedDict"),
    "function": (torch.relu, "relu"),
    "scikit-learn estimator": (LogisticRegression(), "LogisticRegression"),
}
# What a model returns in place of logits z, and how a message calls it.
NO_LOGITS = {
    "one number": (lambda z: z.sum(), ""),
    "one axis, of classes": (lambda z: z.mean(0), ""),
    "no class": (lambda z: z[:, :0], ""),
    "three axes": (lambda z: z[:, :, None], ""),
    "a dict": (lambda z: {"out": z}, "a dict"),
    "None": (lambda z: None, "a NoneType"),
    "a numpy array": (lambda z: z.detach().numpy(), "a ndarray"),
    "classes": (lambda z: z.argmax(1), ".*int64"),
    "whole numbers": (lambda z: z.long(), ".*int64"),
    "other rows": (lambda z: z[:1], ""),
    "no rows": (lambda z: z[:0], ""),
}
# Models that raise: how they are made, and what the message says.
WRONG = {
    **{
        name: (lambda thing=thing: thing, rf"model must be a torch.nn.*({called})")
        for name, (thing, called) in NO_MODELS.items()
    },
    **{
        f"returns {name}": (partial(Returns, function), LOGITS + called)
        for name, (function, called) in NO_LOGITS.items()
    },
    "skorch net, unfitted": (
        lambda: NeuralNetClassifier(BatchNormNet),
        "model must be trained.*fit",
    ),
    "lazy, never called": (lazy, "model must be initialised.*Call"),
    "made in inference mode": (of_inference_mode, "model must not be made under"),
    "raises": (Raises, "model cannot take X.*KeyError"),
    "for another shape": (lambda: nn.Linear(5, 3), "model cannot take X.*shape"),
    "returns NaN": (lambda: Returns(lambda z: z * torch.nan), "model returned NaN"),
    "returns infinity": (
        lambda: Returns(lambda z: z + torch.inf),
        "model returned NaN or inf",
    ),
}
# Only entry points that take gradients, or parameters, can see these.
WITHOUT_GRADIENT = {
    "detached logits": (lambda: Returns(torch.detach), "model must let autograd"),
    "made by numpy": (
        lambda: Returns(lambda z: torch.from_numpy(z.detach().numpy())),
        "model must let autograd",
    ),
}
WITHOUT_PARAMETERS = (NoParameters, "model must have parameters")
PROBABILITIES = {
    "returns probabilities": lambda: Returns(lambda z: z.softmax(1)),
    "returns log-probabilities": lambda: Returns(lambda z: z.log_softmax(1)),
}

# One entry point for each place where a model is checked.
VALIDATORS = ("LayerActivationTransformer", "ODIN", "pgd")
ALL = ENTRY_POINTS | LIBRARY_ENTRY_POINTS
GRADIENTS = (
    *("ConfoundingGradientTransformer", "CosineSimilarityMatrixTransformer", "ODIN"),
    *("fgsm", "pgd", "jsma", "carlini_wagner"),
)
SCORES = (
    *("ConfoundingGradientTransformer", "CosineSimilarityMatrixTransformer"),
    *("LayerActivationTransformer", "MostDiscriminativeLayer", "ODIN", "Mahalanobis"),
)


def error_of(name, model):
    """Return the message for a wrong model, and check that it is as before."""
    is_module = isinstance(model, nn.Module)
    is_lazy = "LazyLinear" in repr(model)  # has no values to compare yet
    before = state_of(model) if is_module and not is_lazy else None
    with pytest.raises((ValueError, TypeError)) as caught:
        ALL[name](model, IMAGES)
    if before:
        assert_same_state(before, state_of(model))
    assert len(str(caught.value)) < 700
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "case"),
    [(name, case) for name in VALIDATORS for case in WRONG],
)
def test_wrong_models(name, case):
    make, match = WRONG[case]
    message = error_of(name, make())
    assert re.search(match, message, re.DOTALL), message


@pytest.mark.parametrize("name", ALL)
def test_every_entry_point_checks_its_model(name):
    for case in ("None", "name", "lazy, never called", "returns a dict"):
        make, match = WRONG[case]
        message = error_of(name, make())
        assert re.search(match, message, re.DOTALL), message


@pytest.mark.parametrize("case", VALID)
@pytest.mark.parametrize("name", SCORES)
def test_valid_models(name, case):
    model = VALID[case]()
    before = state_of(model)
    expected = ENTRY_POINTS[name](network().eval(), IMAGES)
    result = ENTRY_POINTS[name](model, IMAGES)
    assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    assert_same_state(before, state_of(model))


@pytest.mark.parametrize("case", WITHOUT_GRADIENT)
@pytest.mark.parametrize("name", GRADIENTS)
def test_models_without_gradient(name, case):
    make, match = WITHOUT_GRADIENT[case]
    assert re.search(match, error_of(name, make()))


@pytest.mark.parametrize("name", [*GRADIENTS[:3], "fgsm"])
def test_models_that_overwrite_what_autograd_needs(name):
    message = error_of(name, Returns(lambda z: z.exp().mul_(2)))
    assert re.search("model must let autograd differ.*in place.*Torch says", message)


def test_models_without_parameters():
    make, match = WITHOUT_PARAMETERS
    assert re.search(match, error_of(GRADIENTS[0], make()))


@pytest.mark.parametrize("case", PROBABILITIES)
@pytest.mark.parametrize("name", SCORES)
def test_probabilities_are_noticed(name, case):
    # Other warnings may come first.
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="model returns rows")
        with pytest.raises(UserWarning, match="remove the softmax"):
            ENTRY_POINTS[name](PROBABILITIES[case](), IMAGES)


SIGMOIDS = {
    "function": torch.sigmoid,
    "module, before a squeeze": lambda z: nn.Sigmoid()(z[:, None])[:, 0],
    "in place": lambda z: (z + 0).sigmoid_(),
    "in a tuple": lambda z: (nn.functional.sigmoid(z), "more"),
}


@pytest.mark.parametrize("case", SIGMOIDS)
@pytest.mark.parametrize("name", SCORES)
def test_sigmoids_are_noticed(name, case):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="model returns outputs of a sigmoid")
        with pytest.raises(UserWarning, match=r"remove the sigmoid.*several labels"):
            ENTRY_POINTS[name](Returns(SIGMOIDS[case]), IMAGES)


def test_small_logits_and_sigmoids_inside_are_none():
    for function in (lambda z: z, lambda z: z[:, 0]):
        logits = Returns(lambda z, f=function: f(0.5 + 0.01 * torch.sigmoid(z)))
        ENTRY_POINTS["LayerActivationTransformer"](logits, IMAGES)


def test_a_pipeline_that_ends_in_a_net():
    X, y = ROWS.astype("float32"), CLASSES
    net = NeuralNetClassifier(nn.Linear(5, 3), criterion=nn.CrossEntropyLoss)
    net.set_params(max_epochs=1, verbose=0, train_split=None)
    model = make_pipeline(StandardScaler(), net).fit(X, y)
    with pytest.raises(TypeError, match="Give its last step") as caught:
        predict_logits(model, X)
    # The line of the message, with a transformer whose features are known.
    assert str(caught.value).endswith(
        "make_pipeline(FrozenEstimator(model[:-1]), "
        "make_recommended_detector(model[-1]))."
    )
    features = make_pipeline(
        FrozenEstimator(model[:-1]), LayerActivationTransformer(model[-1], "logits")
    ).fit(X)
    probabilities = softmax(features.transform(X), axis=1)
    assert_allclose(probabilities, model.predict_proba(X), rtol=1e-5)
    # The recipes write that line themselves.
    options = {"effort": "low", "random_state": 0}
    options["target_fpr"] = 0.5
    whole = make_recommended_detector(model, **options).fit(X)
    apart = make_recommended_detector(model[-1], **options)
    apart = make_pipeline(FrozenEstimator(model[:-1]), apart).fit(X)
    assert_array_equal(whole.score_samples(X), apart.score_samples(X))


def test_models_with_a_network_inside():
    program = torch.export.export(nn.Linear(5, 3), (torch.zeros(2, 5),))
    net = NeuralNetClassifier(nn.Linear(5, 3), criterion=nn.CrossEntropyLoss)
    net.set_params(max_epochs=1, verbose=0, train_split=None)
    search = GridSearchCV(net, {"lr": [0.1]}, cv=2)
    search.fit(ROWS.astype("float32"), CLASSES)
    # As pipelines of Hugging Face are.
    pipeline = SimpleNamespace(model=nn.Linear(5, 3), tokenizer=len)
    for model, way_out in (
        (pipeline, r"Give the network in it, model\.model, and what model\.tokenizer"),
        (program, r"Give its module, model\.module\(\)\."),
        (search, r"Give what the search found, model\.best_estimator_\."),
    ):
        with pytest.raises(TypeError, match=way_out):
            predict_logits(model, ROWS)


# One logit


ONE_LOGIT = (
    *("ConfoundingGradientTransformer", "LayerActivationTransformer", "Mahalanobis"),
    *("MostDiscriminativeLayer", "make_recommended_detector", "fgsm", "jsma"),
)


def of_one_logit(form):
    net = seeded(BatchNormNet)
    net.head = nn.Linear(net.head.in_features, 1)
    return Returns(form, base=net)


@pytest.mark.parametrize("form", [lambda z: z, lambda z: z[:, 0]], ids=["n, 1", "n"])
@pytest.mark.parametrize("name", ONE_LOGIT)
def test_one_logit_is_two_classes(name, form):
    model = of_one_logit(form)
    both = Returns(lambda z: torch.cat([-z / 2, z / 2], dim=1), base=model.base)
    expected = ENTRY_POINTS[name](both, IMAGES)
    assert_allclose(ENTRY_POINTS[name](model, IMAGES), expected, rtol=1e-5)


def test_classes_of_a_binary_skorch_net():
    X = IMAGES.astype("float32")
    net = NeuralNetBinaryClassifier(of_one_logit(lambda z: z[:, 0]), max_epochs=0)
    net.fit(X, np.tile([0.0, 1.0], len(X) // 2).astype("float32"))
    logits = predict_logits(net, X)
    assert_array_equal(logits.argmax(axis=1), net.predict(X))
    assert_allclose(softmax(logits, axis=1), net.predict_proba(X), rtol=1e-5)


def test_one_probability_is_noticed():
    with pytest.warns(UserWarning, match="remove the sigmoid from its forward.$"):
        predict_logits(Returns(lambda z: torch.sigmoid(z[:, 0])), IMAGES)


def test_pytorch_ood_gets_no_single_logit():
    message = error_of("PyTorchOODDetector", of_one_logit(lambda z: z))
    assert "model must return two logits or more for pytorch-ood" in message
