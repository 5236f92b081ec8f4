"""Figures of reports: the Displays of `skgrad.inspection`, many in one figure."""

import textwrap

import numpy as np
from sklearn.metrics import RocCurveDisplay

from .._arrays import nan_mean
from .._optional import import_package
from ..inspection import DetectorHeatMapDisplay, ScoreDistributionDisplay
from ._measures import has_groups, mean_over_groups


def new_figure(width, height):
    """Return a figure of that size in inches which no window and no pyplot owns."""
    home = import_package("matplotlib.figure", "Figures need", "plot")
    return home.Figure(figsize=(width, height), layout="constrained")


def draw_heat_map(evaluation):
    """Draw the AUROC of every detector and kind of anomaly as a coloured table."""
    display = DetectorHeatMapDisplay(
        values=nan_mean(evaluation._values("auroc")),
        detectors=evaluation.detectors,
        anomalies=evaluation.anomalies,
        metric="auroc",
        groups=evaluation.groups,
    )
    return display.plot(new_figure(*display.size).subplots()).figure_


def draw_distributions(evaluation):
    """Draw the scores of each detector and kind of anomaly, of the first seed and fold.

    Scores of different detectors have different units, so that each panel has distances
    from the in-distribution median, in interquartile ranges.
    """
    shape = len(evaluation.anomalies), len(evaluation.detectors)
    figure = new_figure(max(3 * shape[1], 6), 1.3 * shape[0] + 1.6)
    panels = figure.subplots(*shape, squeeze=False, sharex="col")
    first = evaluation._first()
    legend: dict = {}
    for (row, column), panel in np.ndenumerate(panels):
        key = evaluation.detectors[column], evaluation.anomalies[row]
        legend |= _draw_panel(panel, first.get(key))
    for panel, detector in zip(panels[0], evaluation.detectors, strict=True):
        panel.set_title(textwrap.fill(detector, 26))
    for panel, kind in zip(panels[:, 0], evaluation.anomalies, strict=True):
        panel.set_ylabel(textwrap.fill(kind, 14))
    how = {"loc": "outside upper center", "ncols": 3, "frameon": False}
    figure.legend(legend.values(), legend.keys(), **how)
    figure.supxlabel(
        "score, in interquartile ranges from the in-distribution median\n"
        "(asinh scale); numbers: AUROC in percent"
    )
    return figure


def _draw_panel(panel, result):
    """Draw one result; return what the legend needs, handles by label."""
    handles: dict = {}
    if result is None:
        text = "not run"
    elif not len(result.scores_anomaly):
        text = "no anomalies"
    else:
        text = f"{100 * result.metrics['auroc']:.1f}"
    # A detector that could not be fitted has no scores at all.
    if result is not None and len(result.scores_id):
        ScoreDistributionDisplay(
            scores_id=result.scores_id,
            scores_anomaly=result.scores_anomaly,
            threshold=result.offset,
        ).plot(panel)
        # The error rates of this panel, behind the colon, are not those of others.
        found = zip(*panel.get_legend_handles_labels(), strict=True)
        handles = {
            label if label.startswith("threshold") else label.partition(":")[0]: handle
            for handle, label in found
        }
        panel.get_legend().remove()
        # Room for the number above the bars.
        panel.set_ylim(top=1.25 * panel.get_ylim()[1])
    panel.set(xlabel="", ylabel="", title="", yticks=[])
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    place = {"transform": panel.transAxes, "verticalalignment": "top"}
    panel.text(0.02, 0.92, text, bbox=box, **place)
    return handles


def draw_roc_curves(evaluation, n_columns=4):
    """Draw the ROC curves of all detectors, one panel per kind of anomaly.

    Curves are of the first seed and fold; the legend is in the order of the mean AUROC
    over groups.
    """
    kinds = evaluation.anomalies
    n_columns = min(n_columns, len(kinds))
    n_rows = -(-len(kinds) // n_columns)
    figure = new_figure(2.7 * n_columns + 2.2, max(2.6 * n_rows + 0.6, 3.4))
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    lines: dict = {}
    for panel, kind in zip(grid.flat, kinds, strict=False):
        lines |= _draw_curves(panel, evaluation, kind)
        panel.axhline(0.95, color="black", linewidth=0.6, linestyle=":")
        panel.set_title(kind, fontsize=9)
        panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        panel.set(xlabel="", ylabel="", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    for panel in grid.flat[len(kinds) :]:
        panel.set_axis_off()
    figure.supxlabel("share of anomalies accepted", fontsize=10)
    figure.supylabel("share of ID inputs accepted", fontsize=10)
    named = [name for name in rank_detectors(evaluation) if name in lines]
    how = {"loc": "outside right upper", "frameon": False, "fontsize": 9}
    handles = [lines[name] for name in named]
    title = "by mean AUROC" + (" over groups" if has_groups(evaluation) else "")
    figure.legend(handles, named, title=title, **how)
    return figure


def _draw_curves(panel, evaluation, kind):
    """Draw the curves of one kind of anomaly; return them by detector."""
    first, lines = evaluation._first(), {}
    for rank, detector in enumerate(rank_detectors(evaluation)):
        result = first.get((detector, kind))
        if result is None or not len(result.scores_anomaly):
            continue
        y = np.repeat([1, 0], [len(result.scores_id), len(result.scores_anomaly)])
        scores = np.concatenate([result.scores_id, result.scores_anomaly])
        RocCurveDisplay.from_predictions(y, scores, ax=panel)
        panel.get_legend().remove()
        line = lines[detector] = panel.lines[-1]
        # Ten colours can be distinguished; more detectors have other dashes.
        line.set(color=f"C{rank % 10}", linestyle=("-", "--", "-.")[rank // 10 % 3])
    return lines


def rank_detectors(evaluation):
    """Return the names of the detectors, the highest mean AUROC over groups first."""
    area = nan_mean(mean_over_groups(evaluation, evaluation._values("auroc")))
    # A detector without any result comes last.
    order = np.argsort(-np.nan_to_num(area, nan=-1.0), kind="stable")
    return [evaluation.detectors[i] for i in order]
