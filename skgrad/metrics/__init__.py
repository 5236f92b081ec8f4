"""Metrics of detection and of abstention, and their scorers."""

from ._abstention import AbstentionScorer, coverage_at_risk_scorer, neg_aurc_scorer
from ._class_weighted import class_weighted
from ._detection import (
    aupr_in,
    aupr_out,
    auroc,
    detection_accuracy,
    fpr_at_tpr,
    tnr_at_tpr,
)
from ._risk_coverage import aurc, coverage_at_risk, risk_coverage_curve
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
    "AbstentionScorer",
    "DetectionScorer",
    "aupr_in",
    "aupr_in_scorer",
    "aupr_out",
    "aupr_out_scorer",
    "aurc",
    "auroc",
    "auroc_scorer",
    "class_weighted",
    "coverage_at_risk",
    "coverage_at_risk_scorer",
    "detection_accuracy",
    "detection_accuracy_scorer",
    "fpr_at_tpr",
    "in_distribution_scores",
    "neg_aurc_scorer",
    "risk_coverage_curve",
    "tnr_at_tpr",
    "tnr_at_tpr_scorer",
]
