"""A table for the terminal, a CSV file and a figure."""

import csv
from pathlib import Path

import numpy as np


def render_table(results):
    """Lay the results out for a person: AUROC/TNR@95TPR in percent.

    Parameters
    ----------
    results : list of Result
        The results, grouped by detector.

    Returns
    -------
    str
        One row per kind of anomaly, one column per detector, and a last row with the
        share of in-distribution test inputs that each detector rejects.
    """
    detectors = list(dict.fromkeys(r.detector for r in results))
    kinds = list(dict.fromkeys(r.anomaly for r in results))
    cell = {(r.anomaly, r.detector): r for r in results}
    rows = [["anomaly", "n", *detectors]]
    for kind in kinds:
        of_kind = [cell[kind, d] for d in detectors]
        # All detectors but the supervised one see every anomaly.
        n_anomalies = max(len(r.scores_anomaly) for r in of_kind)
        rows.append([kind, str(n_anomalies), *(_cell([r.metrics]) for r in of_kind)])
    averages = [[r.metrics for r in results if r.detector == d] for d in detectors]
    rows.append(["mean", "", *map(_cell, averages)])
    rows.append(["false alarms", "", *(_rate(results, d) for d in detectors)])
    return _aligned(rows, rules=(1, len(kinds) + 1))


def write_csv(results, path, *, target_fpr, random_state):
    """Write one line per detector and kind of anomaly.

    Parameters
    ----------
    results : list of Result
        The results.
    path : str or Path
        The file; overwritten if it exists.
    target_fpr : float
        The promised false-alarm rate, for the record.
    random_state : int
        The seed, for the record.
    """
    lines = [
        {
            "detector": r.detector,
            "anomaly": r.anomaly,
            "n_in_distribution": len(r.scores_id),
            "n_anomalies": len(r.scores_anomaly),
            **{name: f"{value:.6f}" for name, value in r.metrics.items()},
            "target_fpr": target_fpr,
            "realised_fpr": f"{r.realised_fpr:.6f}",
            "seed": random_state,
        }
        for r in results
    ]
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def plot_score_distributions(results, path):
    """Draw how each detector scores in-distribution inputs and anomalies.

    Parameters
    ----------
    results : list of Result
        The results.
    path : str or Path
        The picture, in the format that its suffix names.

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    One panel per kind of anomaly and detector. Scores of different detectors have
    different units, so each panel shows them as distances from the in-distribution
    median in interquartile ranges, on an asinh scale: linear near 0, logarithmic far
    away.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    detectors = list(dict.fromkeys(r.detector for r in results))
    kinds = list(dict.fromkeys(r.anomaly for r in results))
    figure = Figure(
        figsize=(3 * len(detectors), 1.3 * len(kinds) + 1.6), layout="constrained"
    )
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(kinds), len(detectors), squeeze=False, sharex="col")
    for result in results:
        row, column = kinds.index(result.anomaly), detectors.index(result.detector)
        _draw_panel(panels[row, column], result)
    for panel, detector in zip(panels[0], detectors, strict=True):
        panel.set_title(detector)
    for panel, kind in zip(panels[:, 0], kinds, strict=True):
        panel.set_ylabel(kind)
    for panel in panels[-1]:
        _label_axis(panel)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    figure.supxlabel(
        "score, in interquartile ranges from the in-distribution median (asinh scale); "
        "numbers: AUROC in percent"
    )
    figure.savefig(path, dpi=100)


def _draw_panel(panel, result):
    """Draw both distributions, the threshold and the AUROC of one result."""
    centre = np.median(result.scores_id)
    spread = np.subtract(*np.percentile(result.scores_id, [75, 25])) or 1.0
    scaled_id, scaled_anomaly, offset = (
        np.arcsinh((np.asarray(scores) - centre) / spread)
        for scores in (result.scores_id, result.scores_anomaly, result.offset)
    )
    fewest = min(len(scaled_id), len(scaled_anomaly))
    edges = np.histogram_bin_edges(
        np.concatenate([scaled_id, scaled_anomaly]), 40 if fewest > 150 else 15
    )
    for scores, color, label in (
        (scaled_id, "tab:blue", "in-distribution"),
        (scaled_anomaly, "tab:red", "anomaly"),
    ):
        share = np.histogram(scores, edges)[0] / len(scores)
        panel.stairs(share, edges, fill=True, color=color, alpha=0.5, label=label)
    panel.axvline(
        offset, color="black", linestyle="--", label="threshold: reject to its left"
    )
    panel.set_yticks([])
    panel.text(
        0.02,
        0.92,
        f"{100 * result.metrics['auroc']:.1f}",
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


def _cell(metrics):
    """Write AUROC and TNR, averaged over the results that they come from."""
    area = 100 * np.mean([m["auroc"] for m in metrics])
    tnr = 100 * np.mean([m["tnr_at_95tpr"] for m in metrics])
    return f"{area:5.1f}/{tnr:3.0f}"


def _rate(results, detector):
    rates = [r.realised_fpr for r in results if r.detector == detector]
    return f"{100 * np.mean(rates):.1f} %"


def _aligned(rows, rules):
    """Pad the columns and rule lines before the given rows."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            text.ljust(width) if i == 0 else text.rjust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    for position in sorted(rules, reverse=True):
        lines.insert(position, rule)
    return "\n".join(lines)
