"""Metrics of detection and their scorers; in-distribution is the positive class."""

from ._class_weighted import class_weighted
from ._detection import (
    aupr_in,
    aupr_out,
    auroc,
    detection_accuracy,
    fpr_at_tpr,
    tnr_at_tpr,
)
from ._scorers import (
    DetectionScorer,
    aupr_in_scorer,
    aupr_out_scorer,
    auroc_scorer,
    detection_accuracy_scorer,
    in_distribution_scores,
    tnr_at_tpr_scorer,
)

__all__ = [
    "DetectionScorer",
    "aupr_in",
    "aupr_in_scorer",
    "aupr_out",
    "aupr_out_scorer",
    "auroc",
    "auroc_scorer",
    "class_weighted",
    "detection_accuracy",
    "detection_accuracy_scorer",
    "fpr_at_tpr",
    "in_distribution_scores",
    "tnr_at_tpr",
    "tnr_at_tpr_scorer",
]
