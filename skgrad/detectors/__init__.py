"""Detectors: estimators over feature matrices, and recipes for whole pipelines."""

from ._class_conditional import ClassConditionalDetector
from ._combined import CombinedDetector
from ._conformal import (
    TooFewSamplesWarning,
    conformal_p_values,
    conformal_threshold,
    select_by_fdr,
)
from ._core import CORE
from ._deep_knn import DeepKNN
from ._fdbd import FDBD
from ._gaussian import ClassConditionalGaussian
from ._gen import GEN
from ._loda import LODA
from ._logits import Energy, MaxLogit, MaxSoftmaxProbability
from ._mlp import MLPAnomalyClassifier
from ._nci import NCI
from ._per_class_svdd import PerClassSVDD
from ._pipeline import DetectorPipeline
from ._pyod import PyODDetector
from ._recipes import (
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_uniform_detector,
)
from ._recommended import make_recommended_detector
from ._rmds import RMDS
from ._stability import ConfidenceDrop, StableConfidence
from ._vim import ViM
from ._wrapper import ConformalDetector

__all__ = [
    "CORE",
    "FDBD",
    "GEN",
    "LODA",
    "NCI",
    "RMDS",
    "ClassConditionalDetector",
    "ClassConditionalGaussian",
    "CombinedDetector",
    "ConfidenceDrop",
    "ConformalDetector",
    "DeepKNN",
    "DetectorPipeline",
    "Energy",
    "MLPAnomalyClassifier",
    "MaxLogit",
    "MaxSoftmaxProbability",
    "PerClassSVDD",
    "PyODDetector",
    "StableConfidence",
    "TooFewSamplesWarning",
    "ViM",
    "conformal_p_values",
    "conformal_threshold",
    "make_confounding_gradient_detector",
    "make_geometric_gradient_detector",
    "make_recommended_detector",
    "make_uniform_detector",
    "select_by_fdr",
]
