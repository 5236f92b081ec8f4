"""The report as one page that needs nothing else."""

import base64
import io
from html import escape

import numpy as np

from ..._compat import validate_params
from ..._files import write_text
from ...inspection._detector_heat_map import METRIC_NAMES
from ._distributions import plot_score_distributions
from ._figures import check_matplotlib, plot_heat_map, plot_roc_curves
from ._page import definitions, name_cell, page, table
from ._summary import Summary, nan_mean, nan_spread
from ._tables import percent

# More panels of distributions than this nobody looks at.
MAX_DETECTORS = 6
MAX_ANOMALIES = 8
INTERVALS = (
    "Below each figure stands its 95 % interval over test inputs: of metrics by the "
    "bootstrap, of the shares that are rejected by Wilson's method."
)


@validate_params(
    {"title": [str], "notes": [dict, None]},
    prefer_skip_nested_validation=True,
)
def write_html(
    results,
    path,
    *,
    title="Evaluation",
    notes=None,
):
    """Write a report: one page with tables and figures, and nothing outside it.

    Parameters
    ----------
    results : Evaluation or list of Result
        The results; those of several seeds and folds are averaged.
    path : str or Path
        The file; replaced if it exists, never half written.
    title : str, default="Evaluation"
        The heading.
    notes : dict of str to object, default=None
        How it was made: versions, date, seeds, sizes.

    Raises
    ------
    ValueError
        If there are no results.

    See Also
    --------
    write_markdown : Write a page of text.

    Notes
    -----
    Detectors are in the order of their mean AUROC. Score distributions are shown of the
    six best detectors and the eight kinds of anomaly that detectors find hardest on
    average, and the page says so. Without matplotlib the page has no figures and says
    that, too. Intervals are averaged over folds and seeds.
    """
    summary = _ranked(Summary(results))
    sections = [
        ("summary", "Summary", _overview(summary)),
        ("heat-map", "AUROC of each detector and kind of anomaly", _heat_map(summary)),
        ("scores", "Scores and thresholds", _distributions(summary)),
        ("roc", "ROC curves", _roc_curves(summary)),
        ("all", "All numbers", _full_table(summary)),
        ("made", "How this was made", definitions(notes or {})),
    ]
    if not notes:
        sections.pop()
    write_text(page(title, sections), path)


def _ranked(summary):
    """Put the best detector first; names decide between equals."""
    area = nan_mean(summary.mean("auroc"))
    rank = {
        summary.detectors[i]: position
        for position, i in enumerate(np.argsort(-np.nan_to_num(area, nan=-1.0)))
    }
    return Summary(sorted(summary.results, key=lambda r: rank[r.detector]))


def _overview(summary):
    """Write a row per detector."""
    area, tnr, rate = (
        summary.values(name) for name in ("auroc", "tnr_at_95tpr", "realised_fpr")
    )
    costs = {name: nan_mean(summary.mean(key)) for name, (key, _) in COSTS.items()}
    costs = {name: cost for name, cost in costs.items() if not np.isnan(cost).all()}
    rows = []
    for i, detector in enumerate(summary.detectors):
        of_kind = nan_mean(area[i])
        there = ~np.isnan(of_kind)
        hardest = np.nanargmin(of_kind) if there.any() else None
        rows.append(
            [
                name_cell(detector),
                _over_seeds(nan_mean(area[i], axis=0)),
                _number(np.nan if hardest is None else of_kind[hardest]),
                name_cell("-" if hardest is None else summary.anomalies[hardest]),
                _over_seeds(nan_mean(tnr[i], axis=0)),
                _over_seeds(nan_mean(rate[i], axis=0)),
                (f"{there.sum()}", f"{there.sum()}"),
                *(_amount(cost[i], COSTS[name][1]) for name, cost in costs.items()),
            ]
        )
    headings = ["detector", "mean AUROC", "least AUROC", "at", "mean TNR@95TPR"]
    headings += ["false alarms", "kinds", *costs]
    return f"<p>{_reading(summary)}</p>\n{table(headings, rows)}"


# Column: attribute of the results, and what its unit takes to be the column's.
COSTS = {
    "fit, s": ("fit_seconds", 1),
    "score, s": ("score_seconds", 1),
    "memory, MB": ("peak_memory", 2**20),
}


