"""All novelty detectors, and data that they can all be fitted on."""

from functools import partial

import numpy as np
from pyod.models.knn import KNN
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from skgrad import (
    LODA,
    ClassConditionalDetector,
    ClassConditionalGaussian,
    CombinedDetector,
    ConfidenceDrop,
    ConformalDetector,
    Energy,
    MaxSoftmaxProbability,
    PerClassSVDD,
    PyODDetector,
    StableConfidence,
)
from skgrad.detectors import CORE, FDBD, GEN, NCI, RMDS, DeepKNN, ViM

LAST_3 = {"blocks": [-1, 3]}
# The logits drawn here are no linear function of the features.
ANY_LAST_3 = {"tolerance": 1.0, **LAST_3}


def _wrapped(**options):
    forest = IsolationForest(n_estimators=10)
    return ConformalDetector(make_pipeline(StandardScaler(), forest), **options)


def _class_conditional(**options):
    detector = make_pipeline(StandardScaler(), OneClassSVM(nu=0.1))
    return ClassConditionalDetector(detector, **LAST_3, **options)


def _combined(**options):
    parts = [
        ("confidence", MaxSoftmaxProbability()),
        ("energy", Energy()),
        ("density", ClassConditionalGaussian(include_logits=False)),
    ]
    return CombinedDetector(parts, two_sided=["energy"], **LAST_3, **options)


# The detectors of skgrad itself.
OWN = {
    "LODA": LODA,
    "SVDD": partial(PerClassSVDD, **LAST_3),
    "Gaussian": partial(ClassConditionalGaussian, **LAST_3),
    "tied": partial(ClassConditionalGaussian, covariance="tied", **LAST_3),
    "softmax": MaxSoftmaxProbability,
    "GEN": GEN,
    "RMDS": partial(RMDS, **LAST_3),
    "KNN": partial(DeepKNN, n_neighbors=5, layer="logits", **LAST_3),
    "fDBD": partial(FDBD, **ANY_LAST_3),
    "ViM": partial(ViM, **ANY_LAST_3),
    "NCI": partial(NCI, **ANY_LAST_3),
    "CORE": partial(CORE, **ANY_LAST_3),
    "combined": _combined,
}
MAKERS = {
    **OWN,
    # Of data without names they take all columns.
    "stable": StableConfidence,
    "drop": ConfidenceDrop,
    "per class": _class_conditional,
    "PyOD": partial(PyODDetector, KNN()),
    "wrapped": _wrapped,
    "wrapped PyOD": partial(ConformalDetector, KNN()),
}
# Those that can be asked for a threshold per predicted class, and how.
PER_CLASS = {
    name: partial(MAKERS[name], threshold="per_class")
    for name in ("SVDD", "Gaussian", "tied", "softmax", "per class", "combined", "RMDS")
}


def draw(n_samples, seed=0):
    """Draw features of three classes: two columns of a layer, three logits."""
    generator = np.random.default_rng(seed)
    label = generator.integers(3, size=n_samples)
    layer = generator.normal(size=(n_samples, 2)) + 3 * label[:, None]
    logits = generator.normal(size=(n_samples, 3)) + 6 * np.eye(3)[label]
    return np.hstack([layer, logits])


def fitted_rows(X, seed=0, fraction=0.2):
    """Return the rows that a detector with this seed does not hold out."""
    order = np.random.RandomState(seed).permutation(len(X))
    return X[order[int(np.ceil(fraction * len(X))) :]]
