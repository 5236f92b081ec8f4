"""What the parts of a score are worth together: AUROC against their weights."""

from numbers import Integral

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._messages import brief, listed
from .._validation import to_array
from ..detectors import ClassConditionalDetector
from ..metrics import auroc
from ._display import (
    FARTHEST,
    check_labels,
    check_matplotlib,
    check_numbers,
    take_axes,
)

# Lines are told apart by colour, and where these end by marker.
_MARKERS = "osv^Dx+<>*ph"


class LayerWeightDisplay:
    """AUROC against the weight of one block of features: Figure 7 of paper C.

    The score of `ClassConditionalDetector` and `PerClassSVDD` is a weighted sum of one
    score per block of columns, most often an early layer and the logits. The picture
    shows how well it tells anomalies as the weight goes from one to the other: an end
    is one block alone, and where the middle is higher they help each other.

    It is recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    weights : ndarray of shape (n_weights,)
        Weights of the block, in [0, 1]; the others have the rest.
    curves : dict of str to ndarray of shape (n_weights,)
        The AUROC at each weight, for each kind of anomaly.
    names : list of str
        Names of the blocks.
    block : str
        Which of them has the weight.
    used : float, default=None
        The weight that the detector has; None marks none.
    metric : str, default="AUROC"
        What the curves show, for the axis.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the picture, after `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    skgrad.ClassConditionalDetector.block_scores : The scores that are weighed.
    LayerScoreDisplay : Which layer is the most discriminative.

    Notes
    -----
    The AUROC is that over all inputs; paper C averages it over the predicted classes.
    Of more than two blocks the others share the rest alike. A weight that was read off
    here must be judged by other anomalies than these.

    References
    ----------
    Zhao et al., "A Uniform Framework for Anomaly Detection in Deep Neural Networks",
    Fig. 7.

    Examples
    --------
    >>> from skgrad.inspection import LayerWeightDisplay
    >>> scores = [[0, 1], [3, 5], [1, 0], [2, 6]]
    >>> display = LayerWeightDisplay.from_predictions(
    ...     [1, 1, -1, -1], scores, ["conv1", "logits"], n_weights=3
    ... )
    >>> display.curves["anomaly"].tolist()
    [0.5, 0.5, 0.5]
    """

    def __init__(self, *, weights, curves, names, block, used=None, metric="AUROC"):
        self.weights = weights
        self.curves = curves
        self.names = names
        self.block = block
        self.used = used
        self.metric = metric

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, kinds=None, block=None, n_weights=11, ax=None
    ):
        """Draw what the blocks of a fitted detector are worth on labelled inputs.

        Parameters
        ----------
        estimator : ClassConditionalDetector or Pipeline
            A fitted `ClassConditionalDetector` or `PerClassSVDD` that scores two blocks
            or more one by one, or a pipeline that ends in one.
        X : array-like of shape (n_samples, *input_shape)
            Inputs, as the estimator takes them, that it was not fitted on.
        y : array-like of shape (n_samples,)
            +1 for in-distribution inputs, -1 for anomalies.
        kinds : array-like of str of shape (n_samples,), default=None
            The kind of anomaly of each input, for a curve for each; what stands at
            in-distribution inputs is ignored. None makes one curve.
        block : str, default=None
            The block whose weight is varied, one of ``block_names_``; None takes the
            last, most often the logits.
        n_weights : int, default=11
            How many weights from 0 to 1.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LayerWeightDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        detector, X = _last_step(estimator, X)
        names = detector.block_names_
        if len(names) < 2:
            raise ValueError(
                "estimator must score two blocks of columns or more one by one, to "
                f"weigh them; it has {listed(names)}. Give it a layer and the logits, "
                "with joint=False and include_logits=True."
            )
        scores = detector.block_scores(X)
        y = check_labels(y, len(scores), "y", both=True)
        return cls.from_predictions(
            y,
            scores,
            names,
            kinds=kinds,
            block=block,
            n_weights=n_weights,
            used=float(detector._weights[_place(block, names)]),
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true,
        block_scores,
        names,
        *,
        kinds=None,
        block=None,
        n_weights=11,
        used=None,
        ax=None,
    ):
        """Draw scores of blocks that are there already.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            +1 for in-distribution inputs, -1 for anomalies.
        block_scores : array-like of shape (n_samples, n_blocks)
            The score of each block, higher = more in-distribution.
        names : list of str of length n_blocks
            Names of the blocks.
        kinds : array-like of str of shape (n_samples,), default=None
            The kind of anomaly of each input; None makes one curve.
        block : str, default=None
            The block whose weight is varied; None takes the last.
        n_weights : int, default=11
            How many weights from 0 to 1.
        used : float, default=None
            A weight to mark; None marks none.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LayerWeightDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_predictions")
        if not isinstance(n_weights, Integral) or n_weights < 2:
            raise ValueError(
                f"n_weights must be an int of 2 or more; got {brief(n_weights)}."
            )
        scores = check_numbers(block_scores, "block_scores", n_axes=2)
        scores = np.clip(scores, -FARTHEST, FARTHEST)
        names = _checked_names(names, scores.shape[1])
        y_true = check_labels(y_true, len(scores), "y_true", both=True)
        place = _place(block, names)
        # The same weights that a user writes down: 0.3, not 0.30000000000000004.
        weights = np.linspace(0, 1, n_weights).round(12)
        rest = np.delete(scores, place, axis=1).mean(axis=1)
        mixtures = [w * scores[:, place] + (1 - w) * rest for w in weights]
        display = cls(
            weights=weights,
            curves={
                kind: np.array([auroc(y_true[rows], m[rows]) for m in mixtures])
                for kind, rows in _rows_of_kinds(y_true, kinds).items()
            },
            names=names,
            block=names[place],
            used=used,
        )
        return display.plot(ax)

    def plot(self, ax=None, *, name=None, styles=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            The title.
        styles : dict of str to dict, default=None
            For :meth:`matplotlib.axes.Axes.plot`, of the kinds that are in it.

        Returns
        -------
        LayerWeightDisplay
            The display, with ``ax_`` and ``figure_``.
        """
        n_rows = -(-len(self.curves) // 3) if len(self.curves) > 1 else 0
        ax = take_axes(self, ax, figsize=(6.4, 3.8 + 0.2 * n_rows))
        for number, (kind, curve) in enumerate(self.curves.items()):
            style = {"marker": _MARKERS[number % len(_MARKERS)], "ms": 4}
            style |= (styles or {}).get(kind, {})
            ax.plot(self.weights, 100 * np.asarray(curve), label=kind, **style)
        if self.used is not None:
            label = f"weight in use: {self.used:g}"
            ax.axvline(self.used, color="black", lw=0.8, ls=":", label=label)
        others = [name for name in self.names if name != self.block]
        rest = others[0] if len(others) == 1 else "the others share the rest alike"
        rest = f"{rest} has the rest" if len(others) == 1 else rest
        ax.set_xlabel(f"weight of {self.block} ({rest})")
        ax.set_ylabel(f"{self.metric}, %")
        ax.set_title(name or "")
        ax.grid(alpha=0.3)
        ax.legend(
            fontsize=8,
            ncols=3,
            frameon=False,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
        )
        return self


def _last_step(estimator, X):
    """Return the detector at the end of a pipeline, and what it is given."""
    check_is_fitted(estimator)
    while isinstance(estimator, Pipeline):
        if len(estimator.steps) > 1:
            X = estimator[:-1].transform(X)
        estimator = estimator[-1]
    if not isinstance(estimator, ClassConditionalDetector):
        raise TypeError(
            "estimator must be a ClassConditionalDetector or PerClassSVDD, or a "
            f"pipeline that ends in one; got {brief(estimator)}."
        )
    return estimator, X


def _checked_names(names, n_blocks):
    names = [names] if isinstance(names, str) else [str(name) for name in names]
    if n_blocks < 2 or len(names) != n_blocks or len(set(names)) != n_blocks:
        raise ValueError(
            "names must be different names, one for each of the two or more columns "
            f"of block_scores; got {brief(names)} for {n_blocks}."
        )
    return names


def _place(block, names):
    if block is None:
        return len(names) - 1
    if block not in names:
        raise ValueError(
            f"block must be None or one of {listed(names)}; got {brief(block)}."
        )
    return names.index(block)


def _rows_of_kinds(y, kinds):
    """Return for each kind of anomaly its rows and those in-distribution."""
    if kinds is None:
        return {"anomaly": np.full(len(y), True)}
    kinds = to_array(kinds, "kinds")
    if kinds.shape != y.shape:
        raise ValueError(
            f"kinds must hold one name for each of the {len(y)} inputs; got shape "
            f"{kinds.shape}."
        )
    kinds = kinds.astype(str)
    return {
        kind: (y == 1) | (kinds == kind)
        for kind in dict.fromkeys(kinds[y == -1].tolist())
    }
