"""Inputs X: all cases once per validator, one of each kind at every entry point.

An input gives the result of the plain array that it equals, or an error that names the
parameter and what came; after an error nothing is changed.
"""

import re
from functools import cache, partial

import joblib
import numpy as np
import pytest
from entry_points import (
    ATTACKS,
    ENTRY_POINTS,
    FEATURE_ESTIMATORS,
    FUNCTIONS,
    IMAGES,
    LIBRARY_ENTRY_POINTS,
    MODEL_ESTIMATORS,
    ROWS,
    first_answer,
    labels_for,
    methods_of,
    network,
)
from model_state import assert_same_state, state_of
from numpy.testing import assert_allclose
from pyod.models.knn import KNN
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import FeatureUnion, make_pipeline
from wrong_inputs import Valid, Wrong, Yields, all_inputs, one_of_each_kind

from skgrad import ConformalDetector, LayerActivationTransformer

ERRORS = (ValueError, TypeError, NotFittedError)
pytestmark = pytest.mark.usefixtures("time_limit")
MODEL = network()


def error_of(call, X):
    """Return the error that a wrong input raises, and check that it changes nothing."""
    before = state_of(MODEL)
    with pytest.raises(ERRORS) as caught:
        call(X)
    assert_same_state(before, state_of(MODEL))
    return "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


def check_message(message, parameter, match=""):
    """Check that a message names the parameter, and what came."""
    assert re.search(rf"\b({parameter})\b", message), message
    assert re.search(match, message, re.DOTALL), message
    assert len(message) < 700


# One entry point for each function that validates X.
VALIDATORS = {
    "of a model's estimators": MODEL_ESTIMATORS["LayerActivationTransformer"],
    "of features": FEATURE_ESTIMATORS["LODA"],
    "of attacks": ATTACKS["random_noise"],
    "of whole arrays": FUNCTIONS["AnomalySet"][0],
}
ENTRIES = {X.ndim: all_inputs(X) for X in (IMAGES, ROWS)}
# What is valid here: an AnomalySet may be empty, evaluate says whether it holds NaN,
# several inputs have names, and a network may take sparse rows.
NOT_HERE = {
    "of a model's estimators": re.compile("^sparse"),
    "of whole arrays": re.compile("empty$|NaN|infinity|None among objects|dict"),
    "of attacks": re.compile("^dict$"),
}
PAIRS = [
    (validator, case)
    for validator in VALIDATORS
    for case in ENTRIES[2 if validator == "of features" else 4]
    if not (validator in NOT_HERE and NOT_HERE[validator].search(case))
    or case == "Dataset, empty"
]


@cache
def calls(validator):
    """Return functions of X for a validator, each with whether it learns from X."""
    if validator == "of whole arrays":
        return [(partial(VALIDATORS[validator], MODEL), False)]
    if validator == "of attacks":
        attack = partial(VALIDATORS[validator], MODEL, random_state=0)
        return [(lambda X: attack(X).X_adv, False)]
    over_rows = validator == "of features"
    make, plain = VALIDATORS[validator], ROWS if over_rows else IMAGES
    fitted = (make() if over_rows else make(MODEL)).fit(plain)
    again = clone(fitted)
    methods = [(method, False) for method in methods_of(fitted).values()]
    return [(lambda X: first_answer(clone(again).fit(X), plain), True), *methods]


# Data frames and plain arrays come to the same detector.
@pytest.mark.filterwarnings("ignore:X (has|does not have) .*feature names")
@pytest.mark.parametrize(("validator", "case"), PAIRS)
def test_all_inputs(validator, case):
    plain = ROWS if validator == "of features" else IMAGES
    before = plain.tobytes()
    entry = expected(validator, case, ENTRIES[plain.ndim][case])
    if isinstance(entry, Valid):
        for call, _ in calls(validator)[:2]:
            given, twin = np.asarray(call(entry.X)), np.asarray(call(entry.twin))
            assert_allclose(given, twin, rtol=1e-4, atol=1e-5)
    else:
        for call, _ in calls(validator):
            check_message(error_of(call, entry.X), "X", entry.match)
    assert plain.tobytes() == before


