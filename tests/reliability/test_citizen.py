"""What people do with scikit-learn's estimators, done with every one of skgrad."""

import pickle
import re
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from networks import AnyShape, AnyWidth
from numpy.testing import assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.utils import estimator_html_repr
from sklearn.utils.validation import has_fit_parameter
from test_common import ESTIMATORS
from torch import nn

from skgrad import ConformalDetector, Energy, LayerActivationTransformer, MaxLogit
from skgrad.feature_extraction import _portable
from skgrad.metrics import auroc_scorer
from skgrad.model_selection import NoveltyKFold

KIND = "What people do with estimators"
AROUND_MODELS = [e for e in ESTIMATORS if hasattr(e, "model")]
TRANSFORMERS = [e for e in ESTIMATORS if hasattr(e, "transform")]
DETECTORS = [e for e in ESTIMATORS if hasattr(e, "score_samples")]

rng = np.random.default_rng(0)
X = np.concatenate([rng.normal(size=(40, 4)), 5 * rng.normal(size=(20, 4))])
Y = np.repeat([1, -1], [40, 20])


def every(estimators):
    return pytest.mark.parametrize(
        "estimator", estimators, ids=lambda e: type(e).__name__
    )


def answer_of(estimator, X):
    if hasattr(estimator, "transform"):
        return np.asarray(estimator.transform(X))
    if hasattr(estimator, "score_samples"):
        return estimator.score_samples(X)
    return estimator.predict_proba(X)


def seeded(estimator):
    estimator = clone(estimator)
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    return estimator


@every(ESTIMATORS)
def test_parameters_go_round(estimator, counted):
    params = estimator.get_params(deep=True)
    shallow = estimator.get_params(deep=False)
    twin = clone(estimator).set_params(**params)
    for name, value in twin.get_params(deep=False).items():
        same = value is shallow[name] or repr(value) == repr(shallow[name])
        assert same, name
    counted(KIND, "get_params, set_params, clone", "the same estimator")


@every(AROUND_MODELS)
def test_clones_and_copies_hash_alike(estimator, counted):
    estimator = seeded(estimator)
    expected = joblib.hash(estimator)
    assert joblib.hash(clone(estimator)) == expected
    assert joblib.hash(pickle.loads(pickle.dumps(estimator))) == expected
    assert clone(make_pipeline(estimator))[0].model is estimator.model
    counted(KIND, "joblib.hash of clones and copies", "the same hash")


@every(DETECTORS)
def test_cross_validate(estimator, counted):
    scores = cross_validate(
        seeded(estimator),
        X,
        Y,
        cv=NoveltyKFold(3),
        scoring=auroc_scorer,
        error_score="raise",
    )
    assert np.isfinite(scores["test_score"]).all()
    counted(KIND, "cross_validate", "scores")


@every(AROUND_MODELS)
def test_candidates_of_a_search_share_the_model(estimator, counted):
    estimator = seeded(estimator)
    seen = []

    def scorer(fitted, X, y):
        seen.append(fitted.model)
        return 0.0

    search = GridSearchCV(
        estimator, {"batch_size": [7, 128]}, cv=NoveltyKFold(2), scoring=scorer
    ).fit(X, Y)
    assert len(seen) == 4
    assert {id(model) for model in seen} == {id(estimator.model)}
    assert search.best_estimator_.model is estimator.model
    counted(KIND, "GridSearchCV, n_jobs=1", "candidates share the network")


def test_search_in_two_processes_over_every_baseline(counted):
    detectors = [seeded(e) for e in DETECTORS if hasattr(e, "model")]
    pipeline = make_pipeline(detectors[0])
    name = pipeline.steps[0][0]
    results = {
        n_jobs: GridSearchCV(
            pipeline,
            {name: detectors},
            cv=NoveltyKFold(2),
            scoring=auroc_scorer,
            n_jobs=n_jobs,
            error_score="raise",
        )
        .fit(X, Y)
        .cv_results_["mean_test_score"]
        for n_jobs in (1, 2)
    }
    assert_array_equal(results[1], results[2])
    counted(KIND, "GridSearchCV, n_jobs=2", "the scores of n_jobs=1")


