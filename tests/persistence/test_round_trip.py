"""Every estimator returns the same after saving, pickling and copying."""

import copy
import pickle
import warnings
import zipfile

import numpy as np
import pytest
import skops.io
import torch
from networks import AnyWidth
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_common import ESTIMATORS

import skgrad
from skgrad import (
    LODA,
    LayerActivationTransformer,
    MLPAnomalyClassifier,
    make_geometric_gradient_detector,
    make_recommended_detector,
)
from skgrad.baselines import GradNorm

NET = AnyWidth()
RECIPES = {
    "make_recommended_detector": make_recommended_detector(
        NET, target_fpr=0.5, random_state=np.random.RandomState(0)
    ),
    "make_geometric_gradient_detector": make_geometric_gradient_detector(
        NET, target_fpr=0.5
    ),
}
CASES = [(type(estimator).__name__, estimator) for estimator in ESTIMATORS]
CASES += RECIPES.items()
# These hold what neither skgrad nor skops trusts by default, such as trees.
WRAPPERS = {"PyODDetector", "ConformalDetector"}


def rows():
    return np.random.default_rng(0).normal(size=(40, 4))


def fitted(estimator):
    X = rows()
    labels = (X[:, 0] > 0).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that 40 samples are few
        return clone(estimator).fit(X, labels)


def results(estimator):
    names = ("score_samples", "predict", "transform", "predict_proba")
    # A pipeline has each method that its last step has.
    X = rows()
    return [getattr(estimator, name)(X) for name in names if hasattr(estimator, name)]


def network_of(estimator):
    """Return the network of an estimator or recipe, None if it has none."""
    return NET if hasattr(estimator, "steps") else getattr(estimator, "model", None)


@pytest.mark.parametrize(("name", "estimator"), CASES, ids=[name for name, _ in CASES])
def test_results_are_equal(name, estimator, tmp_path):
    estimator = fitted(estimator)
    expected = results(estimator)
    path = tmp_path / "detector.skgrad"
    skgrad.save(estimator, path)
    trusted = skops.io.get_untrusted_types(file=path) if name in WRAPPERS else ()
    loaded = skgrad.load(path, model=network_of(estimator), trusted=trusted)
    copies = {
        "saved and loaded": loaded,
        "pickled": pickle.loads(pickle.dumps(estimator)),
        "deep-copied": copy.deepcopy(estimator),
        "loaded, then pickled": pickle.loads(pickle.dumps(loaded)),
    }
    for way, other in copies.items():
        for mine, theirs in zip(expected, results(other), strict=True):
            np.testing.assert_array_equal(mine, theirs, err_msg=way)
    assert vars(loaded).keys() == vars(copies["pickled"]).keys()
    assert loaded.get_params().keys() == estimator.get_params().keys()
    fitted(loaded)


def test_a_network_is_shared_and_not_in_the_file(tmp_path):
    path = tmp_path / "d"
    skgrad.save(fitted(RECIPES["make_recommended_detector"]), path)
    given = copy.deepcopy(NET)
    loaded = skgrad.load(path, model=given)
    assert loaded["features"].model is given
    assert path.stat().st_size < 100_000
    with zipfile.ZipFile(path) as archive:
        content = b"".join(map(archive.read, archive.namelist()))
    weights = [parameter.detach().numpy().tobytes() for parameter in NET.parameters()]
    assert not any(value in content for value in weights)


def test_unfitted_detectors_are_saved(tmp_path):
    for estimator in (LODA(n_cuts=7), GradNorm(NET, target_fpr=0.1)):
        skgrad.save(estimator, tmp_path / "d")
        loaded = skgrad.load(tmp_path / "d", model=getattr(estimator, "model", None))
        assert repr(loaded) == repr(estimator)
        assert not hasattr(loaded, "offset_")


def test_column_names_and_output_settings_are_kept(tmp_path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(rows(), columns=list("abcd"))
    pipeline = make_pipeline(StandardScaler(), LODA(target_fpr=0.5)).fit(frame)
    pipeline.set_output(transform="pandas")
    skgrad.save(pipeline, str(tmp_path / "d"))
    loaded = skgrad.load(str(tmp_path / "d"))
    assert loaded.feature_names_in_.tolist() == list("abcd")
    assert loaded[-1].offset_ == pipeline[-1].offset_
    assert isinstance(loaded[0].transform(frame), pd.DataFrame)


def test_a_random_state_continues_where_it_was(tmp_path):
    state = np.random.RandomState(3)
    state.random(5)
    skgrad.save(LODA(random_state=state), tmp_path / "d")
    loaded = skgrad.load(tmp_path / "d").random_state
    assert loaded.random() == state.random()


def test_memory_and_device_are_left_out(tmp_path):
    transformer = LayerActivationTransformer(
        NET, "bend", memory=str(tmp_path / "memory"), device="cpu"
    )
    transformer.fit(rows()).set_params(device=torch.device("cuda:99"))
    skgrad.save(transformer, tmp_path / "d")
    loaded = skgrad.load(tmp_path / "d", model=NET)
    assert (loaded.memory, loaded.device) == (None, None)
    assert transformer.memory is not None
    assert len(loaded.transform(rows())) == 40


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_from_gpu_to_cpu_and_back(tmp_path):
    detector = fitted(GradNorm(copy.deepcopy(NET).cuda(), target_fpr=0.5))
    skgrad.save(detector, tmp_path / "d")
    on_cpu = skgrad.load(tmp_path / "d", model=NET)
    X = rows()
    np.testing.assert_allclose(on_cpu.score_samples(X), detector.score_samples(X))
    skgrad.save(on_cpu, tmp_path / "d")
    again = skgrad.load(tmp_path / "d", model=detector.model)
    np.testing.assert_array_equal(again.score_samples(X), detector.score_samples(X))


def test_the_net_of_the_mlp_is_in_the_file(tmp_path):
    classifier = fitted(MLPAnomalyClassifier(n_hidden=3, max_epochs=2))
    classifier.set_params(n_hidden=5)
    skgrad.save(classifier, tmp_path / "d")
    before = torch.get_rng_state()
    loaded = skgrad.load(tmp_path / "d")
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(
        loaded.predict_proba(rows()), classifier.predict_proba(rows())
    )
    assert loaded.n_hidden == 5


def test_a_search_is_saved_with_splitter_and_scorer(tmp_path):
    search = GridSearchCV(
        make_pipeline(SimpleImputer(), LODA(target_fpr=0.5)),
        {"loda__n_bins": [3, 5]},
        cv=KFold(2),
        scoring=skgrad.metrics.auroc_scorer,
    )
    X = rows()
    search.fit(X, np.where(X[:, 0] > -1, 1, -1))
    skgrad.save(search, tmp_path / "d")
    trusted = skops.io.get_untrusted_types(file=tmp_path / "d")
    loaded = skgrad.load(tmp_path / "d", trusted=trusted)
    assert loaded.best_params_ == search.best_params_
    np.testing.assert_array_equal(loaded.score_samples(X), search.score_samples(X))
