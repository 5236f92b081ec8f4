"""Detectors against anomalies under the papers' protocols, as tables and reports."""

from ._anomaly_set import AnomalySet
from ._bootstrap import bootstrap_intervals
from ._digits import train_digits_network
from ._evaluate import evaluate
from ._evaluation import Evaluation
from ._judge import judge_digits
from ._protocols import PROTOCOLS, Protocol
from ._report import plot_score_distributions, render_table, write_csv
from ._result import Result

__all__ = [
    "PROTOCOLS",
    "AnomalySet",
    "Evaluation",
    "Protocol",
    "Result",
    "bootstrap_intervals",
    "evaluate",
    "judge_digits",
    "plot_score_distributions",
    "render_table",
    "train_digits_network",
    "write_csv",
]