def expected(validator, case, entry):
    """Return what is expected of this validator, where it is not the usual."""
    read = case.startswith(("Dataset", "Subset", "IterableDataset", "DataLoader"))
    if read and validator in ("of features", "of attacks"):
        return Wrong(entry.X, r"got the (Dataset|DataLoader)")
    if case == "Dataset of numbers" and validator == "of whole arrays":
        return Wrong(entry.X, r"got shape \(24,\)")
    if case.startswith("empty") or case == "Dataset, empty":
        return Wrong(entry.X, r"at least one|n_samples ?= ?0")
    return entry


def check_estimator(make, plain):
    """Pass wrong inputs to fit and to all methods of an estimator."""
    estimator = make()
    y = labels_for(estimator)
    fitted = clone(estimator).fit(plain, y)
    before = joblib.hash(first_answer(fitted, plain)), repr(fitted.get_params())
    for case, X in one_of_each_kind(plain).items():
        refit = partial(fitted.fit, y=y) if y is not None else fitted.fit
        # A detector of features may be fitted with any number of columns.
        fits_too = plain.ndim == 2 and case == "too many channels"
        for call in [*[refit] * (not fits_too), *methods_of(fitted).values()]:
            check_message(error_of(call, X), "X")
    after = joblib.hash(first_answer(fitted, plain)), repr(fitted.get_params())
    assert after == before


@pytest.mark.parametrize("name", MODEL_ESTIMATORS)
def test_estimators_around_models(name):
    check_estimator(partial(MODEL_ESTIMATORS[name], MODEL), IMAGES)


@pytest.mark.parametrize("name", FEATURE_ESTIMATORS)
def test_estimators_of_features(name):
    check_estimator(FEATURE_ESTIMATORS[name], ROWS)


@pytest.mark.parametrize("name", [*ATTACKS, *LIBRARY_ENTRY_POINTS])
def test_attacks(name):
    attack = partial((ENTRY_POINTS | LIBRARY_ENTRY_POINTS)[name], MODEL)
    for X in one_of_each_kind(IMAGES).values():
        check_message(error_of(attack, X), "X")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    function, parameter = FUNCTIONS[name]
    for case, X in one_of_each_kind(IMAGES).items():
        if (name, case) not in VALID_HERE:
            # What does not fit the model is found when its X is given.
            names = f"{parameter}|X" if case == "too many channels" else parameter
            check_message(error_of(partial(function, MODEL), X), names)


VALID_HERE = {
    ("evaluate, X_fit", "None"),
    ("AnomalySet", "NaN"),
    ("AnomalySet", "too many channels"),
}


def test_datasets_around_detectors():
    # numpy would iterate for ever over a Dataset without IndexError.
    endless = Yields(len(IMAGES), lambda index: IMAGES[index % len(IMAGES)])
    features = LayerActivationTransformer(MODEL, "logits")
    raw = FeatureUnion([("features", features), ("raw", "passthrough")])
    forest = IsolationForest(n_estimators=2)
    scaled, both = make_pipeline(None, forest), make_pipeline(raw, forest)
    for inner in (forest, KNN(), scaled, both):
        with pytest.raises(TypeError, match=r"X must be .* got the Dataset"):
            ConformalDetector(inner).fit(endless)
    # These read it.
    parts = FeatureUnion([("features", features), ("more", "drop")])
    for first in (features, parts):
        inner = make_pipeline(first, forest)
        detector = ConformalDetector(inner, target_fpr=0.5, random_state=0).fit(endless)
        assert_allclose(detector.score_samples(endless), detector.score_samples(IMAGES))


@pytest.mark.parametrize("name", ["MostDiscriminativeLayer", "ODIN"])
def test_errors_of_datasets_come_through(name):
    def read(index):
        if index == len(IMAGES) - 1:
            raise OSError("image file is truncated")
        return IMAGES[index]

    fitted = MODEL_ESTIMATORS[name](MODEL).fit(IMAGES)
    before = first_answer(fitted, IMAGES).tobytes()
    for call in (fitted.fit, partial(first_answer, fitted)):
        state = state_of(MODEL)
        with pytest.raises(OSError, match="image file is truncated"):
            call(Yields(len(IMAGES), read))
        assert_same_state(state, state_of(MODEL))
        # A fit that fails late leaves what an earlier one set.
        assert first_answer(fitted, IMAGES).tobytes() == before
