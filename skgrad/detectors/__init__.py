"""Detectors: estimators over feature matrices, and recipes for whole pipelines."""

from ._class_conditional import ClassConditionalDetector
from ._combined import CombinedDetector
from ._conformal import (
    TooFewSamplesWarning,
    conformal_p_values,
    conformal_threshold,
    select_by_fdr,
)
from ._deep_knn import DeepKNN
from ._gaussian import ClassConditionalGaussian
from ._gen import GEN
from ._loda import LODA
from ._logits import Energy, MaxLogit, MaxSoftmaxProbability
from ._mlp import MLPAnomalyClassifier
from ._per_class_svdd import PerClassSVDD
from ._pyod import PyODDetector
from ._recipes import (
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from ._rmds import RMDS
from ._wrapper import ConformalDetector

__all__ = [
    "GEN",
    "LODA",
    "RMDS",
    "ClassConditionalDetector",
    "ClassConditionalGaussian",
    "CombinedDetector",
    "ConformalDetector",
    "DeepKNN",
    "Energy",
    "MLPAnomalyClassifier",
    "MaxLogit",
    "MaxSoftmaxProbability",
    "PerClassSVDD",
    "PyODDetector",
    "TooFewSamplesWarning",
    "conformal_p_values",
    "conformal_threshold",
    "make_confounding_gradient_detector",
    "make_geometric_gradient_detector",
    "make_recommended_detector",
    "make_uniform_detector",
    "select_by_fdr",
]
