"""Maps of features: coordinates by definition, with and without UMAP."""

import sys
import types
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skgrad.inspection import FeatureMapDisplay, _feature_map

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(30, 4)) @ RNG.normal(size=(4, 4)) * [1, 10, 1e-3, 1e-150]
Y = np.repeat([1, -1], [20, 10])


class UMAP:
    """A stub, as the real one takes 20 seconds to compile."""

    calls: list = []

    def __init__(self, **options):
        UMAP.calls.append(options)
        warnings.warn("n_jobs value 1 overridden", UserWarning, stacklevel=2)

    def fit_transform(self, X):
        return np.asarray(X[:, :2], dtype=np.float32)


@pytest.fixture
def stub(monkeypatch):
    UMAP.calls.clear()
    module = types.ModuleType("umap")
    module.UMAP = UMAP
    monkeypatch.setitem(sys.modules, "umap", module)
    monkeypatch.setattr(_feature_map, "find_spec", lambda name: module)
    return UMAP


def test_pca_by_definition():
    display = FeatureMapDisplay.from_predictions(FEATURES, Y, method="pca")
    Z = (FEATURES - FEATURES.mean(axis=0)) / FEATURES.std(axis=0)
    U, S, _ = np.linalg.svd(Z, full_matrices=False)
    assert_allclose(np.abs(display.coordinates), np.abs(U * S)[:, :2], atol=1e-9)
    share = S**2 / (S**2).sum()
    assert_allclose(display.explained_variance, share[:2])
    assert f"1 ({100 * share[0]:.1f} % of the variance)" in display.ax_.get_xlabel()
    assert display.method == "pca"
    assert display.kinds.tolist() == ["in-distribution"] * 20 + ["anomaly"] * 10
    assert len(display.ax_.collections) == 2
    assert len(display.ax_.collections[0].get_offsets()) == 20


def test_names_of_kinds():
    kinds = np.array(["noise"] * 5 + ["in-distribution"] * 15 + ["attack"] * 10, object)
    display = FeatureMapDisplay.from_predictions(FEATURES, kinds, method="pca")
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    # In-distribution inputs lie below the others.
    assert legend == ["in-distribution", "noise", "attack"]
    colors = {tuple(c.get_facecolor()[0]) for c in display.ax_.collections}
    assert len(colors) == 3


@pytest.mark.parametrize("features", [np.arange(5.0)[:, None], np.ones((5, 3))])
def test_few_dimensions(features):
    y = np.ones(len(features))
    display = FeatureMapDisplay.from_predictions(features, y, method="pca")
    assert display.coordinates.shape == (len(features), 2)
    assert_allclose(display.coordinates[:, 1], 0, atol=1e-12)
    expected = 0 if np.ptp(features) == 0 else 1
    assert_allclose(display.explained_variance, [expected, 0], atol=1e-12)


def test_steps_before_a_detector():
    pipeline = make_pipeline(StandardScaler(), IsolationForest(n_estimators=2))
    pipeline.fit(FEATURES)
    display = FeatureMapDisplay.from_estimator(pipeline, FEATURES, Y, method="pca")
    for transformer in (pipeline[0], pipeline[:1]):
        alone = FeatureMapDisplay.from_estimator(transformer, FEATURES, Y, method="pca")
        assert_allclose(display.coordinates, alone.coordinates)


@pytest.mark.parametrize("method", ["auto", "umap"])
def test_umap_is_used_if_installed(stub, method):
    display = FeatureMapDisplay.from_predictions(
        FEATURES, Y, method=method, random_state=3
    )
    assert display.method == "umap"
    assert display.explained_variance is None
    # It sees standardised features, and its warnings are not passed on.
    assert_allclose(display.coordinates.std(axis=0), 1, rtol=1e-6)
    assert display.coordinates.dtype == np.float64
    state = stub.calls[0]["random_state"]
    assert state.randint(1000) == np.random.RandomState(3).randint(1000)
    assert display.ax_.get_xlabel() == "UMAP 1"
    FeatureMapDisplay.from_predictions(FEATURES, Y, method=method)
    assert stub.calls[1]["random_state"] is None


def test_umap_needs_ten_inputs(stub):
    display = FeatureMapDisplay.from_predictions(FEATURES[:9], Y[:9])
    assert display.method == "pca"
    with pytest.raises(
        ValueError, match="method='umap' needs 10 inputs or more; got 9"
    ):
        FeatureMapDisplay.from_predictions(FEATURES[:9], Y[:9], method="umap")


def test_pca_is_used_if_umap_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.setattr(_feature_map, "find_spec", lambda name: None)
    assert FeatureMapDisplay.from_predictions(FEATURES, Y).method == "pca"
    match = r"method='umap' needs umap, .*\.\[umap\]"
    with pytest.raises(ImportError, match=match):
        FeatureMapDisplay.from_predictions(FEATURES, Y, method="umap")


@pytest.mark.parametrize(
    ("features", "y", "match"),
    [
        (FEATURES, Y[:3], r"y must hold one value for each of the 30 .*\(3,\)"),
        (FEATURES, np.zeros(30), r"y must hold \+1 \(in-distribution\) or -1"),
        (np.full((3, 2), np.inf), Y[:3], "features must hold numbers, finite"),
    ],
)
def test_wrong_features_are_rejected(features, y, match):
    with pytest.raises(ValueError, match=match):
        FeatureMapDisplay.from_predictions(features, y, method="pca")


def test_wrong_estimators_are_rejected():
    for detector in (IsolationForest(), make_pipeline(IsolationForest())):
        detector.fit(FEATURES)
        with pytest.raises(TypeError, match="pipeline that begins with one; got"):
            FeatureMapDisplay.from_estimator(detector, FEATURES, Y)
    with pytest.raises(ValueError, match="'method' parameter"):
        FeatureMapDisplay.from_predictions(FEATURES, Y, method="tsne")
