"""`evaluate` for a network of several inputs, against one of a single tensor."""

import numpy as np
import pytest
import torch
from networks import MaskedText, OfOneTensor, seeded
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal
from sklearn.pipeline import make_pipeline

from skgrad import LayerActivationTransformer, MaxSoftmaxProbability
from skgrad.baselines import Mahalanobis
from skgrad.evaluation import AnomalySet, evaluate
from skgrad.feature_extraction import predict_logits

DRAW = np.random.default_rng(0)
NET = seeded(MaskedText, dtype=torch.float64)
OPTIONS = {"target_fpr": 0.25, "random_state": 0}


def tokens(n, first=0):
    ids = DRAW.integers(first, first + 500, size=(n, 6))
    mask = (np.arange(6) < DRAW.integers(1, 7, size=n)[:, None]).astype(np.int64)
    return {"input_ids": ids, "attention_mask": mask}


X_FIT, X_TEST, FAR, NEAR = tokens(60), tokens(120), tokens(30, 500), tokens(20)
SOURCES = np.arange(20)
# A quarter of them are classified wrongly.
Y_TEST = (predict_logits(NET, X_TEST).argmax(axis=1) + (np.arange(120) % 4 == 0)) % 3
MEASURED = ["fit_seconds", "score_seconds", "peak_memory_mb"]


def one(X):
    """Return ids and mask as one array of floats."""
    return np.concatenate([X["input_ids"], X["attention_mask"]], axis=1).astype(float)


def results(net, as_X, **options):
    layers = LayerActivationTransformer(net, "logits")
    detectors = {
        "softmax": make_pipeline(layers, MaxSoftmaxProbability(**OPTIONS)),
        "Mahalanobis": Mahalanobis(net, **OPTIONS),
    }
    near = AnomalySet(as_X(NEAR), sources=SOURCES)
    anomalies = {"far": as_X(FAR), "near": near}
    if "X_fit" in options:
        options["X_fit"] = as_X(options["X_fit"])
    found = evaluate(net, detectors, as_X(X_TEST), anomalies, **options)
    return found.figures.drop(columns=MEASURED)


@pytest.mark.parametrize(
    "options",
    [
        {"X_fit": X_FIT},
        {"n_folds": 2},
        {"protocol": "A"},
        {"protocol": "B", "y_test": Y_TEST, "n_folds": 2},
    ],
)
def test_results_are_those_of_one_tensor(options):
    found = results(NET, lambda X: X, **options)
    assert_frame_equal(found, results(OfOneTensor(NET), one, **options))


def test_entries_may_come_in_another_order_and_padded():
    first = results(NET, lambda X: X, X_fit=X_FIT)
    turned = results(NET, lambda X: dict(reversed(X.items())), X_fit=X_FIT)
    assert_frame_equal(first, turned)

    def longer(X):
        return {key: np.pad(values, ((0, 0), (0, 2))) for key, values in X.items()}

    layers = LayerActivationTransformer(NET, "logits")
    detector = {"softmax": make_pipeline(layers, MaxSoftmaxProbability(**OPTIONS))}
    frames = [
        evaluate(NET, detector, X_TEST, {"far": far}, X_fit=X_FIT).figures["auroc"]
        for far in (FAR, longer(FAR))
    ]
    assert_allclose(*frames)


def test_what_would_mislead_raises():
    detectors = {"Mahalanobis": Mahalanobis(NET, **OPTIONS)}
    missing = X_TEST | {"attention_mask": X_TEST["attention_mask"] * np.nan}
    for X_test, anomalies, message in (
        (X_TEST, {"same": X_TEST}, r"anomalies\['same'\] must be none.*120 are equal"),
        (X_FIT, {"far": FAR}, "100% of it are equal"),
        (missing, {"far": FAR}, r"X_test\['attention_mask'\] must be finite"),
        (X_TEST, {"far": one(FAR)}, "must have the shape of X_fit"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(NET, detectors, X_test, anomalies, X_fit=X_FIT)
