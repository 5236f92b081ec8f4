"""How well many detectors tell many kinds of anomaly, as a coloured table."""

from collections.abc import Mapping

import numpy as np

from .. import metrics
from .._arrays import nan_mean
from .._messages import brief, did_you_mean, naming
from ..detectors._scores import in_distribution_scores
from ._display import check_matplotlib, check_numbers, take_axes

# What axes call a metric.
METRIC_NAMES = {
    "auroc": "AUROC",
    "tnr_at_95tpr": "TNR@95TPR",
    "aupr_in": "AUPR-in",
    "aupr_out": "AUPR-out",
    "detection_accuracy": "detection accuracy",
    "rejected_anomalies": "rejected anomalies",
}
# Chance is a half in these: below it is another colour.
_FROM_CHANCE = ("auroc", "detection_accuracy")
# Size of the numbers in points, their share of a cell's width, and the last legible.
_FONT, _FONT_PER_CELL, _SMALLEST = 8, 0.3, 4
_WRITTEN = {"tnr_at_tpr": "tnr_at_95tpr"}
_METRICS = ("auroc", "tnr_at_tpr", "aupr_in", "aupr_out", "detection_accuracy")


class DetectorHeatMapDisplay:
    """A metric of every detector and kind of anomaly as a coloured table.

    Its use is to see at once which detector is blind to which kind: a mean hides that.

    It is recommended to use `from_estimator` or `from_predictions`.

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

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the picture, after `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    skgrad.evaluation.plot_heat_map : The same of an evaluation, over seeds and folds.
    ScoreDistributionDisplay : One detector and all its scores.

    Notes
    -----
    The last column apart is the mean of a row, over the cells that have a number. The
    colours of AUROC and detection accuracy begin at 50 (chance), with one more colour
    for what is less.

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

    def __init__(self, *, values, detectors, anomalies, metric="auroc"):
        self.values = values
        self.detectors = detectors
        self.anomalies = anomalies
        self.metric = metric

    @property
    def means(self):
        """Mean of each row over the cells that have a number; NaN if none has."""
        return nan_mean(self.values)

    @classmethod
    def from_estimator(cls, estimators, X_id, X_anomaly, *, metric="auroc", ax=None):
        """Draw how fitted detectors tell kinds of anomaly.

        Parameters
        ----------
        estimators : dict of str to estimator
            Fitted outlier detectors or binary classifiers, or pipelines that end in
            one, by name.
        X_id : array-like of shape (n_samples, *input_shape)
            In-distribution inputs that they were not fitted on.
        X_anomaly : dict of str to array-like of shape (n_anomalies, *input_shape)
            Anomalies by their kind; of a kind without any the cells are empty.
        metric : str or callable, default="auroc"
            One of ``"auroc"``, ``"tnr_at_tpr"``, ``"aupr_in"``, ``"aupr_out"`` and
            ``"detection_accuracy"`` of `skgrad.metrics`, or a function of y_true (+1
            and -1) and y_score that returns a share in [0, 1].
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
        _checked_metric(metric)
        kinds = {kind: X for kind, X in X_anomaly.items() if len(X)}
        scores_id, scores_anomaly = {}, {}
        for name, detector in estimators.items():
            with naming("X_id"):
                scores_id[name] = in_distribution_scores(detector, X_id)
            scores_anomaly[name] = dict.fromkeys(X_anomaly, ())
            for kind, X in kinds.items():
                with naming(f"X_anomaly[{kind!r}]"):
                    scores_anomaly[name][kind] = in_distribution_scores(detector, X)
        return cls.from_predictions(scores_id, scores_anomaly, metric=metric, ax=ax)

    @classmethod
    def from_predictions(cls, scores_id, scores_anomaly, *, metric="auroc", ax=None):
        """Draw scores that are there already.

        Parameters
        ----------
        scores_id : dict of str to array-like of shape (n_samples,)
            Scores of in-distribution inputs by detector, higher = more
            in-distribution.
        scores_anomaly : dict of str to dict of str to array-like
            Scores of the anomalies by detector and kind. What is missing, or has no
            scores, is an empty cell.
        metric : str or callable, default="auroc"
            As in `from_estimator`.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        DetectorHeatMapDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_predictions")
        _check_dict(scores_id, "scores_id", "scores by detector")
        _check_dict(scores_anomaly, "scores_anomaly", "dicts of scores by detector")
        judge, name = _checked_metric(metric)
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
            found = scores_anomaly.get(detector, {})
            for column, kind in enumerate(kinds):
                if np.size(found.get(kind, ())):
                    values[row, column] = _judged(
                        judge, scores_id[detector], found[kind], detector, kind
                    )
        display = cls(
            values=values,
            detectors=[str(detector) for detector in scores_id],
            anomalies=[str(kind) for kind in kinds],
            metric=name,
        )
        return display.plot(ax)

    @property
    def size(self):
        """Width and height in inches of a figure of its own."""
        n_rows, n_columns = self.values.shape
        names = max(map(len, self.detectors)) * 0.085
        return 0.46 * (n_columns + 2) + names + 1.3, 0.27 * n_rows + 2.2

    def plot(self, ax=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure, the larger the more there is in it.

        Returns
        -------
        DetectorHeatMapDisplay
            The display, with ``ax_`` and ``figure_``.
        """
        ax = take_axes(self, ax, figsize=self.size)
        self.draw(ax)
        ax.set_xlabel("kind of anomaly; apart: the mean")
        return self

    def draw(self, ax):
        """Draw table and colours into axes of a figure of any kind.

        Parameters
        ----------
        ax : matplotlib.axes.Axes
            Where to draw.
        """
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


def _checked_metric(metric):
    """Return the function and its name."""
    if callable(metric):
        name = getattr(metric, "__name__", "metric")
        return metric, _WRITTEN.get(name, name)
    if metric not in _METRICS:
        raise ValueError(
            f"metric must be one of {list(_METRICS)}, or a function of y_true and "
            f"y_score; got {brief(metric)}.{did_you_mean(metric, _METRICS)}"
        )
    return getattr(metrics, metric), _WRITTEN.get(metric, metric)


def _judged(judge, normal, anomalous, detector, kind):
    """Return the metric of one cell."""
    normal = check_numbers(normal, f"scores_id[{detector!r}]", n_axes=1)
    name = f"scores_anomaly[{detector!r}][{kind!r}]"
    anomalous = check_numbers(anomalous, name, n_axes=1)
    y = np.repeat([1, -1], [len(normal), len(anomalous)])
    return float(judge(y, np.concatenate([normal, anomalous])))


def _colors():
    from matplotlib import colormaps

    return colormaps["viridis"].with_extremes(under="#7a1f3d", bad="white")


def _write_numbers(axes, image, table):
    """Write each number on its cell, light on dark and dark on light."""
    inches = axes.get_window_extent().width / axes.figure.dpi
    size = min(_FONT, _FONT_PER_CELL * 72 * inches / table.shape[1])
    if size < _SMALLEST:  # the colours must do
        return
    for (row, column), value in np.ndenumerate(table):
        if np.isnan(value):
            continue
        red, green, blue, _ = image.cmap(image.norm(value))
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        axes.text(
            column,
            row,
            # 99.96 is not 100.0: no rounding up to perfection.
            "100" if value == 100 else f"{min(value, 99.94):.1f}",
            ha="center",
            va="center",
            fontsize=size,
            color="white" if dark else "black",
        )
