"""Results as tables: for the terminal, and as Markdown."""

import re
from html import escape

import numpy as np

from .._arrays import nan_mean
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
    rows = _rows(evaluation, _pair, lambda rate: f"{100 * nan_mean(rate):.1f} %")
    # A supervised detector is tested on a part of the anomalies, all others on all.
    n = evaluation._values("n_anomalies").max(
        axis=(0, 2), initial=0, where=~np.isnan(evaluation._values("realised_fpr"))
    )
    texts = ["n", *(f"{size:.0f}" for size in n), "", ""]
    for row, text in zip(rows, texts, strict=True):
        row.insert(1, text)
    return _align(rows, rules=(1, len(evaluation.anomalies) + 1))


def write_markdown(evaluation, path, *, title, notes):
    """Write AUROC and TNR@95TPR of each detector and kind of anomaly as Markdown.

    ``notes`` say by name how the results were made. All text is escaped.
    """
    rows = _rows(evaluation, _pair_over_seeds, mean_and_spread)
    rows.insert(1, ["---", *["--:"] * len(evaluation.detectors)])
    table = [f"| {' | '.join(map(_escape, row))} |" for row in rows]
    lines = [f"- {_escape(key)}: {_escape(value)}" for key, value in notes.items()]
    parts = [f"# {_escape(title)}", _READING, "\n".join(table)]
    parts += ["## How this was made", "\n".join(lines)]
    with replacing(path) as part:
        part.write_text("\n\n".join(parts) + "\n", encoding="utf-8", newline="\n")


def _rows(evaluation, pair, share):
    """Return a row per kind of anomaly, one of their means and one of false alarms.

    ``pair`` writes AUROC and TNR of all seeds as text, ``share`` the false alarms.
    """
    area, tnr, rates = (
        evaluation._values(name) for name in ("auroc", "tnr_at_95tpr", "realised_fpr")
    )
    rows = [["anomaly", *evaluation.detectors]]
    for j, kind in enumerate(evaluation.anomalies):
        rows.append([kind, *map(pair, area[:, j], tnr[:, j])])
    # The mean over kinds first: the spread is that of the mean, not of the kinds.
    means = nan_mean(area, axis=1), nan_mean(tnr, axis=1)
    rows.append(["mean", *map(pair, *means)])
    rows.append(["false alarms", *map(share, nan_mean(rates, axis=1))])
    return rows


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


def _pair(area, tnr):
    area, tnr = 100 * nan_mean(area), 100 * nan_mean(tnr)
    return "-" if np.isnan(area) else f"{area:5.1f}/{tnr:3.0f}"


def _escape(text):
    """Escape what Markdown or HTML would read as markup."""
    text = escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", text)


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
