"""Results as tables: for the terminal, as CSV and as Markdown."""

import csv
import re
from html import escape

import numpy as np

from .._arrays import nan_mean
from .._compat import validate_params
from .._files import replacing
from ._evaluation import as_evaluation, nan_spread

# Markdown tables have at most so many columns of numbers; more go into another table.
N_COLUMNS = 6


def render_table(results):
    """Render the results as text: AUROC/TNR@95TPR in percent.

    Parameters
    ----------
    results : Evaluation or list of Result
        The results; those of several seeds and folds are averaged.

    Returns
    -------
    str
        One row per kind of anomaly, one column per detector, and a last row with the
        share of in-distribution test inputs that each detector rejects.
    """
    evaluation = as_evaluation(results)
    area, tnr, rates = (
        nan_mean(evaluation._values(name))
        for name in ("auroc", "tnr_at_95tpr", "realised_fpr")
    )
    # A supervised detector is tested on a part of the anomalies, all others on all.
    n = evaluation._values("n_anomalies").max(
        axis=(0, 2), initial=0, where=~np.isnan(evaluation._values("realised_fpr"))
    )
    rows = [["anomaly", "n", *evaluation.detectors]]
    for j, kind in enumerate(evaluation.anomalies):
        rows.append([kind, f"{n[j]:.0f}", *map(_pair, area[:, j], tnr[:, j])])
    rows.append(["mean", "", *map(_pair, nan_mean(area), nan_mean(tnr))])
    alarms = [f"{100 * rate:.1f} %" for rate in nan_mean(rates)]
    rows.append(["false alarms", "", *alarms])
    return _align(rows, rules=(1, len(evaluation.anomalies) + 1))


def write_csv(results, path, *, target_fpr, random_state):
    """Write one line per detector and kind of anomaly.

    Parameters
    ----------
    results : Evaluation or list of Result
        The results.
    path : str or Path
        The file; replaced if it exists.
    target_fpr : float
        The requested false-alarm rate, for the record.
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
        for r in as_evaluation(results).results
    ]
    with (
        replacing(path) as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


@validate_params(
    {"title": [str], "notes": [dict, None]},
    prefer_skip_nested_validation=True,
)
def write_markdown(results, path, *, title="Evaluation", notes=None):
    """Write AUROC and TNR@95TPR of each detector and kind of anomaly as Markdown.

    Parameters
    ----------
    results : Evaluation or list of Result
        The results; those of several seeds and folds are averaged.
    path : str or Path
        The file; replaced if it exists.
    title : str, default="Evaluation"
        The heading.
    notes : dict of str to object, default=None
        How it was made: lines at the end.

    Notes
    -----
    A first table has each detector's means and false alarms. Others have a row per
    detector and up to six kinds of anomaly. Behind "±" stands the standard deviation
    over seeds. Names are escaped.
    """
    evaluation = as_evaluation(results)
    area, tnr = (evaluation._values(name) for name in ("auroc", "tnr_at_95tpr"))
    parts = [f"# {_escape(title)}", _reading(evaluation)]
    parts.append(_overview(evaluation, area, tnr))
    for start in range(0, len(evaluation.anomalies), N_COLUMNS):
        columns = slice(start, start + N_COLUMNS)
        rows = [["detector", *evaluation.anomalies[columns]]]
        for i, detector in enumerate(evaluation.detectors):
            cells = map(_spread_pair, area[i, columns], tnr[i, columns])
            rows.append([detector, *cells])
        parts.append(_markdown_table(rows))
    if notes:
        lines = [f"- {_escape(key)}: {_escape(value)}" for key, value in notes.items()]
        parts += ["## How this was made", "\n".join(lines)]
    with replacing(path) as part:
        part.write_text("\n\n".join(parts) + "\n", encoding="utf-8", newline="\n")


def percent(value, spread=np.nan, digits=1):
    """Write a share in percent, such as "97.3 ± 0.4"; a dash for NaN."""
    if np.isnan(value):
        return "-"
    text = f"{100 * value:.{digits}f}"
    return text if np.isnan(spread) else f"{text} ± {100 * spread:.{digits}f}"


def mean_and_spread(values, digits=1):
    """Write shares of several seeds in percent: their mean and spread."""
    return percent(nan_mean(values), nan_spread(values), digits)


def least(evaluation, row, area):
    """Return the least AUROC of a detector and the kind of anomaly it belongs to."""
    of_kind = nan_mean(area[row])
    if np.isnan(of_kind).all():
        return np.nan, "-"
    j = np.nanargmin(of_kind)
    return of_kind[j], evaluation.anomalies[j]


def _reading(evaluation):
    n = len(evaluation.seeds)
    seeds = "one seed" if n == 1 else f"mean ± standard deviation over {n} seeds"
    return (
        f"Each cell: AUROC / TNR@95TPR in percent, {seeds}; higher is better, 50 / 5 "
        "is chance. A dash: not run, or no anomalies."
    )


def _overview(evaluation, area, tnr):
    rates = evaluation._values("realised_fpr")
    rows = [["detector", "mean", "least AUROC, at", "false alarms, %"]]
    for i, detector in enumerate(evaluation.detectors):
        lowest, kind = least(evaluation, i, area)
        overall = _spread_pair(nan_mean(area[i], axis=0), nan_mean(tnr[i], axis=0))
        alarms = mean_and_spread(nan_mean(rates[i], axis=0))
        worst = "-" if np.isnan(lowest) else f"{percent(lowest)}, {kind}"
        rows.append([detector, overall, worst, alarms])
    return _markdown_table(rows)


def _spread_pair(area, tnr):
    """Write AUROC and TNR of all seeds."""
    if np.isnan(area).all():
        return "-"
    return f"{mean_and_spread(area)} / {mean_and_spread(tnr, digits=0)}"


def _markdown_table(rows):
    rows = [[_escape(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])])
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in rows
    )


def _escape(text):
    """Escape what Markdown or HTML would read as markup."""
    text = escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", text)


def _pair(area, tnr):
    return "-" if np.isnan(area) else f"{100 * area:5.1f}/{100 * tnr:3.0f}"


def _align(rows, rules):
    """Pad the columns, and draw lines before the given rows."""
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
