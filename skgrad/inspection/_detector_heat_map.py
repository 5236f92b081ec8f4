"""How well many detectors find many kinds of anomaly, as a coloured table."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .. import metrics
from .._arrays import nan_mean
from .._messages import brief, did_you_mean, naming
from ..detectors._scores import in_distribution_scores
from ._display import Display, check_matplotlib, check_numbers

# Names of the metrics in pictures and reports.
METRIC_NAMES = {
    "auroc": "AUROC",
    "tnr_at_95tpr": "TNR@95TPR",
    "aupr_in": "AUPR-in",
    "aupr_out": "AUPR-out",
    "detection_accuracy": "detection accuracy",
    "rejected_anomalies": "rejected anomalies",
}
# Chance is a half for these: what is below has another colour.
_FROM_CHANCE = ("auroc", "detection_accuracy")
# Size of the numbers in points, at most and at least, and their share of a cell.
_LARGEST, _SMALLEST, _SHARE = 8, 4, 0.3
_METRICS = ("auroc", "tnr_at_tpr", "aupr_in", "aupr_out", "detection_accuracy")
# The function takes any TPR; its default is 95 %.
_AT_DEFAULT = {"tnr_at_tpr": "tnr_at_95tpr"}


@dataclass(kw_only=True, eq=False, repr=False)
class DetectorHeatMapDisplay(Display):
    """A metric of every detector and kind of anomaly as a coloured table.

    It shows at once which detector is blind to which kind: a mean hides that. The last
    column apart is the mean of a row, over the cells that have a number. The colours of
    AUROC and detection accuracy begin at 50 (chance), with one more for what is less.

    Parameters
    ----------
    values : ndarray of shape (n_detectors, n_anomalies)
        The metric, a share in [0, 1]; NaN where there is none.
    detectors : list of str
        Names of the rows.
    anomalies : list of str
        Names of the columns.
    metric : str, default="auroc"
        The metric, for the label of the colours.

    Examples
    --------
    >>> from skgrad.inspection import DetectorHeatMapDisplay
    >>> display = DetectorHeatMapDisplay.from_predictions(
    ...     {"one": [3, 4], "other": [1, 5]},
    ...     {"one": {"noise": [1, 2]}, "other": {"noise": [2, 3]}},
    ... )
    >>> display.values.tolist()
    [[1.0], [0.5]]
    """

    values: np.ndarray
    detectors: list
    anomalies: list
    metric: str = "auroc"

    @property
    def means(self):
        """Mean of each row over the cells that have a number; NaN if none has."""
        return nan_mean(self.values)

    @classmethod
    def from_estimator(cls, estimators, X_test, X_anomaly, *, metric="auroc", ax=None):
        """Draw how well fitted detectors find kinds of anomaly.

        Parameters
        ----------
        estimators : dict of str to estimator
            Fitted outlier detectors or binary classifiers by name.
        X_test : array-like of shape (n_samples, *input_shape)
            In-distribution inputs that they were not fitted on.
        X_anomaly : dict of str to array-like of shape (n_anomalies, *input_shape)
            Anomalies by their kind; of a kind without any the cells are empty.
        metric : str or callable, default="auroc"
            One of "auroc", "tnr_at_tpr", "aupr_in", "aupr_out", "detection_accuracy";
            or a function of y_true (+1 and -1) and y_score that returns a share.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        DetectorHeatMapDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        _check_dict(estimators, "estimators", "detectors by name")
        _check_dict(X_anomaly, "X_anomaly", "anomalies by their kind")
        _check_metric(metric)
        scores_id, scores_anomaly = {}, {}
        for name, detector in estimators.items():
            with naming("X_test"):
                scores_id[name] = in_distribution_scores(detector, X_test)
            scores_anomaly[name] = dict.fromkeys(X_anomaly, ())
            for kind, X in X_anomaly.items():
                if len(X):
                    with naming(f"X_anomaly[{kind!r}]"):
                        scores_anomaly[name][kind] = in_distribution_scores(detector, X)
        return cls.from_predictions(scores_id, scores_anomaly, metric=metric, ax=ax)

    @classmethod
    def from_predictions(cls, scores_id, scores_anomaly, *, metric="auroc", ax=None):
        """Draw given scores.

        Parameters
        ----------
        scores_id : dict of str to array-like of shape (n_samples,)
            In-distribution scores by detector, higher = more in-distribution.
        scores_anomaly : dict of str to dict of str to array-like
            Scores of anomalies by detector and kind; without any, the cell is empty.
        metric : str or callable, default="auroc"
            One of "auroc", "tnr_at_tpr", "aupr_in", "aupr_out", "detection_accuracy";
            or a function of y_true (+1 and -1) and y_score that returns a share.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        DetectorHeatMapDisplay
            The display, drawn.
        """
        _check_dict(scores_id, "scores_id", "scores by detector")
        _check_dict(scores_anomaly, "scores_anomaly", "dicts of scores by detector")
        function, name = _check_metric(metric)
        kinds: dict = {}
        for detector, found in scores_anomaly.items():
            if detector not in scores_id:
                raise ValueError(
                    "scores_anomaly must have the detectors of scores_id; got "
                    f"{brief(detector)}.{did_you_mean(detector, map(str, scores_id))}"
                )
            _check_dict(found, f"scores_anomaly[{detector!r}]", "scores by kind")
            kinds |= dict.fromkeys(found)
        values = np.full((len(scores_id), len(kinds)), np.nan)
        for row, detector in enumerate(scores_id):
            known = _check_scores(scores_id[detector], f"scores_id[{detector!r}]")
            found = scores_anomaly.get(detector, {})
            for column, kind in enumerate(kinds):
                if np.size(found.get(kind, ())):
                    where = f"scores_anomaly[{detector!r}][{kind!r}]"
                    scores = _check_scores(found[kind], where)
                    y = np.repeat([1, -1], [len(known), len(scores)])
                    values[row, column] = function(y, np.concatenate([known, scores]))
        return cls(
            values=values,
            detectors=[str(detector) for detector in scores_id],
            anomalies=[str(kind) for kind in kinds],
            metric=name,
        ).plot(ax)

    @property
    def size(self):
        """Width and height of a new figure in inches."""
        n_rows, n_columns = self.values.shape
        names = max(map(len, self.detectors)) * 0.085
        return 0.46 * (n_columns + 2) + names + 1.3, 0.27 * n_rows + 2.2

    def _draw(self):
        ax = self.ax_
        # Means stand apart, behind an empty column.
        gap = np.full((len(self.values), 1), np.nan)
        table = 100 * np.hstack([self.values, gap, self.means[:, None]])
        image = ax.imshow(
            table,
            cmap=_colors(),
            vmin=50 if self.metric in _FROM_CHANCE else 0,
            vmax=100,
            aspect="auto",
        )
        _write_numbers(ax, image, table)
        n_kinds = len(self.anomalies)
        ax.set_xticks(
            [*range(n_kinds), n_kinds + 1],
            [*self.anomalies, "mean"],
            rotation=45,
            ha="left",
            rotation_mode="anchor",
        )
        ax.xaxis.tick_top()
        ax.set_yticks(range(len(table)), self.detectors)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_xlabel("kind of anomaly; apart: the mean")
        bar = ax.figure.colorbar(
            image, ax=ax, extend="min", shrink=0.8, aspect=30, pad=0.01
        )
        bar.outline.set_visible(False)
        bar.set_label(f"{METRIC_NAMES.get(self.metric, self.metric)}, percent")


