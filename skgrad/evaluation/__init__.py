"""The three papers' detectors judged side by side on embedded data."""

from ._digits import train_digits_network
from ._judge import Result, judge_digits
from ._report import plot_score_distributions, render_table, write_csv

__all__ = [
    "Result",
    "judge_digits",
    "plot_score_distributions",
    "render_table",
    "train_digits_network",
    "write_csv",
]
