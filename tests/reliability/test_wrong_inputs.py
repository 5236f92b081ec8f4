"""The catalogue of wrong inputs: all public doors x all that people hand over as X.

Each is answered by the right result, that of the plain array, or by an error that
names the parameter and what came; and after a refusal nothing is changed.
"""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pyod.models.knn import KNN
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import FeatureUnion, make_pipeline
from wrong_data import Right, Wrong, Yields, catalogue
from wrong_doors import ATTACKS, FUNCTIONS, IMAGES, OVER_ROWS, ROWS, doors, network

from skgrad import ConformalDetector, LayerActivationTransformer

REFUSALS = (ValueError, TypeError, NotFittedError)
pytestmark = pytest.mark.usefixtures("time_limit")


ENTRIES = {X.ndim: catalogue(X) for X in (IMAGES, ROWS)}
# Whose values are checked elsewhere, or make another detector of too few images.
NOT_TRIED = {
    "AnomalySet": {
        "NaN",
        "infinity",
        "-infinity",
        "NaN among objects",
        "None among objects",
        "tensor, NaN",
        "Dataset with NaN",
        "empty",
    },
    "evaluate(anomalies)": {"empty"},
    "evaluate(X_fit)": {
        "None",
        "integers",
        "uint8",
        "booleans",
        "tensor, integers",
        "tensor, booleans",
        "broadcast view",
    },
}
PAIRS = [
    (door, case)
    for door in doors()
    for case in ENTRIES[2 if door in OVER_ROWS else 4]
    if case not in NOT_TRIED.get(door, ())
]


# Frames and plain arrays are asked of the same detector.
@pytest.mark.filterwarnings("ignore:X (has|does not have) .*feature names")
@pytest.mark.parametrize(("name", "case"), PAIRS)
def test_inputs(name, case, counted):
    door = doors()[name]()
    entry = due(name, case, ENTRIES[door.good.ndim][case])
    before = door.good.tobytes()
    if isinstance(entry, Right):
        check_right(door, entry)
        counted("Wrong inputs", case, "right answer")
    else:
        for error in refusals(door, entry.given):
            check_words(error, door.parameter, entry.match)
            counted("Wrong inputs", case, f"refused, {type(error).__name__}")
    assert door.good.tobytes() == before


def due(name, case, entry):
    """Return what is due at this door, where it is not what is due at most."""
    if "Dataset" in case and (name in OVER_ROWS or name in ATTACKS):
        return Wrong(entry.given, "Dataset")
    if name.startswith("fine_tune") and "Iterable" in case:
        return Wrong(entry.given, "stream|start anew")
    if case == "Dataset of numbers" and name in FUNCTIONS:
        match = r"single numbers|got \(\)|got shape \(24,\)|samples of shape \(\)"
        return Wrong(entry.given, match)
    if case.startswith("empty") or case == "Dataset, empty":
        return Wrong(entry.given, r"at least one|n_samples ?= ?0")
    return entry


def check_right(door, entry):
    """Compare what becomes of an input with what becomes of the plain array."""
    first = next(iter(door.ask.values()))
    for call in (door.learn, first) if door.learn else (first,):
        given, plain = np.asarray(call(entry.given)), np.asarray(call(entry.twin))
        assert_allclose(given, plain, rtol=1e-4, atol=1e-5)


def refusals(door, given):
    """Knock at all doors with a wrong input; return the errors, all is as before."""
    before, errors = door.seen(), []
    calls = list(door.ask.values())
    for call in [door.relearn, *calls] if door.relearn else calls:
        with pytest.raises(REFUSALS) as caught:
            call(given)
        errors.append(caught.value)
    assert door.seen() == before
    return errors


def check_words(error, parameter, match):
    """Check that a message names the parameter, and says what came."""
    message = str(error)
    assert re.search(rf"\b{re.escape(parameter)}\b", message), message
    assert re.search(match, message, re.DOTALL), message
    assert len(message) < 700


def pipelines():
    forest = IsolationForest(n_estimators=2)
    features = LayerActivationTransformer(network(), "logits")
    both = FeatureUnion([("features", features), ("raw", "passthrough")])
    takes = {"forest": forest, "PyOD": KNN(), "scaled": make_pipeline(None, forest)}
    return takes | {"both": make_pipeline(both, forest)}


@pytest.mark.parametrize("name", pipelines())
def test_datasets_around_detectors(name, counted):
    # numpy would iterate for ever over a Dataset without IndexError.
    endless = Yields(len(IMAGES), lambda index: IMAGES[0])
    detector = ConformalDetector(pipelines()[name])
    with pytest.raises(TypeError, match=r"X must be .* got the Dataset"):
        detector.fit(endless)
    assert not hasattr(detector, "detector_")
    counted("Wrong inputs", "Dataset around detectors", "refused, TypeError")


def test_datasets_around_pipelines_that_read_them(counted):
    features = LayerActivationTransformer(network(), "logits")
    parts = FeatureUnion([("features", features), ("more", "drop")])
    endless = Yields(len(IMAGES), lambda index: IMAGES[index % len(IMAGES)])
    for first in (features, parts):
        inner = make_pipeline(first, IsolationForest(n_estimators=2))
        detector = ConformalDetector(inner, target_fpr=0.5, random_state=0).fit(endless)
        assert_allclose(detector.score_samples(endless), detector.score_samples(IMAGES))
        counted("Wrong inputs", "Dataset around detectors", "right answer")
