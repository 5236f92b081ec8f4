"""ConformalDetector around outlier detectors, classifiers and whole pipelines."""

import numpy as np
import pandas as pd
import pytest
import torch
from networks import LeNet, images, seeded
from novelty_detectors import draw
from numpy.testing import assert_allclose, assert_array_equal
from pyod.models.knn import KNN
from scipy.sparse import csr_array
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import OneClassSVM
from torch.utils.data import DataLoader, TensorDataset

from skgrad import (
    LODA,
    CombinedDetector,
    ConformalDetector,
    make_uniform_detector,
)
from skgrad.feature_extraction import FeatureArray

FAR = np.array([40.0, -40.0, 0.0, 0.0, 0.0])


def test_inner_detector_sees_no_held_out_sample():
    X = draw(100)
    detector = ConformalDetector(
        LocalOutlierFactor(novelty=True), random_state=0, target_fpr=0.1
    ).fit(X)
    rows = {tuple(row) for row in detector.detector_._fit_X}
    held_out = [row for row in X if tuple(row) not in rows]
    assert len(held_out) == 20
    scores = detector.detector_.score_samples(held_out)
    assert_allclose(np.sort(scores), np.sort(detector.calibration_scores_))


def test_frozen_detectors_are_not_fitted():
    forest = IsolationForest(n_estimators=10, random_state=0).fit(draw(300))
    X = draw(200, seed=1)
    detector = ConformalDetector(FrozenEstimator(forest)).fit(X)
    assert_allclose(detector.calibration_scores_, forest.score_samples(X))
    frozen = FrozenEstimator(LODA(random_state=0, target_fpr=0.1).fit(draw(200)))
    combined = CombinedDetector([("f", frozen)], random_state=0).fit(X)
    assert combined.detectors_["f"].estimator is frozen.estimator
    assert np.isfinite(combined.score_samples(X)).all()


@pytest.mark.parametrize("memory", [False, True])
def test_last_step_of_a_pipeline_is_fitted_as_alone(memory, tmp_path):
    X, new = draw(200), draw(20, seed=1)
    nested = make_pipeline(FunctionTransformer(), LODA())
    steps = FunctionTransformer(), nested
    pipeline = make_pipeline(*steps, memory=str(tmp_path) if memory else None)
    for _ in range(2):  # the second time from the cache
        detector = ConformalDetector(pipeline, random_state=0).fit(X)
        alone = ConformalDetector(LODA(), random_state=0).fit(X)
        assert_array_equal(detector.score_samples(new), alone.score_samples(new))
        assert isinstance(detector.detector_[-1][-1], LODA)
    combined = CombinedDetector([("cuts", pipeline)], random_state=0).fit(X)
    alone = CombinedDetector([("cuts", LODA())], random_state=0).fit(X)
    assert_array_equal(combined.score_samples(new), alone.score_samples(new))


def test_supervised_classifier():
    X = np.vstack([draw(600), draw(100, seed=1) + 0.25 * FAR])
    new = draw(2000, seed=2)
    for y in (np.repeat([0, 1], [600, 100]), np.repeat([1, -1], [600, 100])):
        detector = ConformalDetector(
            LogisticRegression(),
            target_fpr=0.1,
            calibration_fraction=0.5,
            random_state=0,
        ).fit(X, y)
        assert len(detector.calibration_scores_) == 300
        assert (detector.predict(X[600:]) == -1).mean() > 0.95
        assert 0.04 < np.mean(detector.predict(new) == -1) < 0.17
    with pytest.raises(ValueError, match="requires y to be passed"):
        ConformalDetector(LogisticRegression()).fit(X)
    with pytest.raises(ValueError, match=r"y must hold 0 for in-distribution.*both"):
        ConformalDetector(LogisticRegression()).fit(X, np.arange(700) % 3)


