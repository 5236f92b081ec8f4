"""Labels, scores and other arguments: all cases once, some at every entry point."""

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

from skgrad import (
    LODA,
    ConformalDetector,
    LayerActivationTransformer,
    MLPAnomalyClassifier,
    NoveltyKFold,
    datasets,
    metrics,
)
from skgrad.attacks import adaptive_pgd, fgsm
from skgrad.baselines import ODIN, make_baselines
from skgrad.detectors import conformal_p_values, conformal_threshold, select_by_fdr
from skgrad.evaluation import AnomalySet, bootstrap_intervals, evaluate, render_table

SIGNS, SCORES = np.repeat([1, -1], 12), np.linspace(0, 1, 24)
CLASSES = np.arange(24) % 3
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
        [None, SIGNS[1:], SIGNS > 0],
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
    "labels to fit around a model": (partial(ODIN(NET).fit, IMAGES), "y", [SIGNS[1:]]),
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
    "p-values": (select_by_fdr, "p_values", [[2.0], [-1.0]]),
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


# Labels and scores


def evaluate_with(y):
    detectors = {"odin": ODIN(NET)}
    anomalies = {"far": IMAGES + 5}
    return evaluate(
        NET, detectors, IMAGES, anomalies, y_test=y, protocol="B", n_folds=2
    )


def wrong_values(valid):
    """Return values of a wrong shape or type, by name."""
    mixed = valid.astype(object)
    mixed[1] = "cat"
    return {
        "too few": valid[:-1],
        "too many": np.r_[valid, valid[:1]],
        "two columns": np.c_[valid, valid],
        "none": valid[:0],
        "a number": valid[0],
        "strings": np.array(["cat", "dog"] * 12),
        "objects, some text": mixed,
        "ragged": [[1], [1, 2]] * 12,
        "NaN": np.where(np.arange(24) == 1, np.nan, valid),
        "complex": valid + 1j,
        "dict": {"y": valid},
        "without an end": ENDLESS,
    }


WRONG_CLASSES = wrong_values(CLASSES) | {
    "negative": CLASSES - 1,
    "beyond the classes": CLASSES + 1,
    "between whole numbers": CLASSES + 0.5,
    "infinite": np.where(np.arange(24) == 1, np.inf, CLASSES),
}
WRONG_SIGNS = wrong_values(SIGNS) | {
    "0 and 1": (SIGNS + 1) // 2,
    "one kind": np.ones(24, dtype=int),
    "three classes": CLASSES,
    "None": None,
}
WRONG_SCORES = wrong_values(SCORES) | {"None": None}
# What every entry point must reject, whatever else may be valid there.
FEW = ("two columns", "strings", "ragged", "NaN", "dict", "without an end")


def of_metrics(make):
    names = ("auroc", "aupr_in", "aupr_out", "detection_accuracy", "tnr_at_tpr")
    return {name: make(getattr(metrics, name)) for name in names}


# Name of the parameter, and a function of its value. The first of each is tried with
# all values.
TAKE_CLASSES = {
    "fgsm, y": ("y", lambda y: fgsm(NET, IMAGES, y, eps=0.1)),
    "fgsm, target": ("target", lambda y: fgsm(NET, IMAGES, target=y, eps=0.1)),
    "evaluate": ("y_test", evaluate_with),
}
TAKE_SIGNS = {
    **of_metrics(lambda metric: ("y_true|y_score", lambda y: metric(y, SCORES))),
    "NoveltyKFold": ("y", lambda y: NoveltyKFold(2).split(IMAGES, y)),
    "ConformalDetector around a classifier": (
        "y",
        lambda y: ConformalDetector(MLPAnomalyClassifier(max_epochs=1)).fit(IMAGES, y),
    ),
}
TAKE_SCORES = {
    **of_metrics(lambda metric: ("y_score", partial(metric, SIGNS))),
    "conformal_threshold": ("scores", lambda s: conformal_threshold(s, 0.5)),
    "conformal_p_values": ("scores", lambda s: conformal_p_values(s, SCORES)),
    "conformal_p_values, calibration_scores": (
        "calibration_scores",
        lambda s: conformal_p_values(SCORES, s),
    ),
    "select_by_fdr": ("p_values", select_by_fdr),
}
KINDS = {
    "classes": (TAKE_CLASSES, WRONG_CLASSES),
    "signs": (TAKE_SIGNS, WRONG_SIGNS),
    "scores": (TAKE_SCORES, WRONG_SCORES),
}


@pytest.mark.parametrize(
    ("kind", "case"),
    [(kind, case) for kind, (_, cases) in KINDS.items() for case in cases],
)
def test_wrong_labels_and_scores(kind, case):
    entry_points, cases = KINDS[kind]
    parameter, call = next(iter(entry_points.values()))
    check_error(call, parameter, cases[case])


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind, (names, _) in KINDS.items() for name in names],
)
def test_every_entry_point_checks_labels_and_scores(kind, name):
    entry_points, cases = KINDS[kind]
    parameter, call = entry_points[name]
    for case in FEW:
        check_error(call, parameter, cases[case])


def test_methods_before_fit():
    for detector, X in ((LODA(), ROWS), (ODIN(NET), IMAGES)):
        for method in ("predict", "score_samples", "p_values"):
            with pytest.raises(NotFittedError, match="not fitted yet"):
                getattr(detector, method)(X)