def _check_dict(given, name, of_what):
    if not isinstance(given, Mapping) or not given:
        raise TypeError(
            f"{name} must be a dict of {of_what}, not empty; got {brief(given)}."
        )


def _check_scores(scores, name):
    return check_numbers(scores, name, ("n_samples",), finite=False)


def _check_metric(metric):
    """Return the function and its name."""
    if callable(metric):
        name = getattr(metric, "__name__", "metric")
        return metric, _AT_DEFAULT.get(name, name)
    if metric not in _METRICS:
        raise ValueError(
            f"metric must be one of {list(_METRICS)}, or a function of y_true and "
            f"y_score; got {brief(metric)}.{did_you_mean(metric, _METRICS)}"
        )
    return getattr(metrics, metric), _AT_DEFAULT.get(metric, metric)


def _colors():
    from matplotlib import colormaps

    return colormaps["viridis"].with_extremes(under="#7a1f3d", bad="white")


def _write_numbers(ax, image, table):
    """Write each number on its cell, light on dark and dark on light."""
    inches = ax.get_window_extent().width / ax.figure.dpi
    size = min(_LARGEST, _SHARE * 72 * inches / table.shape[1])
    if size < _SMALLEST:  # no longer legible
        return
    for (row, column), value in np.ndenumerate(table):
        if np.isnan(value):
            continue
        red, green, blue, _ = image.cmap(image.norm(value))
        # The luma of ITU-R BT.601: how bright the colour looks.
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        ax.text(
            column,
            row,
            # 99.96 is not rounded up to a perfect 100.0.
            "100" if value == 100 else f"{min(value, 99.94):.1f}",
            ha="center",
            va="center",
            fontsize=size,
            color="white" if dark else "black",
        )
