"""A matrix is validated once per public call, whatever the detector consists of."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import sklearn.utils.validation
from novelty_detectors import MAKERS, draw
from sklearn.svm import OneClassSVM

from skgrad import (
    LODA,
    ClassConditionalDetector,
    CombinedDetector,
    ConformalDetector,
    MLPAnomalyClassifier,
)

COMPOSED = {name: MAKERS[name] for name in ("combined", "SVDD", "Gaussian", "tied")} | {
    "LODA": LODA,
    "MLP": partial(MLPAnomalyClassifier, max_epochs=2),
    "per class": partial(ClassConditionalDetector, LODA(n_cuts=5), blocks=[-1, 3]),
    "nested": partial(
        CombinedDetector,
        [("cuts", LODA()), ("per class", MAKERS["SVDD"]())],
        blocks=[-1, 3],
    ),
}


@pytest.fixture
def validated(monkeypatch):
    """Collect the estimators for which scikit-learn validates a matrix."""
    found = []
    check_array = sklearn.utils.validation.check_array

    def record(*args, estimator=None, **options):
        found.append(type(estimator))
        return check_array(*args, estimator=estimator, **options)

    monkeypatch.setattr(sklearn.utils.validation, "check_array", record)
    return found


def public_calls(detector, X):
    for name in ("score_samples", "predict", "p_values", "log_p_values"):
        if hasattr(detector, name):
            yield partial(getattr(detector, name), X)


@pytest.mark.parametrize("make", COMPOSED.values(), ids=COMPOSED)
@pytest.mark.parametrize("convert", [pd.DataFrame, np.asarray])
def test_one_validation_per_call(make, convert, validated):
    X = pd.DataFrame(draw(150), columns=["a_0", "a_1", "x_0", "x_1", "x_2"])
    # +1 and -1 would leave rows out of the others.
    X, y = convert(X), np.arange(150) % 2 if make is COMPOSED["MLP"] else None
    detector = make(random_state=0).fit(X, y)
    # scikit-learn's own models validate what they are fitted on.
    assert sum(kind.__module__.startswith("skgrad") for kind in validated) == 1
    for call in public_calls(detector, X):
        validated.clear()
        call()
        # scikit-learn is not asked about an array in which nothing is wrong.
        assert validated == ([type(detector)] if convert is pd.DataFrame else [])


@pytest.mark.parametrize("name", ["combined", "SVDD"])
def test_one_validation_within_a_conformal_detector(name, validated):
    X = pd.DataFrame(draw(150), columns=["a_0", "a_1", "x_0", "x_1", "x_2"])
    detector = ConformalDetector(MAKERS[name](), random_state=0).fit(X)
    for call in public_calls(detector, X):
        validated.clear()
        call()
        assert validated == [type(detector.detector_)]


def test_detectors_of_others_validate_for_themselves(validated):
    X = draw(150)
    parts = [("svm", OneClassSVM()), ("cuts", LODA())]
    detector = CombinedDetector(parts, random_state=0).fit(X)
    validated.clear()
    detector.score_samples(X)
    assert set(validated) == {OneClassSVM}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda X: np.where(np.eye(*X.shape), np.nan, X), "Input X contains NaN"),
        (lambda X: np.where(np.eye(*X.shape), -np.inf, X), "Input X contains infinity"),
        (lambda X: X[:, 1:], "X has 4 features, but CombinedDetector is expecting 5"),
        (lambda X: X[:0], "at least one sample"),
    ],
    ids=["NaN", "infinity", "columns", "empty"],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wrong_arrays_of_new_samples(wrong, message, dtype):
    X = draw(150).astype(dtype)
    detector = MAKERS["combined"](random_state=0).fit(X)
    with pytest.raises(ValueError, match=message):
        detector.predict(wrong(X))


def test_finite_values_whose_sum_is_not():
    X = draw(150)
    detector = LODA(random_state=0).fit(X)
    far = np.full((30, 5), 1e308)
    assert (detector.predict(far) == -1).all()
