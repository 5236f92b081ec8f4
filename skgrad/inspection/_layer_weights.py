"""What the parts of a score are worth together: AUROC against their weights."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._labels import check_signs
from .._messages import brief, listed
from .._unwrap import last_step, transform_to_last_step
from ..detectors._base_class_conditional import BaseClassConditional
from ..metrics import auroc
from ._display import FARTHEST, Display, check_matplotlib, check_names

# Rounded to what a user writes down: 0.3, not 0.30000000000000004.
_WEIGHTS = np.linspace(0, 1, 11).round(12)
# Lines differ by colour, and by marker when the colours start again.
_MARKERS = "osv^Dx+<>*ph"


@dataclass(kw_only=True, eq=False, repr=False)
class LayerWeightDisplay(Display):
    """AUROC against the weight of one block of features: Figure 7 of paper C.

    The score of `ClassConditionalDetector` and `PerClassSVDD` is a weighted sum of one
    score per block of columns, most often an early layer and the logits. The picture
    shows how well it finds anomalies as the weight goes from one to the other: an end
    is one block alone, and where the middle is higher they help each other.

    Parameters
    ----------
    weights : ndarray of shape (n_weights,)
        Weights of the block, in [0, 1]; the others share the rest equally.
    curves : dict of str to ndarray of shape (n_weights,)
        The AUROC at each weight, for each kind of anomaly.
    blocks : list of str
        Names of the blocks.
    block : str
        The block that has the weight.
    used : float, default=None
        The weight that the detector has; None marks none.
    metric : str, default="AUROC"
        What the curves show, for the axis.

    Notes
    -----
    The AUROC is that over all inputs; paper C averages it over the predicted classes.
    A weight that is chosen by this picture must be tested on other anomalies.

    References
    ----------
    Zhao et al., "A Uniform Framework for Anomaly Detection in Deep Neural Networks",
    Fig. 7.

    Examples
    --------
    >>> from skgrad.inspection import LayerWeightDisplay
    >>> display = LayerWeightDisplay(
    ...     weights=[0, 1],
    ...     curves={"noise": [0.9, 0.7]},
    ...     blocks=["conv1", "logits"],
    ...     block="logits",
    ... ).plot()
    >>> display.ax_.get_xlabel()
    'weight of logits (conv1 has the rest)'
    """

    weights: np.ndarray
    curves: dict
    blocks: list
    block: str
    used: float | None = None
    metric: str = "AUROC"

    @classmethod
    def from_estimator(cls, estimator, X, y, *, kinds=None, block=None, ax=None):
        """Draw what the blocks of a fitted detector are worth on labelled inputs.

        Parameters
        ----------
        estimator : ClassConditionalDetector, PerClassSVDD or Pipeline
            A fitted one that scores two blocks or more one by one.
        X : array-like of shape (n_samples, *input_shape)
            Inputs that the estimator was not fitted on.
        y : array-like of shape (n_samples,)
            +1 for in-distribution inputs, -1 for anomalies.
        kinds : array-like of str of shape (n_samples,), default=None
            The kind of each anomaly, for a curve for each; None makes one curve.
        block : str, default=None
            One of ``block_names_``; None takes the last, most often the logits.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LayerWeightDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        detector = last_step(estimator)
        if not isinstance(detector, BaseClassConditional):
            raise TypeError(
                "estimator must be a ClassConditionalDetector or PerClassSVDD, or a "
                f"pipeline that ends in one; got {brief(estimator)}."
            )
        names = detector.block_names_
        if len(names) < 2:
            raise ValueError(
                "estimator must score two blocks of columns or more one by one, to "
                f"weigh them; it has {listed(names)}. Give it a layer and the logits, "
                "with joint=False and include_logits=True."
            )
        scores = detector.block_scores(transform_to_last_step(estimator, X))
        y = check_signs(y, len(scores), "y", both=True)
        # Infinity has no weighted mean.
        scores = np.clip(scores, -FARTHEST, FARTHEST)
        place = _find_block(block, names)
        rest = np.delete(scores, place, axis=1).mean(axis=1)
        mixtures = [w * scores[:, place] + (1 - w) * rest for w in _WEIGHTS]
        curves = {
            kind: np.array([auroc(y[rows], m[rows]) for m in mixtures])
            for kind, rows in _rows_by_kind(y, kinds).items()
        }
        return cls(
            weights=_WEIGHTS,
            curves=curves,
            blocks=list(names),
            block=names[place],
            used=float(detector._weights[place]),
        ).plot(ax)

    @property
    def size(self):
        """Width and height of a new figure in inches."""
        n_rows = -(-len(self.curves) // 3) if len(self.curves) > 1 else 0
        return 6.4, 3.8 + 0.2 * n_rows

    def _draw(self):
        ax = self.ax_
        for number, (kind, curve) in enumerate(self.curves.items()):
            style = {"marker": _MARKERS[number % len(_MARKERS)], "ms": 4}
            ax.plot(self.weights, 100 * np.asarray(curve), label=kind, **style)
        if self.used is not None:
            label = f"weight in use: {self.used:g}"
            ax.axvline(self.used, color="black", lw=0.8, ls=":", label=label)
        others = [name for name in self.blocks if name != self.block]
        rest = f"{others[0]} has the rest"
        rest = rest if len(others) == 1 else "the others share the rest equally"
        ax.set_xlabel(f"weight of {self.block} ({rest})")
        ax.set_ylabel(f"{self.metric}, %")
        ax.grid(alpha=0.3)
        ax.legend(
            fontsize=8,
            ncols=3,
            frameon=False,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
        )


def _find_block(block, blocks):
    """Return the index of a block, by default the last."""
    if block is None:
        return len(blocks) - 1
    if block not in blocks:
        raise ValueError(
            f"block must be None or one of {listed(blocks)}; got {brief(block)}."
        )
    return blocks.index(block)


def _rows_by_kind(y, kinds):
    """Return the rows of each kind of anomaly and of all in-distribution inputs."""
    if kinds is None:
        return {"anomaly": np.full(len(y), True)}
    kinds = np.array(check_names(kinds, "kinds", len(y), "inputs"))
    present = dict.fromkeys(kinds[y == -1].tolist())
    return {kind: (y == 1) | (kinds == kind) for kind in present}
