"""Models: all cases once per validator, one of each kind at every entry point."""

import re
import warnings

import pytest
from entry_points import ENTRY_POINTS, IMAGES, LIBRARY_ENTRY_POINTS, network
from model_state import assert_same_state, state_of
from numpy.testing import assert_allclose
from torch import nn
from wrong_models import (
    PROBABILITIES,
    VALID,
    WITHOUT_GRADIENT,
    WITHOUT_PARAMETERS,
    WRONG,
)

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
