"""How well each candidate layer finds anomalies, and the chosen one (paper C)."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._messages import brief, listed
from .._unwrap import find_step
from ..model_selection import MostDiscriminativeLayer
from ._display import Display, check_matplotlib, check_names

_METRICS = {"auroc": "AUROC", "error": "detection error"}
# Longer names are cut at their beginning, as those of layers differ at their end.
_LONGEST = 32
_CHOSEN, _OTHER = "tab:red", "tab:blue"


@dataclass(kw_only=True, eq=False, repr=False)
class LayerScoreDisplay(Display):
    """How well each candidate layer finds anomalies, with the chosen one marked.

    The picture of a choice by `MostDiscriminativeLayer`: if one layer stands out the
    choice is sure, and if many are alike it matters little. It shows how the layers do
    on the samples that the choice was made by, which flatters the chosen one.

    Parameters
    ----------
    layers : list of str
        The candidates, in the order in which they are drawn, from above.
    values : ndarray of shape (n_layers,)
        The metric of each, in [0, 1]; 0.5 is chance, where the lines begin.
    chosen : str, default=None
        The chosen layer; None marks none.
    metric : {"auroc", "error"}, default="auroc"
        Area under the ROC curve, higher is better, or detection error, lower is better.
        The choice is by the error, then by the AUROC.
    anomalies : str, default=None
        Where the anomalies came from, for the title: "given" or "generated".

    See Also
    --------
    skgrad.MostDiscriminativeLayer : Makes the choice.
    LayerWeightDisplay : What the chosen layer and the logits are worth together.

    Examples
    --------
    >>> from skgrad.inspection import LayerScoreDisplay
    >>> display = LayerScoreDisplay(
    ...     layers=["conv1", "conv2", "fc1"], values=[0.97, 0.93, 0.8], chosen="conv1"
    ... ).plot()
    >>> display.ax_.get_title()
    'layer chosen: 97.0 %'
    """

    layers: list
    values: np.ndarray
    chosen: str | None = None
    metric: str = "auroc"
    anomalies: str | None = None

    def __post_init__(self):
        if self.metric not in _METRICS:
            raise ValueError(
                f"metric must be one of {listed(list(_METRICS))}; got "
                f"{brief(self.metric)}."
            )
        self.values = np.asarray(self.values)
        self.layers = check_names(self.layers, "layers", len(self.values), "values")

    @classmethod
    def from_estimator(cls, estimator, *, metric="auroc", ax=None):
        """Draw the choice of a fitted `MostDiscriminativeLayer`.

        Parameters
        ----------
        estimator : MostDiscriminativeLayer or Pipeline
            The fitted transformer, or a fitted pipeline or union; its first is drawn.
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
        choice, _ = find_step(estimator, MostDiscriminativeLayer)
        if choice is None:
            raise TypeError(
                "estimator must be a fitted MostDiscriminativeLayer, or a pipeline "
                f"that contains one; got {brief(estimator)}."
            )
        check_is_fitted(choice)
        values = choice.aurocs_ if metric == "auroc" else choice.errors_
        return cls(
            layers=choice.candidates_,
            values=np.array([values[layer] for layer in choice.candidates_]),
            chosen=choice.layer_,
            metric=metric,
            anomalies=choice.anomalies_used_,
        ).plot(ax)

    @property
    def size(self):
        """Width and height of a new figure in inches."""
        return 6.4, max(0.22 * len(self.layers) + 1.3, 2.4)

    def _draw(self):
        ax, n_layers = self.ax_, len(self.layers)
        percent, places = 100 * self.values, np.arange(n_layers)
        chosen = np.array([layer == self.chosen for layer in self.layers])
        colors = np.where(chosen, _CHOSEN, _OTHER)
        ax.axvline(50, color="black", lw=0.8, ls=":")
        ax.hlines(places, 50, percent, color=colors, lw=2)
        ax.scatter(percent, places, color=colors, s=np.where(chosen, 60, 25), zorder=3)
        ax.set_ylim(n_layers - 0.4, -0.6)  # the first layer at the top
        self._label_layers(ax)
        better = "higher" if self.metric == "auroc" else "lower"
        ax.set_xlabel(
            f"{_METRICS[self.metric]}, % ({better} is better; dotted: chance)"
        )
        ax.grid(axis="x", alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
        # Without the name of the layer, which may be long and is written in bold.
        parts = [f"layer chosen: {value:.1f} %" for value in percent[chosen]]
        parts += [f"anomalies {self.anomalies}"] if self.anomalies else []
        ax.set_title("\n".join(parts), fontsize="medium")

    def _label_layers(self, ax):
        """Write all names, as small as the axes demand, the chosen one in bold."""
        inches = ax.get_window_extent().height / ax.figure.dpi
        size = min(9, 0.8 * 72 * inches / len(self.layers))
        names = [_shortened(layer) for layer in self.layers]
        ax.set_yticks(range(len(names)), names, fontsize=size)
        for layer, label in zip(self.layers, ax.get_yticklabels(), strict=True):
            if layer == self.chosen:
                label.set(color=_CHOSEN, fontweight="bold")


def _shortened(name):
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"
