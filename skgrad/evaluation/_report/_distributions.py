"""How detectors score: distributions of in-distribution inputs and anomalies."""

import numpy as np

from ..._files import as_path, replacing
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
    for panel in panels[-1]:
        _label_axis(panel)
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
    centre = np.median(result.scores_id)
    spread = np.subtract(*np.percentile(result.scores_id, [75, 25])) or 1.0

    def scaled(scores):
        return np.arcsinh((np.asarray(scores, dtype=float) - centre) / spread)

    kinds = {
        "in-distribution": (scaled(result.scores_id), "tab:blue"),
        "anomaly": (scaled(result.scores_anomaly), "tab:red"),
    }
    # Where no attack succeeded there are no anomalies to draw.
    kinds = {label: kind for label, kind in kinds.items() if len(kind[0])}
    fewest = min(len(scores) for scores, _ in kinds.values())
    edges = np.histogram_bin_edges(
        np.concatenate([scores for scores, _ in kinds.values()]),
        40 if fewest > 150 else 15,
    )
    for label, (scores, color) in kinds.items():
        share = np.histogram(scores, edges)[0] / len(scores)
        panel.stairs(share, edges, fill=True, color=color, alpha=0.5, label=label)
    # Room for the number above the bars.
    panel.set_ylim(top=1.25 * panel.get_ylim()[1])
    if result.offset is not None:
        panel.axvline(
            scaled(result.offset),
            color="black",
            linestyle="--",
            label="threshold: reject to its left",
        )


def _write(panel, area):
    panel.text(
        0.02,
        0.92,
        "no anomalies" if np.isnan(area) else f"{100 * area:.1f}",
        transform=panel.transAxes,
        verticalalignment="top",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )


def _label_axis(panel):
    """Put ticks at round numbers of interquartile ranges."""
    low, high = panel.get_xlim()
    low, high = low + 0.05 * (high - low), high - 0.05 * (high - low)
    ticks = np.array([-1e8, -1e6, -1e4, -100, -10, -1, 0, 1, 10, 100])
    ticks = ticks[(np.arcsinh(ticks) >= low) & (np.arcsinh(ticks) <= high)]
    panel.set_xticks(np.arcsinh(ticks), [f"{tick:g}" for tick in ticks])


def _add_legend(figure, panels):
    """Name each kind of line once, though not every panel has all."""
    entries: dict = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
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
