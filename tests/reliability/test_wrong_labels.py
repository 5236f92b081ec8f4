"""The catalogue of wrong labels and scores, at all public doors that take some."""

import re
from functools import partial

import numpy as np
import pytest
from networks import seeded
from sklearn.exceptions import NotFittedError
from torch import nn

from skgrad import LODA, ConformalDetector, MLPAnomalyClassifier, NoveltyKFold, metrics
from skgrad.attacks import fgsm
from skgrad.baselines import ODIN, fine_tune_with_outliers
from skgrad.detectors import conformal_p_values, conformal_threshold, select_by_fdr
from skgrad.evaluation import evaluate, loss_alignment, train_network

N = 12
X = np.random.default_rng(0).random((N, 4)).astype(np.float32)
CLASSES = np.arange(N) % 3
KINDS = np.where(np.arange(N) < 8, 1, -1)
SCORES = np.linspace(0, 1, N)


def model():
    return seeded(lambda: nn.Linear(4, 3))


def judge(y):
    detectors = {"odin": ODIN(model())}
    anomalies = {"far": X + 5}
    return evaluate(model(), detectors, X, anomalies, y_test=y, protocol="B", n_folds=2)


def shaped(good, replace):
    """Return labels of wrong shapes, of no type, and not there."""
    strange = good.astype(object)
    strange[1] = "cat"
    return {
        "too few": good[:-1],
        "too many": np.r_[good, good[:1]],
        "two columns": np.c_[good, good],
        "none": good[:0],
        "a number": replace,
        "strings": np.array(["cat", "dog"] * (N // 2)),
        "objects, some text": strange,
        "ragged": [[1], [1, 2]] * (N // 2),
        "NaN": np.where(np.arange(N) == 1, np.nan, good),
        "complex": good + 1j,
        "dict": {"y": good},
    }


def of_classes():
    """Return what is no class of a model with three."""
    return shaped(CLASSES, 1) | {
        "negative": CLASSES - 1,
        "beyond the classes": CLASSES + 1,
        "between whole numbers": CLASSES + 0.5,
    }


def of_kinds():
    """Return what does not tell in-distribution inputs from anomalies."""
    return shaped(KINDS, 1) | {
        "0 and 1": (KINDS + 1) // 2,
        "one kind": np.ones(N, dtype=int),
        "three classes": CLASSES,
        "not given": None,
    }


def of_scores():
    """Return what is no score."""
    return {
        case: value
        for case, value in shaped(SCORES, 0.5).items()
        if case not in ("too few", "too many")
    } | {"not given": None}


METRICS = ("auroc", "aupr_in", "aupr_out", "detection_accuracy", "tnr_at_tpr")
TAKES_CLASSES = {
    "fgsm(y)": ("y", lambda y: fgsm(model(), X, y, eps=0.1)),
    "fgsm(target)": ("target", lambda y: fgsm(model(), X, target=y, eps=0.1)),
    "loss_alignment": ("y", lambda y: loss_alignment(model(), X, y, sigma=0.1)),
    "train_network": ("y", lambda y: train_network(model(), X, y, max_epochs=1)),
    "fine_tune_with_outliers": (
        "y",
        lambda y: fine_tune_with_outliers(model(), X, y, X / 2, max_epochs=1),
    ),
    "evaluate": ("y_test", judge),
}
TAKES_KINDS = {
    name: ("y_true", lambda y, name=name: getattr(metrics, name)(y, SCORES))
    for name in METRICS
}
TAKES_KINDS["NoveltyKFold"] = ("y", lambda y: NoveltyKFold(2).split(X, y))
TAKES_KINDS["ConformalDetector around a classifier"] = (
    "y",
    lambda y: ConformalDetector(MLPAnomalyClassifier(max_epochs=1)).fit(X, y),
)
TAKES_SCORES = {
    name: ("y_score", partial(getattr(metrics, name), KINDS)) for name in METRICS
}
TAKES_SCORES |= {
    "conformal_threshold": ("scores", lambda s: conformal_threshold(s, 0.5)),
    "conformal_p_values": ("scores", lambda s: conformal_p_values(s, SCORES)),
    "calibration_scores": (
        "calibration_scores",
        lambda s: conformal_p_values(SCORES, s),
    ),
    "select_by_fdr": ("p_values", select_by_fdr),
}
# What is legal after all, or told in the words of X, and why.
LEGAL = {
    ("fgsm(target)", "a number"): "one class for all samples",
    ("train_network", "beyond the classes"): "told by the network",
    ("ConformalDetector around a classifier", "0 and 1"): "scikit-learn's labels",
    ("conformal_p_values", "none"): "no p-values",
    ("select_by_fdr", "none"): "selects none",
}
CASES = [
    (door, parameter, call, case, value)
    for doors, values in (
        (TAKES_CLASSES, of_classes()),
        (TAKES_KINDS, of_kinds()),
        (TAKES_SCORES, of_scores()),
    )
    for door, (parameter, call) in doors.items()
    for case, value in values.items()
    if (door, case) not in LEGAL
]


@pytest.mark.parametrize(
    ("door", "parameter", "call", "case", "value"),
    CASES,
    ids=[f"{entry[0]}-{entry[3]}" for entry in CASES],
)
def test_labels(door, parameter, call, case, value, counted):
    with pytest.raises((ValueError, TypeError)) as caught:
        call(value)
    message = str(caught.value)
    assert re.search(rf"\b{parameter}\b", message), message
    assert len(message) < 700
    kind = "scores" if door in TAKES_SCORES else "labels"
    counted(f"Wrong {kind}", case, f"refused, {type(caught.value).__name__}")


@pytest.mark.parametrize("case", ["too few", "too many"])
@pytest.mark.parametrize("make", [lambda: LODA(), lambda: ODIN(model())])
def test_detectors_want_one_label_per_sample(make, case, counted):
    with pytest.raises(ValueError, match=r"y must have one label per sample of X"):
        make().fit(X, of_kinds()[case])
    counted("Wrong labels", case, "refused, ValueError")


@pytest.mark.parametrize("method", ["predict", "score_samples", "p_values"])
@pytest.mark.parametrize("make", [lambda: LODA(), lambda: ODIN(model())])
def test_not_fitted(make, method, counted):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(make(), method)(X)
    counted("Wrong order of calls", f"{method} before fit", "refused, NotFittedError")
