"""Results as tables, figures and pages."""

from ..._files import write_text
from ._distributions import plot_score_distributions
from ._figures import plot_heat_map, plot_roc_curves
from ._html import write_html
from ._tables import render_table, write_csv, write_markdown

__all__ = [
    "plot_heat_map",
    "plot_roc_curves",
    "plot_score_distributions",
    "render_table",
    "write_csv",
    "write_html",
    "write_markdown",
    "write_text",
]
