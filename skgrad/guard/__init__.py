"""One answer per input: its class, whether to trust it, and a p-value."""

from ._monitor import PValueMonitor
from ._risk_threshold import NoThresholdWarning, RiskThreshold, risk_threshold

__all__ = [
    "NoThresholdWarning",
    "PValueMonitor",
    "RiskThreshold",
    "risk_threshold",
]
