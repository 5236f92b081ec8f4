"""Results as tables: for the terminal, and as Markdown."""

import re
from html import escape

import numpy as np

from .._arrays import nan_mean, nan_spread
from .._files import replacing
from ._evaluation import as_evaluation
from ._measures import (
    has_groups,
    mean_and_largest_regret,
    mean_over_groups,
    means_by_group,
)

_READING = (
    "Each cell: AUROC / TNR@95TPR in percent, ± the standard deviation over seeds if "
    "there are several; higher is better, 50 / 5 is chance. A dash: not run, or no "
    "anomalies. Regret: by how many points of AUROC the best of the other detectors is "
    "better, 0 if none is; lower is better. False alarms: share of the in-distribution "
    "test inputs that a detector rejects."
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
        One row per kind of anomaly, one column per detector. Below stand means, with
        two groups or more also by group and over groups; the mean and the largest
        regret in AUROC, if there are two detectors; and the share of in-distribution
        test inputs that each detector rejects.
    """
    evaluation = as_evaluation(results)
    # Groups are indented below the mean: the longer name would widen the table.
    rows = _rows(
        evaluation,
        _pair,
        lambda rate: f"{100 * nan_mean(rate):.1f} %",
        of_group="  {}",
    )
    rows[-1:-1] = _regret_rows(evaluation, _under_area)
    # A supervised detector is tested on a part of the anomalies, all others on all.
    n = evaluation._values("n_anomalies").max(
        axis=(0, 2), initial=0, where=~np.isnan(evaluation._values("realised_fpr"))
    )
    texts = ["n", *(f"{size:.0f}" for size in n)]
    texts += [""] * (len(rows) - len(texts))
    for row, text in zip(rows, texts, strict=True):
        row.insert(1, text)
    return _align(rows, rules=(1, len(evaluation.anomalies) + 1))


def write_markdown(evaluation, path, *, title, notes):
    """Write AUROC and TNR@95TPR of each detector and kind of anomaly as Markdown.

    ``notes`` say by name how the results were made. All text is escaped.
    """
    rows = _rows(evaluation, _pair_over_seeds, mean_and_spread)
    rows[-1:-1] = _regret_rows(evaluation, regret_cell)
    rows.insert(1, ["---", *["--:"] * len(evaluation.detectors)])
    table = [f"| {' | '.join(map(_escape, row))} |" for row in rows]
    lines = [f"- {_escape(key)}: {_escape(value)}" for key, value in notes.items()]
    parts = [f"# {_escape(title)}", _READING, "\n".join(table)]
    parts += ["## How this was made", "\n".join(lines)]
    with replacing(path) as part:
        part.write_text("\n\n".join(parts) + "\n", encoding="utf-8", newline="\n")


def _rows(evaluation, pair, share, of_group="mean of {}"):
    """Return rows of kinds of anomaly, of their means and of false alarms.

    ``pair`` writes AUROC and TNR of all seeds as text, ``share`` the false alarms, and
    ``of_group`` is the format of the name of a group's mean.
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
    if has_groups(evaluation):
        areas, tnrs = (means_by_group(evaluation, values) for values in (area, tnr))
        for group in areas:
            cells = map(pair, areas[group], tnrs[group])
            rows.append([of_group.format(group), *cells])
        over = (mean_over_groups(evaluation, values) for values in (area, tnr))
        rows.append(["mean over groups", *map(pair, *over)])
    rows.append(["false alarms", *map(share, nan_mean(rates, axis=1))])
    return rows


def _regret_rows(evaluation, write):
    """Return rows of the mean and the largest regret, none without rivals.

    ``write`` makes text of a pair, the regret and its spread, and of the kind if any.
    """
    if len(evaluation.detectors) < 2:
        return []
    means, *largest_and_kind = mean_and_largest_regret(evaluation)
    return [
        ["mean regret", *map(write, means)],
        ["largest regret", *map(write, *largest_and_kind)],
    ]


def percent(value, spread=np.nan, digits=1):
    """Write a share in percent, such as "97.3 ± 0.4"; a dash for NaN."""
    if np.isnan(value):
        return "-"
    text = f"{100 * value:.{digits}f}"
    return text if np.isnan(spread) else f"{text} ± {100 * spread:.{digits}f}"


def regret_cell(pair, kind=None):
    """Write a regret, which has a spread, and its kind: "34.5 ± 0.2 (PGD)"."""
    # Whoever is the best at all kinds has no regret at any.
    of_kind = "" if kind is None or not pair[0] > 0 else f" ({kind})"
    return percent(*pair) + of_kind


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


def _under_area(pair, _=None):
    """Write a regret where `_pair` has the AUROC; the kind would need much room."""
    return "-" if np.isnan(pair[0]) else f"{100 * pair[0]:5.1f}    "


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