def test_union_of_every_transformer(counted):
    union = FeatureUnion([(str(i), seeded(e)) for i, e in enumerate(TRANSFORMERS)])
    features = union.fit_transform(X)
    parts = [seeded(e).fit_transform(X) for e in TRANSFORMERS]
    assert_array_equal(features, np.hstack([np.asarray(part) for part in parts]))
    assert len(union.get_feature_names_out()) == features.shape[1]
    counted(KIND, "FeatureUnion", "the columns of its parts")


@every(TRANSFORMERS)
def test_named_columns(estimator, counted):
    frame = pd.DataFrame(X, columns=list("abcd"))
    columns = ColumnTransformer(
        [("net", seeded(estimator), ["d", "b"])], remainder="passthrough"
    ).set_output(transform="pandas")
    out = columns.fit_transform(frame)
    alone = seeded(estimator).fit_transform(frame[["d", "b"]])
    assert_array_equal(out.to_numpy()[:, :-2], np.asarray(alone))
    assert out.columns.tolist()[-2:] == ["remainder__a", "remainder__c"]
    inner = columns.named_transformers_["net"].get_feature_names_out()
    assert out.columns.tolist()[:-2] == [f"net__{name}" for name in inner]
    counted(KIND, "ColumnTransformer on named columns, set_output", "named columns")


@every(TRANSFORMERS)
def test_polars(estimator, counted):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    out = seeded(estimator).set_output(transform="polars").fit_transform(X)
    assert isinstance(out, polars.DataFrame)
    counted(KIND, "set_output of polars", "a named frame")


@every(ESTIMATORS)
@pytest.mark.parametrize("routing", [False, True], ids=["off", "on"])
def test_metadata_routing(estimator, routing, counted):
    with config_context(enable_metadata_routing=routing):
        # None takes weights, so none may ask for them.
        assert not has_fit_parameter(estimator, "sample_weight")
        if routing:
            assert estimator.get_metadata_routing() is not None
        pipeline = make_pipeline(seeded(estimator)).fit(X, Y)
        error = TypeError if routing else (TypeError, ValueError)
        with pytest.raises(error, match="sample_weight"):
            pipeline.fit(X, Y, sample_weight=np.ones(len(X)))
    counted(KIND, f"metadata routing {'on' if routing else 'off'}", "weights refused")


def test_groups_are_routed_past_a_pipeline(counted):
    pipeline = make_pipeline(
        LayerActivationTransformer(AnyWidth(), "logits"),
        MaxLogit(target_fpr=0.5, calibration_fraction=0.5, random_state=0),
    )
    groups = np.arange(len(X)) // 2
    options = {"cv": NoveltyKFold(3), "scoring": auroc_scorer}
    plain = cross_validate(pipeline, X, Y, groups=groups, **options)
    with config_context(enable_metadata_routing=True):
        routed = cross_validate(pipeline, X, Y, params={"groups": groups}, **options)
        search = GridSearchCV(pipeline, {"maxlogit__target_fpr": [0.5]}, **options)
        search.fit(X, Y, groups=groups)
    assert_array_equal(plain["test_score"], routed["test_score"])
    scores = [search.cv_results_[f"split{i}_test_score"][0] for i in range(3)]
    assert_array_equal(plain["test_score"], scores)
    counted(KIND, "groups routed to NoveltyKFold", "the folds of groups=")


@every(AROUND_MODELS)
def test_single_precision(estimator, counted):
    # The network computes in float64 either way.
    wide, narrow = (seeded(estimator).fit(X.astype(t), Y) for t in ("f8", "f4"))
    one, other = answer_of(wide, X[:5].astype("f4")), answer_of(narrow, X[:5])
    assert one.dtype == other.dtype
    assert one.shape == other.shape
    counted(KIND, "float32 and float64 inputs", "answers of one type")


