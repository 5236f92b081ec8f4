"""One answer per input: its class, whether to trust it, and a p-value."""

from ._card import Card
from ._export import export
from ._guard_module import GuardModule
from ._guarded_classifier import GuardedClassifier
from ._judgement import Judgement
from ._monitor import PValueMonitor
from ._rejection_band import RejectionBand, rejection_band
from ._risk_threshold import NoThresholdWarning, RiskThreshold, risk_threshold

__all__ = [
    "Card",
    "GuardModule",
    "GuardedClassifier",
    "Judgement",
    "NoThresholdWarning",
    "PValueMonitor",
    "RejectionBand",
    "RiskThreshold",
    "export",
    "rejection_band",
    "risk_threshold",
]
