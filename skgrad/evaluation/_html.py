"""The report as one HTML page without other files."""

import base64
import io
from importlib.resources import files

import numpy as np

from .._arrays import nan_mean
from .._files import replacing
from .._optional import import_package
from ..inspection._detector_heat_map import METRIC_NAMES
from ._evaluation import Evaluation
from ._figures import (
    draw_distributions,
    draw_heat_map,
    draw_roc_curves,
    rank_detectors,
)
from ._measures import (
    has_groups,
    mean_and_largest_regret,
    mean_over_groups,
    means_by_group,
)
from ._tables import mean_and_spread, percent, regret_cell

# Score distributions of more detectors and kinds would be too small to read.
MAX_DETECTORS = 6
MAX_ANOMALIES = 8
# Heading of a column of costs -> column of the evaluation.
_COSTS = {
    "fit, s": "fit_seconds",
    "score, s": "score_seconds",
    "memory, MB": "peak_memory_mb",
}


def write_html(evaluation, path, *, title, notes):
    """Write a report: one page with tables and figures, and no other files.

    ``notes`` say by name how the results were made. Without matplotlib the page has no
    figures and says so.
    """
    jinja = import_package("jinja2", "HTML pages need", "report")
    rank = {name: place for place, name in enumerate(rank_detectors(evaluation))}
    evaluation = Evaluation(
        sorted(evaluation.results, key=lambda result: rank[result.detector])
    )
    shown = _hardest(evaluation)
    template = jinja.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).from_string(files(__package__).joinpath("report.html.jinja").read_text("utf-8"))
    page = template.render(
        title=title,
        notes=notes,
        n_seeds=len(evaluation.seeds),
        overview=_overview(evaluation),
        heat_map=_image(draw_heat_map, evaluation),
        distributions=_image(draw_distributions, shown),
        n_shown=(len(shown.detectors), len(shown.anomalies)),
        n_all=(len(evaluation.detectors), len(evaluation.anomalies)),
        roc_curves=_image(draw_roc_curves, evaluation),
        full=_full_table(evaluation),
    )
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8", newline="\n")


def _hardest(evaluation):
    """Return the results of the best detectors on the hardest kinds of anomaly."""
    area = nan_mean(nan_mean(evaluation._values("auroc")), axis=0)
    order = np.argsort(np.nan_to_num(area, nan=2.0), kind="stable")
    kinds = {evaluation.anomalies[j] for j in order[:MAX_ANOMALIES]}
    detectors = evaluation.detectors[:MAX_DETECTORS]
    results = (r for r in evaluation.results if r.anomaly in kinds)
    return Evaluation(r for r in results if r.detector in detectors)


def _image(draw, evaluation):
    """Draw a figure as a data URL, or return why there is none."""
    try:
        from matplotlib import rc_context

        # Same results, same file: no random ids and no date.
        with rc_context({"svg.hashsalt": "skgrad"}):
            picture = io.BytesIO()
            draw(evaluation).savefig(picture, format="svg", metadata={"Date": None})
    except ImportError as error:
        return {"missing": str(error)}
    # As a separate image each: ids of several figures would clash in one page.
    content = base64.b64encode(picture.getvalue()).decode("ascii")
    return {"source": f"data:image/svg+xml;base64,{content}"}


# Tables: headings, and rows of cells. A cell is its text, what the page sorts it by
# ("" for gaps, which come last) and what stands below in small print.


def _overview(evaluation):
    """Return a row per detector."""
    area, tnr, rate = (
        evaluation._values(name) for name in ("auroc", "tnr_at_95tpr", "realised_fpr")
    )
    costs = {
        head: nan_mean(nan_mean(evaluation._values(n))) for head, n in _COSTS.items()
    }
    costs = {head: cost for head, cost in costs.items() if not np.isnan(cost).all()}
    of_groups, of_regret = _group_columns(evaluation, area), _regret_columns(evaluation)
    rows = []
    for i, detector in enumerate(evaluation.detectors):
        of_kind = nan_mean(area[i])
        n_kinds = int((~np.isnan(of_kind)).sum())
        hardest = np.argmin(np.nan_to_num(of_kind, nan=2.0))
        rows.append(
            [
                _cell(detector),
                _over_seeds(nan_mean(area[i], axis=0)),
                *(column[i] for column in of_groups.values()),
                _cell(percent(of_kind[hardest]), of_kind[hardest]),
                _cell(evaluation.anomalies[hardest] if n_kinds else "-"),
                *(column[i] for column in of_regret.values()),
                _over_seeds(nan_mean(tnr[i], axis=0)),
                _over_seeds(nan_mean(rate[i], axis=0)),
                _cell(n_kinds, n_kinds),
                *(_amount(cost[i]) for cost in costs.values()),
            ]
        )
    headings = ["detector", "mean AUROC", *of_groups, "least AUROC", "at", *of_regret]
    return [*headings, "mean TNR@95TPR", "false alarms", "kinds", *costs], rows


def _group_columns(evaluation, area):
    """Return cells of the AUROC over groups and in each, by heading; none of one."""
    if not has_groups(evaluation):
        return {}
    columns = {
        "mean over groups": mean_over_groups(evaluation, area),
        **means_by_group(evaluation, area),
    }
    return {head: [*map(_over_seeds, values)] for head, values in columns.items()}


def _regret_columns(evaluation):
    """Return cells of the mean and the largest regret by heading; none of one."""
    if len(evaluation.detectors) < 2:
        return {}
    means, *largest_and_kind = mean_and_largest_regret(evaluation)
    return {
        "mean regret": [_cell(regret_cell(pair), pair[0]) for pair in means],
        "largest regret": [
            _cell(regret_cell(pair, kind), pair[0])
            for pair, kind in zip(*largest_and_kind, strict=True)
        ],
    }


def _full_table(evaluation):
    """Return a row per detector and kind of anomaly, with intervals."""
    names = [*METRIC_NAMES, "realised_fpr"]

    def low_and_high(name):
        for end in (0, 1):
            yield nan_mean(
                evaluation._values(lambda r, end=end: r.intervals[name][end])
            )

    figures = [(evaluation._values(name), *low_and_high(name)) for name in names]
    sizes = [
        nan_mean(evaluation._values(name))
        for name in ("n_in_distribution", "n_anomalies")
    ]
    rows = []
    for i, detector in enumerate(evaluation.detectors):
        for j, kind in enumerate(evaluation.anomalies):
            cells = [_amount(n[i, j]) for n in sizes]
            cells += [_over_seeds(*(part[i, j] for part in of)) for of in figures]
            rows.append([_cell(detector), _cell(kind), *cells])
    headings = ["detector", "anomaly", "ID inputs", "anomalies", *METRIC_NAMES.values()]
    return [*headings, "false alarms"], rows


def _cell(text, number=None, below=""):
    """Return a cell of a name, or of a number, which may be NaN."""
    key = text if number is None else "" if np.isnan(number) else f"{number:.6f}"
    return {"text": text, "key": key, "below": below}


def _over_seeds(values, low=np.nan, high=np.nan):
    """Return a cell of the mean over seeds with the spread, and an interval below."""
    below = "" if np.isnan(low) else f"{100 * low:.1f} to {100 * high:.1f}"
    return _cell(mean_and_spread(values), nan_mean(values), below)


def _amount(value):
    """Return a cell of a number with three digits at least, never a power of ten."""
    text = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return _cell("-" if np.isnan(value) else text, value)
