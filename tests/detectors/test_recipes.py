"""The four pipelines, and scikit-learn's tools around them."""

from functools import partial

import numpy as np
import pytest
from networks import LeNet, images, seeded
from sklearn.base import clone, is_classifier, is_outlier_detector
from sklearn.pipeline import Pipeline
from torch import nn

from skgrad import (
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from skgrad.detectors import DetectorPipeline

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
        "num_workers": 1,
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


@pytest.mark.parametrize(
    ("effort", "families", "parts"),
    [
        ("low", ["activations"], ["confidence", "energy", "density"]),
        (
            "medium",
            ["stability", "activations"],
            ["confidence", "density", "stability", "drop"],
        ),
        (
            "high",
            ["gradients", "stability", "activations"],
            ["confidence", "density", "stability", "drop"],
        ),
    ],
)
def test_efforts(effort, families, parts, model):
    detector = make_recommended_detector(model, effort=effort, random_state=0)
    detector.fit(X_ID)
    assert list(detector["features"].families_) == families
    assert list(detector["detect"].detectors_) == parts
    # What the density looks at: layers, and gradients where they are wanted.
    blocks = detector["detect"].detectors_["density"].block_names_
    assert any(name.startswith("gradients") for name in blocks) == (effort == "high")
    assert not any("log_odds" in name or "logits" in name for name in blocks)


def test_unknown_efforts_are_rejected(model):
    with pytest.raises(ValueError, match=r"effort must be one of .*; got 'most'"):
        make_recommended_detector(model, effort="most")


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


@pytest.mark.parametrize("name", NOVELTY)
def test_recipes_have_the_p_values_of_their_last_step(name, model):
    detector = NOVELTY[name](model, target_fpr=0.1, random_state=0)
    assert isinstance(clone(detector), DetectorPipeline)
    last, features = detector.fit(X_ID)[-1], detector[:-1].transform(X_OOD)
    assert isinstance(detector[:-1], DetectorPipeline)
    assert not hasattr(detector[:-1], "p_values")
    p_values = detector.p_values(X_OOD)
    np.testing.assert_array_equal(p_values, last.p_values(features))
    chosen = detector.select_anomalies(X_OOD, fdr=0.3)
    np.testing.assert_array_equal(chosen, last.select_anomalies(features, fdr=0.3))
    # A nested pipeline, and one that is a step alone.
    nested = DetectorPipeline([("only", detector)])
    np.testing.assert_array_equal(nested.p_values(X_OOD), p_values)
    assert not hasattr(Pipeline(detector.steps), "p_values")


def test_supervised_recipe(model):
    detector = make_confounding_gradient_detector(model, random_state=0)
    X, y = np.concatenate([X_ID, X_OOD]), np.repeat([0, 1], [120, 40])
    assert is_classifier(detector)
    # Its classifier has no p-values.
    assert not hasattr(detector, "p_values")
    assert detector.fit(X, y).score(X, y) > 0.95


def test_logits_may_be_named_and_layers_may_be_none():
    rows = images(100, (4,))
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    for make in (
        lambda: make_recommended_detector(net, layers=["0", "logits"]),
        lambda: make_recommended_detector(net, "penultimate"),
        lambda: make_recommended_detector(nn.Linear(4, 3)),
        lambda: make_uniform_detector(net, "logits"),
        lambda: make_uniform_detector(net, ["0", "2"]),
        lambda: make_uniform_detector(net, "penultimate"),
    ):
        detector = make().set_params(detect__target_fpr=0.1)
        assert detector.fit(rows).predict(rows).shape == (100,)
