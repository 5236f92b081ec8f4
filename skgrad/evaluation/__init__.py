"""The three papers' detectors judged side by side on embedded data."""

from ._digits import train_digits_network
from ._judge import Result, judge_digits
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

__all__ = [
    "Result",
    "compare_with_published",
    "judge_digits",
    "load_published_results",
    "plot_heat_map",
    "plot_roc_curves",
    "plot_score_distributions",
    "render_table",
    "train_digits_network",
    "write_csv",
    "write_html",
    "write_markdown",
]
