"""The report as one HTML page without other files."""

import base64
import io
from importlib.resources import files

import numpy as np

from .._arrays import nan_mean
from .._compat import validate_params
from .._files import replacing
from .._optional import import_package
from ..inspection._detector_heat_map import METRIC_NAMES
from ._evaluation import Evaluation, as_evaluation
from ._figures import (
    draw_distributions,
    draw_heat_map,
    draw_roc_curves,
    rank_detectors,
)
from ._tables import mean_and_spread, percent

# Score distributions of more detectors and kinds would be too small to read.
MAX_DETECTORS = 6
MAX_ANOMALIES = 8
# Heading of a column of costs -> column of the evaluation.
_COSTS = {
    "fit, s": "fit_seconds",
    "score, s": "score_seconds",
    "memory, MB": "peak_memory_mb",
}


@validate_params(
    {"title": [str], "notes": [dict, None]}, prefer_skip_nested_validation=True
)
def write_html(results, path, *, title="Evaluation", notes=None):
    """Write a report: one page with tables and figures, and no other files.

    Parameters
    ----------
    results : Evaluation or list of Result
        The results; those of several seeds and folds are averaged.
    path : str or Path
        The file; replaced if it exists.
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
    so, too. Intervals are averaged over folds and seeds.
    """
    jinja = import_package("jinja2", "HTML pages need", "report")
    evaluation = as_evaluation(results)
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
        notes=notes or {},
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
    return Evaluation(
        [
            r
            for r in evaluation.results
            if r.detector in detectors and r.anomaly in kinds
        ]
    )


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
        heading: nan_mean(nan_mean(evaluation._values(name)))
        for heading, name in _COSTS.items()
    }
    costs = {name: cost for name, cost in costs.items() if not np.isnan(cost).all()}
    rows = []
    for i, detector in enumerate(evaluation.detectors):
        lowest, hardest = _least(evaluation, i, area)
        n_kinds = int((~np.isnan(nan_mean(area[i]))).sum())
        rows.append(
            [
                _cell(detector),
                _over_seeds(nan_mean(area[i], axis=0)),
                _cell(percent(lowest), lowest),
                _cell(hardest),
                _over_seeds(nan_mean(tnr[i], axis=0)),
                _over_seeds(nan_mean(rate[i], axis=0)),
                _cell(n_kinds, n_kinds),
                *(_amount(cost[i]) for cost in costs.values()),
            ]
        )
    headings = ["detector", "mean AUROC", "least AUROC", "at", "mean TNR@95TPR"]
    return [*headings, "false alarms", "kinds", *costs], rows


def _least(evaluation, row, area):
    """Return the least AUROC of a detector and the kind of anomaly it belongs to."""
    of_kind = nan_mean(area[row])
    if np.isnan(of_kind).all():
        return np.nan, "-"
    j = np.nanargmin(of_kind)
    return of_kind[j], evaluation.anomalies[j]


def _full_table(evaluation):
    """Return a row per detector and kind of anomaly, with intervals."""
    names = [*METRIC_NAMES, "realised_fpr"]

    def ends(name, which):
        return nan_mean(
            evaluation._values(lambda result: result.intervals[name][which])
        )

    values = {name: evaluation._values(name) for name in names}
    low, high = ({name: ends(name, which) for name in names} for which in (0, 1))
    sizes = [
        nan_mean(evaluation._values(name))
        for name in ("n_in_distribution", "n_anomalies")
    ]
    rows = [
        [
            _cell(detector),
            _cell(kind),
            *(_amount(n[i, j]) for n in sizes),
            *(
                _over_seeds(values[name][i, j], low[name][i, j], high[name][i, j])
                for name in names
            ),
        ]
        for i, detector in enumerate(evaluation.detectors)
        for j, kind in enumerate(evaluation.anomalies)
    ]
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
