"""The papers' detectors judged side by side, and networks to judge them on."""

from ._digits import train_digits_network
from ._judge import Result, judge_digits
from ._networks import CifarResNet, ECGNetwork, LeNet, MNISTNetwork
from ._report import plot_score_distributions, render_table, write_csv
from ._training import crop_and_flip, train_network
from ._weights import load_network, load_safetensors, save_network

__all__ = [
    "CifarResNet",
    "ECGNetwork",
    "LeNet",
    "MNISTNetwork",
    "Result",
    "crop_and_flip",
    "judge_digits",
    "load_network",
    "load_safetensors",
    "plot_score_distributions",
    "render_table",
    "save_network",
    "train_digits_network",
    "train_network",
    "write_csv",
]
