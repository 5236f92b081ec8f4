"""How well each candidate layer tells anomalies, and which was chosen (paper C)."""

from collections.abc import Mapping

import numpy as np
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.validation import check_is_fitted

from .._messages import brief, listed
from ..model_selection import MostDiscriminativeLayer
from ._display import check_matplotlib, check_numbers, take_axes

_METRICS = {"auroc": "AUROC", "error": "detection error"}
# Longer names are cut at their beginning: what tells layers apart is their end.
_LONGEST = 32
_CHOSEN, _OTHER = "tab:red", "tab:blue"


class LayerScoreDisplay:
    """How well each candidate layer tells anomalies, with the chosen one marked.

    The picture of a choice by `MostDiscriminativeLayer`: if one layer stands out the
    choice is sure, and if many are alike it matters little. It shows how the layers do
    on the samples that the choice was made by, which flatters the chosen one.

    It is recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    layers : list of str
        The candidates, in the order in which they are drawn, from above.
    values : ndarray of shape (n_layers,)
        The metric of each, in [0, 1].
    chosen : str, default=None
        The layer that was taken; None marks none.
    metric : {"auroc", "error"}, default="auroc"
        What the values are: areas under the ROC curve, higher is better, or detection
        errors, lower is better.
    anomalies : str, default=None
        Where the anomalies came from, for the title: "given" or "generated".

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the picture, after `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    skgrad.MostDiscriminativeLayer : Makes the choice, by the detection error.
    LayerWeightDisplay : What the chosen layer and the logits are worth together.

    Notes
    -----
    For both metrics 0.5 is chance, where the lines begin: a longer line is a better
    layer. Equal errors go to the higher AUROC; a layer with the highest AUROC may have
    a higher error than another, and then is not chosen.

    Examples
    --------
    >>> from skgrad.inspection import LayerScoreDisplay
    >>> display = LayerScoreDisplay.from_predictions(
    ...     {"conv1": 0.97, "conv2": 0.93, "fc1": 0.8}, chosen="conv1"
    ... )
    >>> display.ax_.get_title()
    'layer chosen: 97.0 %'
    """

    def __init__(self, *, layers, values, chosen=None, metric="auroc", anomalies=None):
        self.layers = layers
        self.values = values
        self.chosen = chosen
        self.metric = metric
        self.anomalies = anomalies

    @classmethod
    def from_estimator(cls, estimator, *, metric="auroc", ax=None):
        """Draw the choice of a fitted `MostDiscriminativeLayer`.

        Parameters
        ----------
        estimator : MostDiscriminativeLayer or Pipeline
            The fitted transformer, or a fitted pipeline or union that contains it; of
            several the first is drawn.
        metric : {"auroc", "error"}, default="auroc"
            Area under the ROC curve, or detection error, by which it chose.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LayerScoreDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        choice = next(_choices(estimator), None)
        if choice is None:
            raise TypeError(
                "estimator must be a fitted MostDiscriminativeLayer, or a pipeline "
                f"that contains one; got {brief(estimator)}."
            )
        check_is_fitted(choice)
        _check_metric(metric)
        display = cls(
            layers=list(choice.candidates_),
            values=_values(choice.aurocs_ if metric == "auroc" else choice.errors_),
            chosen=choice.layer_,
            metric=metric,
            anomalies=choice.anomalies_used_,
        )
        return display.plot(ax)

    @classmethod
    def from_predictions(
        cls, values, chosen=None, *, metric="auroc", anomalies=None, ax=None
    ):
        """Draw values that are there already.

        Parameters
        ----------
        values : dict of str to float
            The metric of each layer, in [0, 1]; early layers first.
        chosen : str, default=None
            The layer that was taken; None marks none.
        metric : {"auroc", "error"}, default="auroc"
            What the values are.
        anomalies : str, default=None
            Where the anomalies came from, for the title.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LayerScoreDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_predictions")
        _check_metric(metric)
        if not isinstance(values, Mapping) or not values:
            raise TypeError(
                "values must be a dict of layer names to numbers, not empty; got "
                f"{brief(values)}."
            )
        layers = [str(layer) for layer in values]
        if chosen is not None and chosen not in layers:
            raise ValueError(
                f"chosen must be None or one of the layers, {listed(layers)}; got "
                f"{brief(chosen)}."
            )
        display = cls(
            layers=layers,
            values=_values(values),
            chosen=chosen,
            metric=metric,
            anomalies=anomalies,
        )
        return display.plot(ax)

    def plot(self, ax=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure, the higher the more layers there are.

        Returns
        -------
        LayerScoreDisplay
            The display, with ``ax_`` and ``figure_``.
        """
        n_layers = len(self.layers)
        height = min(max(0.22 * n_layers + 1.3, 2.4), 16)
        ax = take_axes(self, ax, figsize=(6.4, height))
        percent, places = 100 * np.asarray(self.values), np.arange(n_layers)
        chosen = np.array([layer == self.chosen for layer in self.layers])
        colors = np.where(chosen, _CHOSEN, _OTHER)
        ax.axvline(50, color="black", lw=0.8, ls=":")
        ax.hlines(places, 50, percent, color=colors, lw=2)
        ax.scatter(percent, places, color=colors, s=np.where(chosen, 60, 25), zorder=3)
        ax.set_ylim(n_layers - 0.4, -0.6)  # the first above
        self._label_layers(ax, chosen)
        better = "higher" if self.metric == "auroc" else "lower"
        ax.set_xlabel(
            f"{_METRICS[self.metric]}, % ({better} is better; dotted: chance)"
        )
        ax.grid(axis="x", alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_title(self._title(percent, chosen), fontsize="medium")
        return self

    def _label_layers(self, ax, chosen):
        """Write as many names as there is room for, always that of the chosen one."""
        inches = ax.get_window_extent().height / ax.figure.dpi
        room = 72 * inches / len(self.layers)  # points for each
        size = float(np.clip(0.8 * room, 6, 9))
        step = max(1, int(np.ceil(1.2 * size / room)))
        at = {place for place in range(len(chosen)) if place % step == 0}
        if chosen.any():
            # Its neighbours make room.
            here = int(chosen.argmax())
            at = {place for place in at if abs(place - here) >= step} | {here}
        places = sorted(at)
        names = [_shortened(self.layers[place]) for place in places]
        ax.set_yticks(places, names, fontsize=size)
        for place, label in zip(places, ax.get_yticklabels(), strict=True):
            if chosen[place]:
                label.set(color=_CHOSEN, fontweight="bold")

    def _title(self, percent, chosen):
        parts = []
        if chosen.any():
            # The name would be too long for many axes, and is in bold at their side.
            parts.append(f"layer chosen: {percent[chosen][0]:.1f} %")
        if self.anomalies:
            parts.append(f"anomalies {self.anomalies}")
        return "\n".join(parts)


def _choices(estimator):
    """Find the choices of a layer, however deep in pipelines and unions."""
    if isinstance(estimator, MostDiscriminativeLayer):
        yield estimator
    elif isinstance(estimator, Pipeline):
        for _, step in estimator.steps:
            yield from _choices(step)
    elif isinstance(estimator, FeatureUnion):
        for _, step in estimator.transformer_list:
            yield from _choices(step)


def _values(by_layer):
    values = check_numbers(list(by_layer.values()), "values", n_axes=1)
    if ((values < 0) | (values > 1)).any():
        raise ValueError(
            "values must lie between 0 and 1, they are shares; got "
            f"{brief(values.tolist())}."
        )
    return values


def _check_metric(metric):
    if not isinstance(metric, str) or metric not in _METRICS:
        raise ValueError(
            f"metric must be one of {listed(list(_METRICS))}; got {brief(metric)}."
        )


def _shortened(name):
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"
