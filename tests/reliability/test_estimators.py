"""What people do with scikit-learn's estimators, done with every one of skgrad."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from networks import AnyWidth
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from skorch import NeuralNetClassifier
from test_common import ESTIMATORS

from skgrad import LODA, LayerActivationTransformer
from skgrad.metrics import auroc_scorer
from skgrad.model_selection import NoveltyKFold

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


# Copies and caches


@every(AROUND_MODELS)
def test_clones_and_copies_hash_alike(estimator):
    estimator = seeded(estimator)
    expected = joblib.hash(estimator)
    assert joblib.hash(clone(estimator)) == expected
    assert joblib.hash(pickle.loads(pickle.dumps(estimator))) == expected
    assert clone(make_pipeline(estimator))[0].model is estimator.model
    other = clone(estimator).set_params(model=type(estimator.model)())
    assert joblib.hash(other) == expected
    with torch.no_grad():
        other.model.weight[0, 0] += 1
    assert joblib.hash(other) != expected


@every(TRANSFORMERS)
def test_caches_of_pipelines_hit(estimator, tmp_path, monkeypatch):
    fits = []
    fit = type(estimator).fit_transform
    monkeypatch.setattr(
        type(estimator), "fit_transform", lambda *args: fits.append(1) or fit(*args)
    )
    options = {"target_fpr": 0.5, "random_state": 0}
    for n_cuts in (3, 4):
        twin = pickle.loads(pickle.dumps(seeded(estimator)))
        detector = LODA(n_cuts=n_cuts, **options)
        make_pipeline(twin, detector, memory=str(tmp_path)).fit(X)
    assert len(fits) == 1


def test_mapped_pickles_have_writable_weights_and_leave_the_file(tmp_path):
    model, path = AnyWidth(), tmp_path / "fitted.joblib"
    joblib.dump(LayerActivationTransformer(model, "logits").fit(X), path)
    content = path.read_bytes()
    for mode in (None, "r"):
        twin = joblib.load(path, mmap_mode=mode)
        assert torch.equal(twin.model.weight, model.weight)
        with torch.no_grad():
            twin.model.weight.zero_()
        assert path.read_bytes() == content


# Searches


@every(AROUND_MODELS)
def test_candidates_of_a_search_share_the_model(estimator):
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


@pytest.mark.slow
def test_search_in_two_processes_over_every_baseline():
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


# Columns


def test_union_of_every_transformer():
    union = FeatureUnion([(str(i), seeded(e)) for i, e in enumerate(TRANSFORMERS)])
    features = union.fit_transform(X)
    parts = [seeded(e).fit_transform(X) for e in TRANSFORMERS]
    assert_array_equal(features, np.hstack([np.asarray(part) for part in parts]))
    assert len(union.get_feature_names_out()) == features.shape[1]


@every(TRANSFORMERS)
def test_named_columns(estimator):
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


# Metadata


# Models, devices and numbers


@every(AROUND_MODELS)
def test_answers_do_not_depend_on_batches(estimator):
    fitted = seeded(estimator).fit(X, Y)
    expected = answer_of(fitted, X)
    other = seeded(estimator).set_params(batch_size=7).fit(X, Y)
    assert_allclose(answer_of(other, X), expected, rtol=1e-9, atol=1e-12)
    some = [3, 1, 4, 1, 5]
    assert_allclose(answer_of(fitted, X[some]), expected[some], rtol=1e-9, atol=1e-12)


@every(AROUND_MODELS)
def test_single_precision(estimator):
    # The network computes in float64 either way.
    wide, narrow = (seeded(estimator).fit(X.astype(t), Y) for t in ("f8", "f4"))
    one, other = answer_of(wide, X[:5].astype("f4")), answer_of(narrow, X[:5])
    assert one.dtype == other.dtype
    assert one.shape == other.shape


@every(AROUND_MODELS)
def test_device_that_is_not_there(estimator):
    for device in ("meta", "cuda:63", "abacus"):
        match = rf"device must be None .* got '{device}'"
        with pytest.raises(ValueError, match=match):
            clone(estimator).set_params(device=device).fit(X, Y)


@every(AROUND_MODELS)
def test_skorch_net_as_model(estimator):
    net = NeuralNetClassifier(type(estimator.model)).initialize()
    net.module_.load_state_dict(estimator.model.state_dict())
    expected = answer_of(seeded(estimator).fit(X, Y), X[:5])
    by_net = seeded(estimator).set_params(model=net).fit(X, Y)
    assert_array_equal(answer_of(by_net, X[:5]), expected)
    assert clone(by_net).model is net
