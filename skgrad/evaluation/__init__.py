"""Detectors against anomalies under the papers' protocols, as tables and reports."""

from ._anomaly_set import AnomalySet
from ._bootstrap import bootstrap_intervals
from ._demo import train_digits_network
from ._evaluate import evaluate
from ._evaluation import Evaluation
from ._make_anomalies import Threat, make_anomalies
from ._protocols import PROTOCOLS, Protocol
from ._result import Result
from ._tables import render_table

__all__ = [
    "PROTOCOLS",
    "AnomalySet",
    "Evaluation",
    "Protocol",
    "Result",
    "Threat",
    "bootstrap_intervals",
    "evaluate",
    "make_anomalies",
    "render_table",
    "train_digits_network",
]
