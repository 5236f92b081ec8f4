"""Figures over many detectors and kinds of anomaly."""

from numbers import Integral

import numpy as np
from sklearn.metrics import roc_curve

from ..._compat import Interval, validate_params
from ..._optional import import_package
from ...inspection import DetectorHeatMapDisplay
from ._summary import Summary, nan_mean

# So many lines can still be told apart by colour; the others are drawn in grey.
N_COLORED = 10


def check_matplotlib():
    """Refuse to go on without matplotlib, before any work is done."""
    import_package("matplotlib.figure", "Figures need", "plot")


def new_figure(**options):
    """Make a figure that belongs to no window and no pyplot.

    Parameters
    ----------
    **options : dict
        What :class:`matplotlib.figure.Figure` takes.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained", **options)
    FigureCanvasAgg(figure)
    return figure


def plot_heat_map(results, *, metric="auroc"):
    """Draw a metric of every detector and kind of anomaly as a coloured table.

    Parameters
    ----------
    results : Evaluation or list of Result
        The results; those of several seeds and folds are averaged.
    metric : str, default="auroc"
        A metric of the results.

    Returns
    -------
    matplotlib.figure.Figure
        One row per detector and one column per kind of anomaly, and their mean;
        percent. Cells without a number are empty. The colours of the AUROC begin at
        50 (chance), with one more colour for what is less.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are no results, or none with this metric.
    """
    check_matplotlib()
    summary = Summary(results)
    legal = list(summary.results[0].metrics)
    if metric not in legal:
        raise ValueError(f"metric must be one of {legal}; got {metric!r}.")
    display = DetectorHeatMapDisplay(
        values=summary.mean(metric),
        detectors=summary.detectors,
        anomalies=summary.anomalies,
        metric=metric,
    )
    figure = new_figure(figsize=display.size)
    display.plot(figure.subplots())
    return figure


@validate_params(
    {"n_columns": [Interval(Integral, 1, None, closed="left")]},
    prefer_skip_nested_validation=True,
)
def plot_roc_curves(results, *, n_columns=4):
    """Draw the ROC curves of all detectors, one panel per kind of anomaly.

    Parameters
    ----------
    results : Evaluation or list of Result
        The results; of several seeds and folds the first is drawn.
    n_columns : int, default=4
        Panels beside each other.

    Returns
    -------
    matplotlib.figure.Figure
        Share of in-distribution inputs that are accepted over the share of anomalies
        that are. The ten detectors with the highest mean AUROC have colours and names;
        if there are more, they are grey. Dotted: 95 % accepted.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there are no results.
    """
    check_matplotlib()
    summary = Summary(results)
    n_columns = min(n_columns, len(summary.anomalies))
    n_rows = -(-len(summary.anomalies) // n_columns)
    styles = _styles(summary)
    figure = new_figure(figsize=(2.7 * n_columns + 2.2, max(2.6 * n_rows + 0.6, 3.4)))
    panels = figure.subplots(
        n_rows, n_columns, squeeze=False, sharex=True, sharey=True
    ).ravel()
    picked = summary.first()
    for panel, kind in zip(panels, summary.anomalies, strict=False):
        for detector in reversed(styles):
            if (detector, kind) in picked:
                _draw_curve(panel, picked[detector, kind], styles[detector])
        panel.axhline(0.95, color="black", linewidth=0.6, linestyle=":")
        panel.set_title(kind, fontsize=9)
        panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        # Ends alone and the middle: more would run into those of the next panel.
        panel.set(xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    for panel in panels[len(summary.anomalies) :]:
        panel.set_axis_off()
    figure.supxlabel("share of anomalies accepted", fontsize=10)
    figure.supylabel("share of ID inputs accepted", fontsize=10)
    _add_legend(figure, styles)
    return figure


def _styles(summary):
    """Choose lines by detector, the best first."""
    from matplotlib import colormaps

    # What was never judged comes last.
    order = np.argsort(-np.nan_to_num(nan_mean(summary.mean("auroc")), nan=-1.0))
    colors = colormaps["tab10"]
    return {
        summary.detectors[i]: {"color": colors(rank), "linewidth": 1.3}
        if rank < N_COLORED
        else {"color": "0.75", "linewidth": 0.7}
        for rank, i in enumerate(order)
    }


def _draw_curve(panel, result, style):
    if not len(result.scores_anomaly):
        return
    y = np.repeat([1, 0], [len(result.scores_id), len(result.scores_anomaly)])
    scores = np.concatenate([result.scores_id, result.scores_anomaly])
    fpr, tpr, _ = roc_curve(y, scores)
    # Every hundredth is as fine as the eye sees, and keeps the file small.
    if len(fpr) > 200:
        at = np.linspace(0, len(fpr) - 1, 200).round().astype(int)
        fpr, tpr = fpr[at], tpr[at]
    panel.plot(fpr, tpr, **style)


def _add_legend(figure, styles):
    from matplotlib.lines import Line2D

    lines = {
        name: Line2D([], [], **style)
        for name, style in list(styles.items())[:N_COLORED]
    }
    if len(styles) > N_COLORED:
        lines[f"{len(styles) - N_COLORED} others"] = Line2D(
            [], [], **list(styles.values())[-1]
        )
    figure.legend(
        lines.values(),
        lines.keys(),
        loc="outside right upper",
        frameon=False,
        fontsize=9,
        title="by mean AUROC",
    )
