"""How well many detectors find many kinds of anomaly, as a coloured table."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .. import metrics
from .._arrays import group_means, nan_mean, regret
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
# Labels of the columns in which less is better.
_REGRETS = ["mean regret", "largest regret"]
# The function takes any TPR; its default is 95 %.
_AT_DEFAULT = {"tnr_at_tpr": "tnr_at_95tpr"}


@dataclass(kw_only=True, eq=False, repr=False)
class DetectorHeatMapDisplay(Display):
    """A metric of every detector and kind of anomaly as a coloured table.

    It shows at once which detector is blind to which kind: a mean hides that. Apart
    stand the means of a row over the cells that have a number: of the kinds in each
    group and over groups, if there are two groups, and over kinds. Last come the mean
    and the largest regret, if there are two detectors: by how much the best of the
    others is better for a kind of anomaly, 0 if none is. The colours of AUROC and
    detection accuracy begin at 50 (chance), with one more for what is less; a regret
    has the colour of 100 less the regret.

    Parameters
    ----------
    values : ndarray of shape (n_detectors, n_anomalies)
        The metric, a share in [0, 1] of which more is better; NaN where there is none.
    detectors : list of str
        Names of the rows.
    anomalies : list of str
        Names of the columns.
    metric : str, default="auroc"
        The metric, for the label of the colours.
    groups : dict of str to str, default=None
        The group of each kind of anomaly by kind; others form the group "other".

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
    groups: dict | None = None

    def __post_init__(self):
        if self.groups is None:
            return
        _check_dict(self.groups, "groups", "groups by kind of anomaly")
        for kind in self.groups:
            if kind not in self.anomalies:
                raise ValueError(
                    "groups must have the kinds of anomaly that are shown; got "
                    f"{brief(kind)}.{did_you_mean(kind, self.anomalies)}"
                )

    @property
    def means(self):
        """Mean of each row over the cells that have a number; NaN if none has."""
        return nan_mean(self.values)

    @property
    def group_means(self):
        """Mean of each row over the kinds of each group; a dict by group."""
        groups = self.groups or {}
        names = [groups.get(kind, "other") for kind in self.anomalies]
        return group_means(np.asarray(self.values), names)

    @property
    def regrets(self):
        """By how much the best rival exceeds each value; NaN without a rival."""
        return regret(np.asarray(self.values))

    @classmethod
    def from_estimator(
        cls, estimators, X_test, X_anomaly, *, metric="auroc", groups=None, ax=None
    ):
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
            or a function of y_true (+1 and -1) and y_score that returns a share, of
            which more is better.
        groups : dict of str to str, default=None
            The group of each kind of anomaly by kind; others form the group "other".
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
        return cls.from_predictions(
            scores_id, scores_anomaly, metric=metric, groups=groups, ax=ax
        )

    @classmethod
    def from_predictions(
        cls, scores_id, scores_anomaly, *, metric="auroc", groups=None, ax=None
    ):
        """Draw given scores.

        Parameters
        ----------
        scores_id : dict of str to array-like of shape (n_samples,)
            In-distribution scores by detector, higher = more in-distribution.
        scores_anomaly : dict of str to dict of str to array-like
            Scores of anomalies by detector and kind; without any, the cell is empty.
        metric : str or callable, default="auroc"
            One of "auroc", "tnr_at_tpr", "aupr_in", "aupr_out", "detection_accuracy";
            or a function of y_true (+1 and -1) and y_score that returns a share, of
            which more is better.
        groups : dict of str to str, default=None
            The group of each kind of anomaly by kind; others form the group "other".
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
            groups=groups,
        ).plot(ax)

    @property
    def size(self):
        """Width and height of a new figure in inches."""
        names = max(map(len, self.detectors)) * 0.085
        n_columns = len(self._columns())
        return 0.46 * n_columns + names + 1.3, 0.27 * len(self.values) + 2.2

    def _columns(self):
        """Return the numbers of each column by label; empty labels are gaps."""
        gap = np.full(len(self.values), np.nan)
        columns = list(zip(self.anomalies, np.transpose(self.values), strict=True))
        columns.append(("", gap))
        means = self.group_means
        if len(means) > 1:
            columns += [(f"mean of {name}", mean) for name, mean in means.items()]
            over_groups = nan_mean(np.array([*means.values()]), axis=0)
            columns.append(("mean over groups", over_groups))
        columns.append(("mean", self.means))
        regrets = self.regrets
        if not np.isnan(regrets).all():
            largest = np.fmax.reduce(regrets, axis=1)
            columns += [("", gap), (_REGRETS[0], nan_mean(regrets))]
            columns.append((_REGRETS[1], largest))
        return columns

    def _draw(self):
        ax = self.ax_
        labels, columns = zip(*self._columns(), strict=True)
        table = 100 * np.column_stack(columns)
        # No regret is best: it has the colour of the highest number.
        shades = np.where(np.isin(labels, _REGRETS), 100 - table, table)
        image = ax.imshow(
            shades,
            cmap=_colors(),
            vmin=50 if self.metric in _FROM_CHANCE else 0,
            vmax=100,
            aspect="auto",
        )
        _write_numbers(ax, image, table, shades)
        shown = [i for i, label in enumerate(labels) if label]
        ax.set_xticks(
            shown,
            [labels[i] for i in shown],
            rotation=45,
            ha="left",
            rotation_mode="anchor",
        )
        ax.xaxis.tick_top()
        ax.set_yticks(range(len(table)), self.detectors)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        apart = "the mean" if labels[-1] == "mean" else "means and regrets"
        ax.set_xlabel(f"kind of anomaly; apart: {apart}")
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


def _write_numbers(ax, image, table, shades):
    """Write each number on its cell, light on dark and dark on light."""
    inches = ax.get_window_extent().width / ax.figure.dpi
    size = min(_LARGEST, _SHARE * 72 * inches / table.shape[1])
    if size < _SMALLEST:  # no longer legible
        return
    for (row, column), value in np.ndenumerate(table):
        if np.isnan(value):
            continue
        red, green, blue, _ = image.cmap(image.norm(shades[row, column]))
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