@every(AROUND_MODELS)
def test_pickle_of_a_machine_with_another_device(estimator, counted, monkeypatch):
    from skgrad.feature_extraction import _portable

    fitted = seeded(estimator).fit(X, Y)
    expected = answer_of(fitted, X[:5])
    monkeypatch.setattr(
        _portable._Slot,
        "__getstate__",
        lambda self: {**vars(self), "device": "cuda:63"},
        raising=False,
    )
    content = pickle.dumps(fitted)
    monkeypatch.undo()
    assert b"cuda:63" in content
    twin = pickle.loads(content)
    assert {p.device.type for p in twin.model.parameters()} == {"cpu"}
    assert_array_equal(answer_of(twin, X[:5]), expected)
    counted(KIND, "a pickle from a GPU that is not there", "the same on the CPU")


@every(AROUND_MODELS)
@pytest.mark.parametrize("device", ["meta", "cuda:63", "abacus"])
def test_device_that_is_not_there(estimator, device, counted):
    with pytest.raises(ValueError, match=rf"device must be None .* got '{device}'"):
        clone(estimator).set_params(device=device).fit(X, Y)
    counted(KIND, f"device={device!r}", "refused, ValueError")


@every(AROUND_MODELS)
def test_skorch_net_as_model(estimator, counted):
    from skorch import NeuralNetClassifier

    net = NeuralNetClassifier(type(estimator.model)).initialize()
    net.module_.load_state_dict(estimator.model.state_dict())
    expected = answer_of(seeded(estimator).fit(X, Y), X[:5])
    by_net = seeded(estimator).set_params(model=net).fit(X, Y)
    assert_array_equal(answer_of(by_net, X[:5]), expected)
    assert clone(by_net).model is net
    assert re.search(r"model=NeuralNetClassifier\(AnyWidth\w*\(\d+ para", repr(by_net))
    counted(KIND, "a fitted skorch net as model", "the answers of its module")


def shown_in(estimator):
    return repr(estimator), estimator_html_repr(estimator)


@every(AROUND_MODELS)
def test_models_are_shown_by_class_and_size(estimator, counted):
    n = sum(p.numel() for p in estimator.model.parameters())
    brief = f"{type(estimator.model).__name__}({n} parameters)"
    pipeline = make_pipeline(estimator, "passthrough")
    for thing in (estimator, pipeline, GridSearchCV(pipeline, {})):
        for text in shown_in(thing):
            assert brief in text
            assert "in_features" not in text
    with config_context(print_changed_only=False):
        assert brief in repr(pipeline)
    counted(KIND, "repr and HTML", "the network by class and size")


def test_how_models_are_shown():
    def text(model):
        return repr(LayerActivationTransformer(model))

    assert text(nn.Identity()).endswith("model=Identity(0 parameters))")
    assert "LazyLinear(parameters without shape)" in text(nn.LazyLinear(2))
    assert "Linear(10,200 parameters)" in text(nn.Linear(101, 100))
    assert text("no model").endswith("model='no model')")
    outer = ConformalDetector(
        make_pipeline(LayerActivationTransformer(AnyShape()), Energy())
    )
    assert "model=AnyShape(271 parameters)" in repr(outer)
    long = type("ANetworkWithALongName", (nn.Linear,), {})(1000, 1000)
    html = estimator_html_repr(LayerActivationTransformer(long))
    assert "ANetworkWithALongName(1,001,000 parameters)" in html


def test_parameters_are_not_shown_but_given_elsewhere():
    model = AnyWidth()
    estimator = LayerActivationTransformer(model)
    assert repr(estimator)
    assert estimator.get_params()["model"] is model
    assert estimator.get_params(deep=False)["model"] is model


