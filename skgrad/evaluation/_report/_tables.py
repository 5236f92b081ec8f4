"""Tables for the terminal, for a spreadsheet and for a page of text."""

import csv
import re
from html import escape

import numpy as np

from ..._compat import validate_params
from ..._files import replacing, write_text
from ._summary import Summary, nan_mean, nan_spread

# More columns than this get a table of their own in Markdown.
N_COLUMNS = 6


def render_table(results):
    """Lay the results out for a person: AUROC/TNR@95TPR in percent.

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
    summary = Summary(results)
    area, tnr = summary.mean("auroc"), summary.mean("tnr_at_95tpr")
    # All detectors but a supervised one see every anomaly.
    n = summary.values(lambda r: len(r.scores_anomaly)).max(
        axis=(0, 2), initial=0, where=~np.isnan(summary.values("realised_fpr"))
    )
    rows = [["anomaly", "n", *summary.detectors]]
    for j, kind in enumerate(summary.anomalies):
        rows.append([kind, f"{n[j]:.0f}", *map(_pair, area[:, j], tnr[:, j])])
    rows.append(["mean", "", *map(_pair, nan_mean(area), nan_mean(tnr))])
    rates = nan_mean(summary.mean("realised_fpr"))
    rows.append(["false alarms", "", *(f"{100 * rate:.1f} %" for rate in rates)])
    return aligned(rows, rules=(1, len(summary.anomalies) + 1))


def write_csv(results, path, *, target_fpr, random_state):
    """Write one line per detector and kind of anomaly.

    Parameters
    ----------
    results : Evaluation or list of Result
        The results.
    path : str or Path
        The file; replaced if it exists.
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
        for r in Summary(results).results
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
        The file; replaced if it exists, never half written.
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
    summary = Summary(results)
    area, tnr = summary.values("auroc"), summary.values("tnr_at_95tpr")
    parts = [f"# {_plain(title)}", _reading(summary), _overview(summary, area, tnr)]
    for start in range(0, len(summary.anomalies), N_COLUMNS):
        columns = range(start, min(start + N_COLUMNS, len(summary.anomalies)))
        rows = [["detector", *(summary.anomalies[j] for j in columns)]]
        for i, detector in enumerate(summary.detectors):
            cells = (_spread_pair(area[i, j], tnr[i, j]) for j in columns)
            rows.append([detector, *cells])
        parts.append(_markdown_table(rows))
    if notes:
        lines = [f"- {_plain(key)}: {_plain(value)}" for key, value in notes.items()]
        parts += ["## How this was made", "\n".join(lines)]
    write_text("\n\n".join(parts) + "\n", path)


def percent(value, spread=np.nan, digits=1):
    """Write a share in percent, with its spread where there is one.

    Parameters
    ----------
    value, spread : float
        Shares; NaN for none.
    digits : int, default=1
        Behind the point.

    Returns
    -------
    str
        Such as "97.3 ± 0.4"; a dash for NaN.
    """
    if np.isnan(value):
        return "-"
    text = f"{100 * value:.{digits}f}"
    return text if np.isnan(spread) else f"{text} ± {100 * spread:.{digits}f}"


def _reading(summary):
    n = len(summary.seeds)
    seeds = "one seed" if n == 1 else f"mean ± standard deviation over {n} seeds"
    return (
        f"Each cell: AUROC / TNR@95TPR in percent, {seeds}; higher is better, 50 / 5 "
        "is chance. A dash: not run, or no anomalies."
    )


def _overview(summary, area, tnr):
    rates = summary.values("realised_fpr")
    rows = [["detector", "mean", "least AUROC, at", "false alarms, %"]]
    for i, detector in enumerate(summary.detectors):
        least = "-"
        of_kind = nan_mean(area[i])
        if not np.isnan(of_kind).all():
            j = np.nanargmin(of_kind)
            least = f"{percent(of_kind[j])}, {summary.anomalies[j]}"
        overall = _spread_pair(nan_mean(area[i], axis=0), nan_mean(tnr[i], axis=0))
        alarms = nan_mean(rates[i], axis=0)
        false_alarms = percent(nan_mean(alarms), nan_spread(alarms))
        rows.append([detector, overall, least, false_alarms])
    return _markdown_table(rows)


def _spread_pair(area, tnr):
    """Write AUROC and TNR of all seeds."""
    return (
        f"{percent(nan_mean(area), nan_spread(area))} / "
        f"{percent(nan_mean(tnr), nan_spread(tnr), digits=0)}"
        if not np.isnan(area).all()
        else "-"
    )


def _markdown_table(rows):
    rows = [[_plain(cell) for cell in row] for row in rows]
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


def _plain(text):
    """Escape what Markdown or HTML would take for markup."""
    text = escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", text)


def _pair(area, tnr):
    return "-" if np.isnan(area) else f"{100 * area:5.1f}/{100 * tnr:3.0f}"


def aligned(rows, rules):
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
