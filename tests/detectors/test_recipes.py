"""The four pipelines, and scikit-learn's tools around them."""

from functools import partial

import numpy as np
import pytest
from networks import LeNet, images, seeded
from sklearn.base import is_classifier, is_outlier_detector
from sklearn.model_selection import GridSearchCV, cross_validate
from torch import nn

from skgrad import (
    LayerActivationTransformer,
    PerClassSVDD,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from skgrad.metrics import auroc_scorer, tnr_at_tpr_scorer

SHAPE = (1, 28, 28)
X_ID = images(120, SHAPE) ** 4
X_OOD = images(40, SHAPE, seed=1)

NOVELTY = {
    "B": make_geometric_gradient_detector,
    "C": partial(make_uniform_detector, layers="conv1"),
    "combination": make_recommended_detector,
}


@pytest.fixture(scope="module")
def model():
    return seeded(LeNet)


@pytest.mark.parametrize("name", NOVELTY)
def test_novelty_recipes(name, model):
    make = NOVELTY[name]
    detector = make(model, target_fpr=0.1, random_state=0).fit(X_ID)
    assert is_outlier_detector(detector)
    assert detector[-1].target_fpr == 0.1
    assert detector[-1].random_state == 0
    if name != "B":  # whose features ignore the brightness
        assert (detector.predict(X_OOD) == -1).mean() > 0.95
    expected = detector.score_samples(X_OOD)
    detector.set_output(transform="pandas").fit(X_ID)
    np.testing.assert_allclose(detector.score_samples(X_OOD), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "make", [make_confounding_gradient_detector, *NOVELTY.values()]
)
def test_shared_parameters_reach_the_transformers(make, model, tmp_path):
    shared = {
        "input_shape": SHAPE,
        "batch_size": 7,
        "device": "cpu",
        "memory": str(tmp_path),
        "verbose": True,
    }
    params = make(model, **shared).get_params()
    transformers = [name for name in params if name.endswith("batch_size")]
    # The MLP has its own batch size.
    transformers = [name for name in transformers if not name.startswith("classify")]
    assert transformers
    for name in transformers:
        owner = name.removesuffix("batch_size")
        assert {key: params[owner + key] for key in shared} == shared


def test_geometric_settings(model):
    default = make_geometric_gradient_detector(model)
    paper = make_geometric_gradient_detector(model, setting="paper")
    published = make_geometric_gradient_detector(model, setting="authors_code")
    assert repr(paper) == repr(default)
    asked = {"channel_reduction": "max", "logit_scale": 10.0, "sign": True}
    assert published[0].get_params().items() >= asked.items()
    # Scaled logits weigh the other classes otherwise, so that the maps differ.
    assert not np.allclose(
        paper[0].fit_transform(X_ID), published[0].fit_transform(X_ID)
    )
    with pytest.raises(ValueError, match=r"setting must be one of .*; got 'theirs'"):
        make_geometric_gradient_detector(model, setting="theirs")


def test_supervised_recipe(model):
    detector = make_confounding_gradient_detector(model, random_state=0)
    X, y = np.concatenate([X_ID, X_OOD]), np.repeat([0, 1], [120, 40])
    assert is_classifier(detector)
    assert detector.fit(X, y).score(X, y) > 0.95


def test_the_promised_example(model):
    # The lines at the head of the README and of the design.
    from sklearn.pipeline import make_pipeline

    detector = make_pipeline(
        LayerActivationTransformer(model, layers=["conv2", "logits"]),
        PerClassSVDD(nu=0.1, target_fpr=0.1),
    )
    detector.fit(X_ID)
    assert detector.predict(X_OOD).shape == (40,)
    assert detector.score_samples(X_OOD).mean() < detector.score_samples(X_ID).mean()


def test_recommended_layers(model):
    blocks = {}
    for layers in (None, "fc1", ["conv1", "fc1"], "penultimate"):
        detector = make_recommended_detector(model, layers=layers, random_state=0)
        names = detector.set_params(detect__target_fpr=0.1).fit(X_ID)[0]
        blocks[str(layers)] = names.get_feature_names_out().tolist()
    assert "activations__conv1_0" in blocks["None"]
    assert "activations__fc1_000" in blocks["fc1"]
    assert "activations__penultimate_00" in blocks["penultimate"]
    assert len(blocks["['conv1', 'fc1']"]) == 10 + 6 + 120 + 10


def test_logits_may_be_named_and_layers_may_be_none():
    rows = images(100, (4,))
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    for make in (
        lambda: make_recommended_detector(net, layers=["0", "logits"]),
        lambda: make_recommended_detector(nn.Linear(4, 3)),
        lambda: make_uniform_detector(net, "logits"),
        lambda: make_uniform_detector(net, ["0", "2"]),
        lambda: make_uniform_detector(net, "penultimate"),
    ):
        detector = make().set_params(detect__target_fpr=0.1)
        assert detector.fit(rows).predict(rows).shape == (100,)


@pytest.mark.slow
def test_cross_validate_and_grid_search_in_two_processes(model):
    X = np.concatenate([X_ID, X_OOD])
    y = np.repeat([1, -1], [120, 40])
    # Train on in-distribution rows alone, test on the rest of them and all anomalies.
    split = [
        (np.arange(90), np.arange(90, 160)),
        (np.arange(30, 120), np.r_[:30, 120:160]),
    ]
    detector = make_uniform_detector(model, "conv1", target_fpr=0.1, random_state=0)
    scoring = {"auroc": auroc_scorer, "tnr": tnr_at_tpr_scorer}
    scores = cross_validate(detector, X, y, cv=split, scoring=scoring, n_jobs=2)
    assert (scores["test_auroc"] > 0.95).all()
    assert (scores["test_tnr"] > 0.9).all()
    search = GridSearchCV(
        detector,
        {"detect__nu": [0.05, 0.5], "activations__pooling": ["mean", "max"]},
        scoring=scoring,
        refit="auroc",
        cv=split,
        n_jobs=2,
    ).fit(X, y)
    assert search.best_score_ > 0.95
    assert search.best_estimator_[0].model is model
