"""Labels and scores: all cases once per validator, some at every entry point."""

import re
from functools import partial

import numpy as np
import pytest
from networks import seeded
from sklearn.exceptions import NotFittedError
from torch import nn

from skgrad import LODA, ConformalDetector, MLPAnomalyClassifier, NoveltyKFold, metrics
from skgrad.attacks import fgsm
from skgrad.baselines import ODIN
from skgrad.detectors import conformal_p_values, conformal_threshold, select_by_fdr
from skgrad.evaluation import evaluate

N = 12
X = np.random.default_rng(0).random((N, 4)).astype(np.float32)
CLASSES = np.arange(N) % 3
SIGNS = np.where(np.arange(N) < 8, 1, -1)
SCORES = np.linspace(0, 1, N)


def model():
    return seeded(lambda: nn.Linear(4, 3))


def evaluate_with(y):
    detectors = {"odin": ODIN(model())}
    anomalies = {"far": X + 5}
    return evaluate(model(), detectors, X, anomalies, y_test=y, protocol="B", n_folds=2)


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
        "strings": np.array(["cat", "dog"] * (N // 2)),
        "objects, some text": mixed,
        "ragged": [[1], [1, 2]] * (N // 2),
        "NaN": np.where(np.arange(N) == 1, np.nan, valid),
        "complex": valid + 1j,
        "dict": {"y": valid},
    }


WRONG_CLASSES = wrong_values(CLASSES) | {
    "negative": CLASSES - 1,
    "beyond the classes": CLASSES + 1,
    "between whole numbers": CLASSES + 0.5,
}
WRONG_SIGNS = wrong_values(SIGNS) | {
    "0 and 1": (SIGNS + 1) // 2,
    "one kind": np.ones(N, dtype=int),
    "three classes": CLASSES,
    "None": None,
}
WRONG_SCORES = wrong_values(SCORES) | {"None": None}
# What every entry point must reject, whatever else may be valid there.
FEW = ("two columns", "strings", "ragged", "NaN", "dict")


def of_metrics(make):
    names = ("auroc", "aupr_in", "aupr_out", "detection_accuracy", "tnr_at_tpr")
    return {name: make(getattr(metrics, name)) for name in names}


# Name of the parameter, and a function of its value. The first of each is tried with
# all values.
TAKE_CLASSES = {
    "fgsm, y": ("y", lambda y: fgsm(model(), X, y, eps=0.1)),
    "fgsm, target": ("target", lambda y: fgsm(model(), X, target=y, eps=0.1)),
    "evaluate": ("y_test", evaluate_with),
}
TAKE_SIGNS = {
    **of_metrics(lambda metric: ("y_true|y_score", lambda y: metric(y, SCORES))),
    "NoveltyKFold": ("y", lambda y: NoveltyKFold(2).split(X, y)),
    "ConformalDetector around a classifier": (
        "y",
        lambda y: ConformalDetector(MLPAnomalyClassifier(max_epochs=1)).fit(X, y),
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


def check_error(call, parameter, value):
    with pytest.raises((ValueError, TypeError)) as caught:
        call(value)
    message = str(caught.value)
    assert re.search(rf"\b({parameter})\b", message), message
    assert len(message) < 700


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


@pytest.mark.parametrize("make", [lambda: LODA(), lambda: ODIN(model())])
def test_detectors_take_one_label_per_sample(make):
    for case in ("too few", "too many"):
        with pytest.raises(ValueError, match=r"y must have one label per sample of X"):
            make().fit(X, WRONG_SIGNS[case])


@pytest.mark.parametrize("make", [lambda: LODA(), lambda: ODIN(model())])
def test_methods_before_fit(make):
    for method in ("predict", "score_samples", "p_values"):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            getattr(make(), method)(X)