def _reading(summary):
    n = len(summary.seeds)
    seeds = (
        "One seed." if n == 1 else f"Behind ±: the standard deviation over {n} seeds."
    )
    return (
        "In percent. AUROC: 100 is perfect, 50 is chance. TNR@95TPR: share of "
        "anomalies rejected where 95 % of the in-distribution inputs are accepted. "
        "False alarms: share of in-distribution test inputs that the detector rejects "
        "at its own threshold. Kinds: how many kinds of anomaly the means are over. "
        f"{seeds} A dash: not run, or no anomalies. A click on a heading sorts."
    )


def _heat_map(summary):
    figure = _image(
        plot_heat_map, summary, "AUROC in percent; the table below has all numbers"
    )
    return f"<p>Means over seeds. White: not run, or no anomalies.</p>\n{figure}"


def _distributions(summary):
    area = nan_mean(summary.mean("auroc"), axis=0)
    hardest = np.argsort(np.nan_to_num(area, nan=2.0), kind="stable")[:MAX_ANOMALIES]
    kinds = [summary.anomalies[j] for j in sorted(hardest)]
    detectors = summary.detectors[:MAX_DETECTORS]
    shown = [
        r for r in summary.results if r.detector in detectors and r.anomaly in kinds
    ]
    cap = (
        f"Of {len(summary.detectors)} detectors and {len(summary.anomalies)} kinds of "
        f"anomaly, the {len(detectors)} detectors with the highest mean AUROC and the "
        f"{len(kinds)} kinds that detectors find hardest on average. "
        if len(detectors) < len(summary.detectors)
        or len(kinds) < len(summary.anomalies)
        else ""
    )
    figure = _image(plot_score_distributions, shown, "Score distributions")
    return f"<p>{cap}The first seed and fold.</p>\n{figure}"


def _roc_curves(summary):
    figure = _image(plot_roc_curves, summary, "ROC curves")
    return f"<p>The first seed and fold. Dotted: 95 % accepted.</p>\n{figure}"


def _image(plot, results, text):
    """Draw a figure into the page, or say why it is missing."""
    try:
        check_matplotlib()
        from matplotlib import rc_context

        # Same results, same file: no random ids and no date.
        with rc_context({"svg.hashsalt": "skgrad"}):
            picture = io.BytesIO()
            plot(results).savefig(picture, format="svg", metadata={"Date": None})
    except ImportError as error:
        return f"<p>Not drawn. {escape(str(error))}</p>"
    content = base64.b64encode(picture.getvalue()).decode("ascii")
    # As an image of its own, so that ids of several figures do not clash.
    return (
        f'<figure><img alt="{escape(text)}" '
        f'src="data:image/svg+xml;base64,{content}"></figure>'
    )


def _full_table(summary):
    """Write a row per detector and kind of anomaly, with intervals."""
    names = [*METRIC_NAMES, "realised_fpr"]

    def ends(name, which):
        return summary.mean(lambda r: r.intervals.get(name, (np.nan, np.nan))[which])

    values = {name: summary.values(name) for name in names}
    low, high = ({name: ends(name, which) for name in names} for which in (0, 1))
    n_id = summary.mean(lambda r: len(r.scores_id))
    n_anomalies = summary.mean(lambda r: len(r.scores_anomaly))
    rows = [
        [
            name_cell(detector),
            name_cell(kind),
            *(_amount(n[i, j]) for n in (n_id, n_anomalies)),
            *(
                _with_interval(values[name][i, j], low[name][i, j], high[name][i, j])
                for name in names
            ),
        ]
        for i, detector in enumerate(summary.detectors)
        for j, kind in enumerate(summary.anomalies)
    ]
    headings = ["detector", "anomaly", "ID inputs", "anomalies", *METRIC_NAMES.values()]
    content = table([*headings, "false alarms"], rows, n_names=2)
    label = '<label>Only rows with <input type="search" placeholder="name"></label>'
    return f"<p>In percent. {escape(INTERVALS)}</p>\n{label}\n{content}"


def _with_interval(over_seeds, low, high):
    html, value = _over_seeds(over_seeds)
    if not np.isnan(low):
        ends = f"{100 * low:.1f} to {100 * high:.1f}"
        html += f'<br><span class="interval">{ends}</span>'
    return html, value


def _over_seeds(values):
    """Make a cell of the mean over seeds, with the spread."""
    mean = nan_mean(values)
    return percent(mean, nan_spread(values)), _key(mean)


def _number(value):
    return percent(value), _key(value)


def _amount(value, unit=1):
    if np.isnan(value):
        return "-", ""
    # Three digits at least, but never a power of ten.
    amount = value / unit
    text = f"{amount:.0f}" if amount >= 100 else f"{amount:.3g}"
    return text, _key(value)


def _key(value):
    return "" if np.isnan(value) else f"{value:.6f}"
