"""Other wrong arguments: layers, detectors, groups, shapes, rates and the like."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from entry_points import IMAGES, MODEL_ESTIMATORS, ROWS, network
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from torch import nn
from wrong_inputs import Yields

from skgrad import LODA, LayerActivationTransformer, NoveltyKFold, datasets, metrics
from skgrad.attacks import adaptive_pgd, fgsm
from skgrad.baselines import ODIN, make_baselines
from skgrad.detectors import conformal_p_values, select_by_fdr
from skgrad.evaluation import AnomalySet, bootstrap_intervals, render_table

SIGNS, SCORES = np.repeat([1, -1], 12), np.linspace(0, 1, 24)
NET = network().eval()
# numpy would iterate over it for ever.
ENDLESS = Yields(24, lambda index: index % 3)
pytestmark = pytest.mark.usefixtures("time_limit")


def check_error(call, parameter, value):
    """Check that a call raises an error that names its parameter."""
    with pytest.raises((ValueError, TypeError, OSError, NotFittedError)) as caught:
        call(value)
    message = str(caught.value)
    assert re.search(rf"(?<!\w)({parameter})(?!\w)", message), message
    assert len(message) < 1200


# Layers

WRONG_LAYERS = {
    "unknown": "zzz",
    "near miss": "con",
    "empty list": [],
    "twice": ["conv", "conv"],
    "number": 3,
    "number among names": ["conv", 3],
    "class": nn.Conv2d,
    "module": NET.conv,
    "dict": {"conv": 1},
    "set": {"conv"},
    "Dataset without an end": Yields(3, lambda index: "conv"),
}


@pytest.mark.parametrize("case", WRONG_LAYERS)
def test_layers(case):
    def fit(layers):
        LayerActivationTransformer(NET, layers).fit(IMAGES)

    check_error(fit, "layers", WRONG_LAYERS[case])


def test_names_of_layers_are_suggested():
    with pytest.raises(ValueError, match="'conv'"):
        LayerActivationTransformer(NET, "con").fit(IMAGES)


@pytest.mark.parametrize(
    "name",
    [
        *("MostDiscriminativeLayer", "Mahalanobis", "LID", "ELO", "GradNorm"),
        *("KernelDensityUncertainty", "make_recommended_detector"),
        "make_uniform_detector",
    ],
)
def test_every_entry_point_checks_its_layers(name):
    def fit(layers):
        MODEL_ESTIMATORS[name](NET, layers=layers).fit(IMAGES)

    for case in ("unknown", "number", "module", "Dataset without an end"):
        check_error(fit, "layers?", WRONG_LAYERS[case])


# Other arguments


def score(estimator=None, y=SIGNS, metric=metrics.auroc):
    estimator = LODA(target_fpr=0.5).fit(ROWS) if estimator is None else estimator
    return metrics.DetectionScorer(metric)(estimator, ROWS, y)


def attack(detector):
    return adaptive_pgd(NET, IMAGES, detector=detector, eps=0.1, n_steps=1)


def attack_another_model(_):
    other = network()
    with torch.no_grad():
        other.head.weight.mul_(2)
    features = LayerActivationTransformer(other)
    attack(make_pipeline(features, LODA(target_fpr=0.5)).fit(IMAGES))


OF_ANOTHER_KIND = [None, 3, "resnet", LODA]
# By what is wrong: a call, the name of its parameter, and wrong values.
CALLS = {
    "groups": (
        lambda groups: list(NoveltyKFold(3).split(ROWS, SIGNS, groups)),
        "groups",
        [3, ENDLESS],
    ),
    "estimators to score": (score, "estimator|LODA", [3, "LODA", LODA, NET, LODA()]),
    "metrics": (lambda metric: score(metric=metric), "metric", ["auroc", 3]),
    "labels to score": (
        lambda y: score(y=y),
        "y|y_true|y_score",
        [None, SIGNS[1:], SIGNS > 0, ENDLESS],
    ),
    "predicted classes": (
        lambda classes: metrics.class_weighted(metrics.auroc, SIGNS, SCORES, classes),
        "predicted",
        [None, 3, SIGNS[1:], ENDLESS],
    ),
    "labels to fit": (
        lambda y: LODA().fit(ROWS, y),
        "y",
        [ENDLESS, SIGNS[1:], -np.ones(24), np.ma.masked_less(SIGNS, 0)],
    ),
    "detectors to attack": (
        attack,
        "detector",
        [*OF_ANOTHER_KIND, LODA(), ODIN(NET), make_pipeline(LODA())],
    ),
    "detectors of another model": (attack_another_model, "model", [None]),
    "models of baselines": (make_baselines, "model", OF_ANOTHER_KIND),
    "target classes": (
        lambda y: fgsm(NET, IMAGES, target=y, eps=0.1),
        "target",
        [3, -1, np.full(24, 3), "randon", 1.5, ENDLESS],
    ),
    "sources": (
        lambda sources: AnomalySet(IMAGES, sources=sources),
        "sources",
        [SIGNS[1:], SCORES, 3, ENDLESS],
    ),
    "discovery rates": (
        lambda fdr: LODA(target_fpr=0.5).fit(ROWS).select_anomalies(ROWS, fdr=fdr),
        "fdr",
        [0, 1, "a", None, np.nan, [0.1]],
    ),
    "p-values": (select_by_fdr, "p_values", [[2.0], [-1.0], ENDLESS]),
    "scores to calibrate": (
        lambda scores: conformal_p_values(SCORES, scores),
        "calibration_scores",
        [[], ENDLESS],
    ),
    "shapes of noise": (
        partial(datasets.make_uniform_noise, 3),
        "shape",
        [(), (0,), "abc", None, (1.5, 2), [[1], [1, 2]], (1, -8, 8), ENDLESS],
    ),
    "shapes of patches": (
        partial(datasets.make_photo_patches, 3),
        "shape",
        [(), "abc", (1, -8, 8), ENDLESS],
    ),
    "scores to resample": (
        lambda scores: bootstrap_intervals(scores_id=scores, scores_anomaly=SCORES),
        "scores_id",
        [None, "a", 3.0, np.c_[SCORES, SCORES], [np.nan], SCORES + 1j, ENDLESS],
    ),
    "results": (render_table, "results", [None, 3, [], ["a"]]),
}


@pytest.mark.parametrize("case", CALLS)
def test_arguments(case):
    call, parameter, values = CALLS[case]
    for value in values:
        check_error(call, parameter, value)
