"""Detectors: estimators over feature matrices, and recipes for whole pipelines."""

from ._gaussian import ClassConditionalGaussian
from ._loda import LODA
from ._max_softmax import MaxSoftmaxProbability
from ._mlp import MLPAnomalyClassifier
from ._per_class_svdd import PerClassSVDD
from ._recipes import (
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from ._threshold import TooFewSamplesWarning, conformal_threshold

__all__ = [
    "LODA",
    "ClassConditionalGaussian",
    "MLPAnomalyClassifier",
    "MaxSoftmaxProbability",
    "PerClassSVDD",
    "TooFewSamplesWarning",
    "conformal_threshold",
    "make_confounding_gradient_detector",
    "make_geometric_gradient_detector",
    "make_recommended_detector",
    "make_uniform_detector",
]
