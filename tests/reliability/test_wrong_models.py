"""The catalogue of wrong models: all public doors x all that people hand over."""

import re
import warnings
from functools import partial

import numpy as np
import pytest
from networks import BatchNormNet, seeded
from numpy.testing import assert_allclose
from torch import nn
from wrong_doors import ATTACKS, IMAGES, WITH_MODEL, look
from wrong_models import (
    MODELS,
    OF_PARAMETERS,
    PROBABILITIES,
    WITHOUT_GRADIENT,
)

from skgrad.baselines import ODIN, fine_tune_with_outliers
from skgrad.evaluation import evaluate, loss_alignment, make_anomalies

# Transformers and attacks first; of the detectors those that do something of their own.
FITS = [name for name in WITH_MODEL if name != "make_geometric_gradient_detector"]
GRADIENTS = ("ConfoundingGradientTransformer", "CosineSimilarityMatrixTransformer")
GRADIENTS += ("ODIN", "fgsm", "pgd", "jsma", "carlini_wagner")
CLASSES = np.zeros(len(IMAGES), dtype=int)


def fit(name, model):
    fitted = WITH_MODEL[name](model).fit(IMAGES)
    ask = getattr(fitted, "score_samples", None) or fitted.transform
    return np.asarray(ask(IMAGES))


def attack(name, model):
    return ATTACKS[name](model, IMAGES).X_adv


DOORS = {name: partial(fit, name) for name in FITS}
DOORS |= {name: partial(attack, name) for name in ATTACKS}
DOORS["loss_alignment"] = lambda model: loss_alignment(
    model, IMAGES, None, sigma=0.1, n_injections=2, random_state=0
)
DOORS["make_anomalies"] = lambda model: (
    make_anomalies(model, IMAGES, CLASSES, ["fgsm"])["fgsm"].X
)
DOORS["evaluate"] = lambda model: evaluate(
    model, {"d": ODIN(seeded(BatchNormNet))}, IMAGES, {"o": IMAGES + 1}
)
DOORS["fine_tune_with_outliers"] = lambda model: fine_tune_with_outliers(
    model, IMAGES, CLASSES, IMAGES / 2, max_epochs=1
)
REFUSED = {case: entry for case, entry in MODELS.items() if entry[1]}


@pytest.mark.parametrize(
    ("name", "case"),
    [
        (name, case)
        for name in DOORS
        for case in REFUSED
        # It trains a copy, which is of no inference mode.
        if (name, case) != ("fine_tune_with_outliers", "made in inference mode")
    ],
)
def test_models(name, case, counted):
    make, match = REFUSED[case]
    error = refusal(DOORS[name], make())
    assert re.search(match, str(error), re.DOTALL), str(error)
    assert len(str(error)) < 700
    counted("Wrong models", case, f"refused, {type(error).__name__}")


def refusal(door, model):
    """Return the error for a model, which is as before."""
    module = model if isinstance(model, nn.Module) else None
    before = look(module)
    with pytest.raises((ValueError, TypeError)) as caught:
        door(model)
    assert look(module) == before
    return caught.value


@pytest.mark.parametrize("case", [case for case in MODELS if case not in REFUSED])
@pytest.mark.parametrize("name", [*FITS[:4], "ODIN", "fgsm"])
def test_models_that_are_right(name, case, counted):
    module = MODELS[case][0]()
    before = look(module)
    expected = DOORS[name](seeded(BatchNormNet).eval())
    assert_allclose(DOORS[name](module), expected, rtol=1e-4, atol=1e-5)
    assert look(module) == before
    counted("Wrong models", case, "right answer")


@pytest.mark.parametrize("case", WITHOUT_GRADIENT)
@pytest.mark.parametrize("name", GRADIENTS)
def test_models_without_gradient(name, case, counted):
    make, match = WITHOUT_GRADIENT[case]
    assert re.search(match, str(refusal(DOORS[name], make())))
    counted("Wrong models", case, "refused, ValueError")


@pytest.mark.parametrize("name", [GRADIENTS[0], "fine_tune_with_outliers"])
def test_models_without_parameters(name, counted):
    make, match = OF_PARAMETERS["without parameters"]
    assert re.search(match, str(refusal(DOORS[name], make())))
    counted("Wrong models", "without parameters", "refused, ValueError")


@pytest.mark.parametrize("case", PROBABILITIES)
@pytest.mark.parametrize("name", [*FITS[:4], "ODIN", "Mahalanobis"])
def test_probabilities_are_noticed(name, case, counted):
    # Which other warnings come first does not matter.
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="model returns rows")
        with pytest.raises(UserWarning, match="remove the softmax"):
            DOORS[name](PROBABILITIES[case]())
    counted("Wrong models", case, "warned")