def test_raw_inputs_of_any_kind():
    net = seeded(LeNet)
    X, new = images(120, (1, 28, 28)) ** 4, images(9, (1, 28, 28), seed=1)
    pipeline = make_uniform_detector(net, "conv1")
    expected = None
    for convert in (
        np.asarray,
        torch.from_numpy,
        lambda X: TensorDataset(torch.from_numpy(X)),
        lambda X: DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=7),
    ):
        detector = ConformalDetector(pipeline, target_fpr=0.1, random_state=0)
        scores = detector.fit(convert(X)).score_samples(convert(new))
        assert (detector.p_values(convert(new)) <= 0.1).all()
        expected = scores if expected is None else expected
        assert_allclose(scores, expected, rtol=1e-5)


@pytest.mark.parametrize("convert", [pd.DataFrame, csr_array])
def test_data_frames_and_sparse_matrices(convert):
    names = [f"f{i}" for i in range(5)]
    X = pd.DataFrame(draw(300), columns=names)
    detector = ConformalDetector(IsolationForest(n_estimators=5), random_state=0)
    X = X if convert is pd.DataFrame else csr_array(X)
    assert detector.fit(X).n_features_in_ == 5
    assert detector.predict(X).shape == (300,)
    with pytest.raises(ValueError, match=r"feature names|expecting 5 features"):
        detector.predict(X[:, :4] if convert is csr_array else X[names[::-1]])


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        (3, "detector must be an outlier detector.*got 3"),
        (KNN, "must be an outlier detector of"),
        (StandardScaler(), "must be an outlier detector of"),
        (LocalOutlierFactor(), "novelty=True"),
    ],
)
def test_unsuitable_detectors(detector, message):
    with pytest.raises(TypeError, match=message):
        ConformalDetector(detector).fit(draw(50))


def test_columns_in_another_order():
    names = ["b_0", "a_0"]
    X = draw(200)[:, :2]
    detector = ConformalDetector(IsolationForest(n_estimators=5), random_state=0)
    detector.fit(FeatureArray(X, names))
    with pytest.raises(ValueError, match="columns seen by fit"):
        detector.predict(FeatureArray(X[:, ::-1], names[::-1]))


def test_datasets_for_detectors_of_arrays():
    dataset = TensorDataset(torch.from_numpy(draw(50)))
    for detector in (OneClassSVM(), make_pipeline(StandardScaler(), OneClassSVM())):
        with pytest.raises(TypeError, match="X must be an array for a detector that"):
            ConformalDetector(detector).fit(dataset)


FORMS = {
    "array": lambda X: X,
    "list": lambda X: X.tolist(),
    "tensor": torch.as_tensor,
    "data frame": pd.DataFrame,
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_that_are_not_finite_are_rejected_alone(form):
    X, new = draw(200), draw(20, seed=1)
    detector = ConformalDetector(OneClassSVM(), random_state=0).fit(FORMS[form](X))
    expected = detector.score_samples(FORMS[form](new))
    new[3, 1], new[7, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match="contains NaN"):
        detector.predict(FORMS[form](new))
    detector.set_params(not_finite="reject")
    scores = detector.score_samples(FORMS[form](new))
    assert scores[[3, 7]].tolist() == [-np.inf, -np.inf]
    others = np.delete(np.arange(20), [3, 7])
    assert_array_equal(scores[others], expected[others])
    assert detector.predict(FORMS[form](new))[[3, 7]].tolist() == [-1, -1]
    assert_allclose(detector.p_values(FORMS[form](new))[3], 1 / 41)
    assert (detector.predict(FORMS[form](np.full((2, 5), np.nan))) == -1).all()


def test_inputs_of_a_network_that_are_not_finite_are_rejected_alone():
    X, pipeline = images(120, (1, 28, 28)), make_uniform_detector(seeded(LeNet), None)
    detector = ConformalDetector(
        pipeline, target_fpr=0.1, random_state=0, not_finite="reject"
    ).fit(X)
    new = X[:5].copy()
    new[2, 0, 3, 3] = np.nan
    scores = detector.score_samples(new)
    assert_array_equal(np.isneginf(scores), np.arange(5) == 2)
    assert_allclose(scores[3:], detector.score_samples(X[3:5]), rtol=1e-5)
    with pytest.raises(TypeError, match=r"not_finite='reject'.*Stack its samples"):
        detector.predict(TensorDataset(torch.from_numpy(new)))
    with pytest.raises(ValueError, match="finite"):
        detector.fit(new)
