"""PyOD's detectors: their sign is turned in the adapter, and nowhere else."""

import numpy as np
import pytest
from novelty_detectors import draw
from numpy.testing import assert_allclose, assert_array_equal
from pyod.models.cof import COF
from pyod.models.copod import COPOD
from pyod.models.ecod import ECOD
from pyod.models.gmm import GMM
from pyod.models.hbos import HBOS
from pyod.models.iforest import IForest
from pyod.models.knn import KNN
from pyod.models.lof import LOF
from pyod.models.pca import PCA
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgrad import (
    ClassConditionalDetector,
    CombinedDetector,
    ConformalDetector,
    PyODDetector,
)
from skgrad.metrics import in_distribution_scores


def test_sign_and_scores():
    X, new = draw(200), draw(50, seed=1)
    detector = PyODDetector(KNN(), random_state=0).fit(X)
    expected = -detector.detector_.decision_function(new)
    assert_array_equal(detector.score_samples(new), expected)


def test_seeds():
    X = draw(200)
    first, second = (
        PyODDetector(IForest(n_estimators=5), random_state=1).fit(X) for _ in range(2)
    )
    assert_array_equal(first.score_samples(X), second.score_samples(X))
    assert first.detector.random_state is None
    fixed = PyODDetector(IForest(random_state=7)).fit(X)
    assert fixed.detector_.random_state == 7


def test_parameters_of_the_detector():
    detector = PyODDetector(KNN(), target_fpr=0.2)
    detector.set_params(detector__n_neighbors=3).fit(draw(50))
    assert detector.detector_.n_neighbors == 3


def test_other_detectors_raise():
    with pytest.raises(TypeError, match=r"detector of PyOD.*use ConformalDetector"):
        PyODDetector(IsolationForest()).fit(draw(50))


@pytest.mark.parametrize("inner", [COPOD(), ECOD()])
def test_scores_that_depend_on_the_other_inputs(inner):
    # Also with many training data, among which a few inputs hardly change a rank.
    for X in (draw(20), draw(5_000)):
        with pytest.raises(
            ValueError, match=f"score that {type(inner).__name__} gives .* depends on"
        ):
            PyODDetector(inner, random_state=0).fit(X)
    for outer in (
        ConformalDetector(inner),
        ClassConditionalDetector(inner, blocks=[-1, 3]),
        CombinedDetector([("a", PyODDetector(inner))], blocks=[-1, 3]),
    ):
        with pytest.raises(ValueError, match="depends on the others of the call"):
            outer.fit(draw(100))
    with pytest.raises(ValueError, match="score one input alone; COF cannot: Index"):
        PyODDetector(COF()).fit(draw(100))


@pytest.mark.parametrize(
    "inner", [GMM(), HBOS(), IForest(n_estimators=10), KNN(), LOF(), PCA()]
)
def test_equal_anomalies_do_not_hide_one_another(inner):
    detector = PyODDetector(inner, random_state=0).fit(draw(200))
    far = np.full((300, 5), 50.0)
    assert (detector.predict(far) == -1).all()
    alone = detector.score_samples(far[:1]).item()
    assert_allclose(detector.score_samples(far), alone)


INSIDE = {
    "pipeline": lambda: make_pipeline(StandardScaler(), KNN()),
    "frozen": lambda: FrozenEstimator(KNN().fit(draw(50))),
    "search": lambda: GridSearchCV(KNN(), {"n_neighbors": [3]}),
    "nested": lambda: FrozenEstimator(make_pipeline(KNN()).fit(draw(50))),
}


@pytest.mark.parametrize("wrap", INSIDE.values(), ids=INSIDE)
def test_without_the_adapter_it_raises(wrap):
    for make in (
        ConformalDetector,
        lambda d: ClassConditionalDetector(d, blocks=[-1, 3]),
        lambda d: CombinedDetector([("a", d)]),
    ):
        with pytest.raises(TypeError, match=r"PyOD does the opposite.*PyODD"):
            make(wrap()).fit(draw(100))
    with pytest.raises(TypeError, match="PyOD does the opposite"):
        in_distribution_scores(KNN().fit(draw(50)), draw(50))