def bytes_below(folder):
    return sum(p.stat().st_size for p in folder.rglob("*.pkl"))


class Judge:
    """A scorer that writes down what joblib has on disk."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, fitted, X, y):
        weight = fitted.model.weight
        with torch.no_grad():
            weight.mul_(1)  # must be writable, and nobody else may see it
        return float(len(list(self.folder.rglob("*.pkl"))))


@pytest.fixture
def searched(tmp_path):
    """Return a function that searches in two processes, all arrays through files."""

    def search(model):
        estimator = LayerActivationTransformer(model, "logits")
        with joblib.parallel_config(temp_folder=str(tmp_path), max_nbytes=1500):
            return GridSearchCV(
                estimator,
                {"batch_size": [1, 2, 3, 4, 5, 6]},
                cv=NoveltyKFold(2),
                scoring=Judge(tmp_path),
                n_jobs=2,
                refit=False,
            ).fit(X[:, :2], Y)

    return search


def test_a_search_writes_the_weights_once(searched, counted):
    # One array is larger than max_nbytes; twelve tasks would have written it anew.
    scores = searched(AnyWidth()).cv_results_
    files = np.concatenate([scores["split0_test_score"], scores["split1_test_score"]])
    assert files.max() == 1
    counted(KIND, "weights in a search, n_jobs=2", "one file for all tasks")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux")
def test_weights_in_a_file_are_mapped_and_stay_as_they_are(tmp_path, counted):
    path = tmp_path / "transformer"
    joblib.dump(LayerActivationTransformer(AnyWidth(), "logits").fit(X), path)
    before = path.read_bytes()
    loaded = joblib.load(path, mmap_mode="r")
    assert str(path) in Path("/proc/self/maps").read_text()
    with torch.no_grad():
        loaded.model.weight.fill_(7)
    assert path.read_bytes() == before
    counted(KIND, "weights of joblib.load(mmap_mode='r')", "mapped, the file as it was")


def test_read_only_arrays_in_a_pickle_become_weights_of_ones_own(counted):
    content = np.zeros(8, np.uint8)
    content.flags.writeable = False
    own = _portable._writable(content)
    own[0] = 1
    assert content[0] == 0
    counted(KIND, "a read-only array in a pickle", "copied")


def transform_with(transformer, X):
    """Return features, and whether the weights are mapped and can be written to."""
    features = np.asarray(transformer.transform(X))
    with torch.no_grad():
        transformer.model.weight.fill_(7)
    return features


def test_weights_changed_between_calls_are_seen(tmp_path, counted):
    model = AnyWidth()
    transformer = LayerActivationTransformer(model, "logits").fit(X)
    before = model.weight.detach().clone()
    with (
        joblib.parallel_config(temp_folder=str(tmp_path), max_nbytes=100),
        joblib.Parallel(n_jobs=2) as parallel,
    ):
        for change in (None, "in place", "unseen by autograd"):
            with torch.no_grad():
                if change == "in place":
                    model.weight.mul_(2)
                elif change:
                    model.weight.data.mul_(2)
            expected = np.asarray(transformer.transform(X))
            call = joblib.delayed(transform_with)
            for features in parallel(call(transformer, X) for _ in range(3)):
                assert_array_equal(features, expected)
    # What the workers wrote stayed theirs.
    assert torch.equal(model.weight, 4 * before)
    counted(KIND, "weights changed between searches", "the new ones are used")


def test_mapped_pickle_gives_writable_weights_and_leaves_the_file(tmp_path):
    model = AnyWidth()
    path = tmp_path / "fitted.joblib"
    joblib.dump(LayerActivationTransformer(model, "logits").fit(X), path)
    content = path.read_bytes()
    for mode in (None, "r"):
        twin = joblib.load(path, mmap_mode=mode)
        assert torch.equal(twin.model.weight, model.weight)
        with torch.no_grad():
            twin.model.weight.zero_()
        assert path.read_bytes() == content
