"""Detectors against anomalies under the papers' protocols, as tables and reports."""

from ._anomaly_set import AnomalySet
from ._bootstrap import bootstrap_intervals
from ._digits import train_digits_network
from ._evaluate import evaluate
from ._evaluation import Evaluation
from ._judge import judge_digits
from ._make_anomalies import ANOMALY_KINDS, Threat, find_anomaly_kind, make_anomalies
from ._protocols import PROTOCOLS, Protocol
from ._report import plot_score_distributions, render_table, write_csv
from ._result import Result

__all__ = [
    "ANOMALY_KINDS",
    "PROTOCOLS",
    "AnomalySet",
    "Evaluation",
    "Protocol",
    "Result",
    "Threat",
    "bootstrap_intervals",
    "evaluate",
    "find_anomaly_kind",
    "judge_digits",
    "make_anomalies",
    "plot_score_distributions",
    "render_table",
    "train_digits_network",
    "write_csv",
]
