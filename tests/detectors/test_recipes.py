"""The four pipelines, and scikit-learn's tools around them."""

import numpy as np
import pandas as pd
import pytest
from networks import LeNet, images, seeded
from scipy.special import softmax
from sklearn.base import is_classifier, is_outlier_detector
from sklearn.model_selection import GridSearchCV, PredefinedSplit, cross_validate
from torch import nn

from skgrad import (
    LayerActivationTransformer,
    MaxSoftmaxProbability,
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
    "C": lambda model, **options: make_uniform_detector(model, "conv1", **options),
    "combination": make_recommended_detector,
}


@pytest.fixture(scope="module")
def model():
    return seeded(LeNet)


@pytest.mark.parametrize("make", NOVELTY.values(), ids=NOVELTY)
def test_novelty_recipes(make, model):
    detector = make(model, target_fpr=0.1, random_state=0).fit(X_ID)
    assert is_outlier_detector(detector)
    assert detector[-1].target_fpr == 0.1
    assert set(detector.predict(X_OOD)) <= {-1, 1}
    assert detector.score_samples(X_OOD).shape == (40,)


@pytest.mark.parametrize("make", [NOVELTY["C"], NOVELTY["combination"]])
def test_brighter_images_are_seen(make, model):
    detector = make(model, random_state=0).fit(X_ID)
    assert (detector.predict(X_OOD) == -1).mean() > 0.95


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


def test_set_output_pandas_works_throughout(model):
    for make in NOVELTY.values():
        detector = make(model, target_fpr=0.1, random_state=0)
        expected = detector.fit(X_ID).score_samples(X_OOD)
        detector.set_output(transform="pandas")
        scores = detector.fit(X_ID).score_samples(X_OOD)
        np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_recommended_layers(model):
    blocks = {}
    for layers in (None, "fc1", ["conv1", "fc1"]):
        detector = make_recommended_detector(model, layers=layers, random_state=0)
        names = detector.set_params(detect__target_fpr=0.1).fit(X_ID)[0]
        blocks[str(layers)] = names.get_feature_names_out().tolist()
    assert "activations__conv1_0" in blocks["None"]
    assert "activations__fc1_000" in blocks["fc1"]
    assert len(blocks["['conv1', 'fc1']"]) == 10 + 6 + 120 + 10


def test_logits_may_be_named_and_layers_may_be_none():
    rows = images(100, (4,))
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    for make in (
        lambda: make_recommended_detector(net, layers=["0", "logits"]),
        lambda: make_recommended_detector(nn.Linear(4, 3)),
        lambda: make_uniform_detector(net, "logits"),
        lambda: make_uniform_detector(net, ["0", "2"]),
    ):
        detector = make().set_params(detect__target_fpr=0.1)
        assert detector.fit(rows).predict(rows).shape == (100,)


def test_recurrent_networks_are_recommended_another_layer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(3, 4, batch_first=True)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.gru(x)[0][:, -1])

    series = images(100, (5, 3))
    detector = make_recommended_detector(Net(), target_fpr=0.1, random_state=0)
    assert detector.fit(series).predict(series).shape == (100,)


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


def test_grid_search_with_one_scorer(model):
    X, y = np.concatenate([X_ID, X_OOD]), np.repeat([0, 1], [120, 40])
    fold = PredefinedSplit(np.arange(160) % 2)
    search = GridSearchCV(
        make_confounding_gradient_detector(model, random_state=0),
        {"classify__n_hidden": [5, 50]},
        scoring=auroc_scorer,
        cv=fold,
    ).fit(X, y)
    assert search.best_score_ > 0.9


def test_baseline_is_the_largest_probability(model):
    logits = LayerActivationTransformer(model, ["conv1", "logits"]).fit_transform(X_ID)
    detector = MaxSoftmaxProbability(target_fpr=0.1, random_state=0).fit(logits)
    probability = softmax(logits[:, -10:], axis=1).max(axis=1)
    expected = np.log(probability / (1 - probability))
    np.testing.assert_allclose(detector.score_samples(logits), expected, rtol=1e-4)


def test_baseline_without_names_takes_all_columns_and_never_ties():
    logits = np.random.default_rng(0).normal(scale=9, size=(50, 3))
    frame = pd.DataFrame(logits, columns=["cat", "dog", "bird"])
    for data in (logits, frame):
        detector = MaxSoftmaxProbability(target_fpr=0.5, random_state=0).fit(data)
        assert detector.logits_ == slice(0, 3)
    sure = np.array([[40.0, 0, 0], [60, 0, 0], [900, 0, 0]])
    assert np.all(np.diff(detector._score_samples(sure)) > 0)
