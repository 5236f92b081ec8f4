"""Results as tables: for the terminal, as CSV and as Markdown."""

import csv
import re
from html import escape

import numpy as np

from .._arrays import nan_mean
from .._compat import validate_params
from .._files import replacing
from ._evaluation import as_evaluation, nan_spread

_READING = (
    "Each cell: AUROC / TNR@95TPR in percent, ± the standard deviation over seeds if "
    "there are several; higher is better, 50 / 5 is chance. A dash: not run, or no "
    "anomalies. False alarms: share of the in-distribution test inputs that a detector "
    "rejects."
)


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
    A row per kind of anomaly, their mean and the false alarms; "±" is the standard
    deviation over seeds. Names are escaped.
    """
    evaluation = as_evaluation(results)
    area, tnr, rates = (
        evaluation._values(name) for name in ("auroc", "tnr_at_95tpr", "realised_fpr")
    )
    rows = [["anomaly", *evaluation.detectors]]
    for j, kind in enumerate(evaluation.anomalies):
        rows.append([kind, *map(_pair_over_seeds, area[:, j], tnr[:, j])])
    means = map(_pair_over_seeds, nan_mean(area, axis=1), nan_mean(tnr, axis=1))
    rows.append(["mean", *means])
    rows.append(["false alarms", *map(mean_and_spread, nan_mean(rates, axis=1))])
    rows.insert(1, ["---", *["--:"] * len(evaluation.detectors)])
    table = [f"| {' | '.join(map(_escape, row))} |" for row in rows]
    parts = [f"# {_escape(title)}", _READING, "\n".join(table)]
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


def _pair_over_seeds(area, tnr):
    if np.isnan(area).all():
        return "-"
    return f"{mean_and_spread(area)} / {mean_and_spread(tnr, digits=0)}"


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
