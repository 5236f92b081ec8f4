"""Detectors against anomalies under the papers' protocols, as tables and reports."""

from ._anomaly_set import AnomalySet
from ._bootstrap import bootstrap_intervals
from ._detectors_by_name import DETECTOR_KINDS, find_detector, make_detectors
from ._digits import train_digits_network
from ._evaluate import evaluate
from ._evaluation import Evaluation
from ._main_job import judge_digits
from ._make_anomalies import ANOMALY_KINDS, Threat, find_anomaly_kind, make_anomalies
from ._networks import CifarResNet, ECGNetwork, LeNet, MNISTNetwork
from ._protocols import PROTOCOLS, Protocol
from ._published import compare_with_published, load_published_results
from ._report import (
    plot_heat_map,
    plot_roc_curves,
    plot_score_distributions,
    render_table,
    write_csv,
    write_html,
    write_markdown,
)
from ._result import Result
from ._training import crop_and_flip, train_network
from ._weights import load_network, load_safetensors, save_network

__all__ = [
    "ANOMALY_KINDS",
    "DETECTOR_KINDS",
    "PROTOCOLS",
    "AnomalySet",
    "CifarResNet",
    "ECGNetwork",
    "Evaluation",
    "LeNet",
    "MNISTNetwork",
    "Protocol",
    "Result",
    "Threat",
    "bootstrap_intervals",
    "compare_with_published",
    "crop_and_flip",
    "evaluate",
    "find_anomaly_kind",
    "find_detector",
    "judge_digits",
    "load_network",
    "load_published_results",
    "load_safetensors",
    "make_anomalies",
    "make_detectors",
    "plot_heat_map",
    "plot_roc_curves",
    "plot_score_distributions",
    "render_table",
    "save_network",
    "train_digits_network",
    "train_network",
    "write_csv",
    "write_html",
    "write_markdown",
]
