"""How detectors score: distributions of in-distribution inputs and anomalies."""

import numpy as np

from ..._files import as_path, replacing
from ...inspection import ScoreDistributionDisplay
from ._figures import check_matplotlib, new_figure
from ._summary import Summary


def plot_score_distributions(results, path=None):
    """Draw how each detector scores in-distribution inputs and anomalies.

    Parameters
    ----------
    results : Evaluation or list of Result
        The results; of several seeds and folds the first is drawn.
    path : str or Path, default=None
        The picture, in the format that its suffix names; None writes none.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are no results.

    Notes
    -----
    One panel per kind of anomaly and detector. Scores of different detectors have
    different units, so each panel shows them as distances from the in-distribution
    median in interquartile ranges, on an asinh scale: linear near 0, logarithmic far
    away.
    """
    check_matplotlib()
    summary = Summary(results)
    n_rows, n_columns = len(summary.anomalies), len(summary.detectors)
    figure = new_figure(figsize=(max(3 * n_columns, 6), 1.3 * n_rows + 1.6))
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex="col")
    for panel in panels.flat:
        panel.set_yticks([])
    picked = summary.first()
    for (row, column), panel in np.ndenumerate(panels):
        key = summary.detectors[column], summary.anomalies[row]
        if key in picked:
            _draw_panel(panel, picked[key])
        else:
            panel.text(
                0.5,
                0.5,
                "not run",
                transform=panel.transAxes,
                ha="center",
                va="center",
                color="0.5",
            )
    for panel, detector in zip(panels[0], summary.detectors, strict=True):
        panel.set_title(_broken(detector))
    for panel, kind in zip(panels[:, 0], summary.anomalies, strict=True):
        panel.set_ylabel(_broken(kind, 14))
    _add_legend(figure, panels.flat)
    figure.supxlabel(
        "score, in interquartile ranges from the in-distribution median\n"
        "(asinh scale); numbers: AUROC in percent"
    )
    if path is not None:
        kind = as_path(path).suffix[1:].lower() or "png"
        kinds = figure.canvas.get_supported_filetypes()
        if kind not in kinds:
            raise ValueError(
                f"path must end in one of {', '.join(sorted(kinds))}, preceded by a "
                f"point; got {str(path)!r}."
            )
        with replacing(path) as part:
            figure.savefig(part, format=kind, dpi=100)
    return figure


def _draw_panel(panel, result):
    """Draw both distributions, the threshold and the AUROC of one result."""
    _write(panel, result.metrics["auroc"])
    if not len(result.scores_id):  # nothing could be learnt, so nothing was scored
        return
    display = ScoreDistributionDisplay(
        scores_id=result.scores_id,
        scores_anomaly=result.scores_anomaly,
        threshold=result.offset,
    )
    display.plot(panel)
    panel.get_legend().remove()
    panel.set(xlabel="", ylabel="")
    # Room for the number above the bars.
    panel.set_ylim(top=1.25 * panel.get_ylim()[1])


def _write(panel, area):
    panel.text(
        0.02,
        0.92,
        "no anomalies" if np.isnan(area) else f"{100 * area:.1f}",
        transform=panel.transAxes,
        verticalalignment="top",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )


def _add_legend(figure, panels):
    """Name each kind of line once, though not every panel has all."""
    entries: dict = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        # The rates behind a colon are those of one panel.
        names = [
            label if label.startswith("threshold") else label.partition(":")[0]
            for label in labels
        ]
        entries |= dict(zip(names, handles, strict=True))
    figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside upper center",
        ncols=3,
        frameon=False,
    )


def _broken(name, width=26):
    """Break a long name into lines that fit a panel."""
    lines = [""]
    for word in name.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
