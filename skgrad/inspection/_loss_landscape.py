"""The landscape around one input, along a direction and across (paper B, Fig. 4)."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils import check_random_state

from .._compat import Interval, StrOptions, validate_params
from .._messages import brief, naming
from ..feature_extraction import (
    CosineSimilarityMatrixTransformer,
    LayerActivationTransformer,
)
from ._display import check_matplotlib, check_numbers, take_axes
from ._draw_landscape import draw_classes, levels, mark
from ._plane import Plane, cross_entropy, directions, one_input

_LABELS = {
    "others_mean": "mean cosine of the classes\nthat are not predicted (mean of S1)",
    "loss": "cross-entropy towards the\nclass predicted for the input",
}


class LossLandscapeDisplay:
    """The landscape around one input, and the class predicted at each point of it.

    A plane is laid through an input: along a direction, for example to what an attack
    made of the input, and across, along a second direction of the same length that is
    orthogonal to it. The colour of a point is its height, the hatches its predicted
    class.

    It is recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    first : ndarray of shape (n_first,)
        Steps along the direction, in units of its length; the input is at 0.
    second : ndarray of shape (n_second,)
        Steps across, in the same units.
    heights : ndarray of shape (n_first, n_second)
        The height of each point.
    classes : ndarray of int of shape (n_first, n_second)
        The class predicted at each point.
    quantity : str, default="others_mean"
        What the height is: "others_mean", "loss", or other words for the colour bar.
    target : float, default=None
        Where on the first direction to mark a target; None marks none.
    length : float, default=None
        Euclidean length of the direction, in units of the input, to be written at
        the axes.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the picture, after `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    LossAlignmentDisplay : Many inputs, in all directions.
    CosineSimilarityDisplay : The cosines of which "others_mean" is the mean.

    Notes
    -----
    A plane is a small part of what surrounds an input: draw more than one before you
    believe what you see.

    References
    ----------
    Schwinn et al. (2021), "Identifying Untrustworthy Predictions in Neural Networks by
    Geometric Gradient Analysis", Fig. 4.

    Examples
    --------
    >>> import torch
    >>> from skgrad.inspection import LossLandscapeDisplay
    >>> display = LossLandscapeDisplay.from_estimator(
    ...     torch.nn.Linear(2, 2), [0.0, 1.0], quantity="loss", n_grid=5, random_state=0
    ... )
    >>> display.heights.shape
    (5, 5)
    """

    def __init__(
        self,
        *,
        first,
        second,
        heights,
        classes,
        quantity="others_mean",
        target=None,
        length=None,
    ):
        self.first = first
        self.second = second
        self.heights = heights
        self.classes = classes
        self.quantity = quantity
        self.target = target
        self.length = length

    @classmethod
    @validate_params(
        {
            "model": "no_validation",  # the engine's message says more
            "x": "no_validation",
            "towards": "no_validation",
            "across": "no_validation",
            "quantity": [StrOptions({"others_mean", "loss"})],
            "length": [Interval(Real, 0, None, closed="neither"), None],
            "n_grid": [Interval(Integral, 2, None, closed="left")],
            "extent": [Interval(Real, 0, None, closed="neither")],
            "batch_size": [Interval(Integral, 1, None, closed="left")],
            "device": [str, torch.device, None],
            "random_state": ["random_state"],
            "ax": "no_validation",
        },
        prefer_skip_nested_validation=True,
    )
    def from_estimator(
        cls,
        model,
        x,
        *,
        towards=None,
        across=None,
        quantity="others_mean",
        length=None,
        n_grid=41,
        extent=1.5,
        batch_size=128,
        device=None,
        random_state=None,
        ax=None,
    ):
        """Compute the landscape around an input, and draw it.

        Cost: ``n_grid**2`` forward passes for "loss"; for "others_mean" as many more,
        each with a backward pass for every class. The points are not clipped to legal
        values, so that the plane stays one.

        Parameters
        ----------
        model : torch.nn.Module or fitted skorch net
            A classifier that returns logits. It is never changed.
        x : array-like of shape input_shape
            One input, such as ``X[0]``.
        towards : array-like of shape input_shape, default=None
            Another input, which the direction leads to, such as an adversarial one made
            of x. None draws a direction at random.
        across : array-like of shape input_shape, default=None
            A direction, whose part orthogonal to the first leads across. None draws
            one at random.
        quantity : {"others_mean", "loss"}, default="others_mean"
            The height: the mean cosine between the saliency maps of the classes that
            are not predicted at the point (paper B, the mean of S1; 3 or more classes),
            or the cross-entropy towards the class predicted for x.
        length : float, default=None
            Euclidean length of both directions, in units of x. None is the distance
            from x to ``towards``; of a random direction a quarter of the length of x,
            or 1 where x is 0 everywhere.
        n_grid : int, default=41
            Points along each direction.
        extent : float, default=1.5
            How far the picture goes to each side, in lengths of the direction.
        batch_size : int, default=128
            Points per forward pass.
        device : str or torch.device, default=None
            Where to compute. None is the model's own device.
        random_state : int, RandomState instance or None, default=None
            Draws the random directions.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LossLandscapeDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        x = one_input(x, "x")
        along, beside, target = directions(
            x, towards, across, length, check_random_state(random_state)
        )
        steps = np.linspace(-extent, extent, n_grid)
        points = Plane(x, along, beside, steps)
        logits = LayerActivationTransformer(
            model, "logits", batch_size=batch_size, device=device
        )
        try:
            with naming("x"):
                values = np.asarray(logits.fit_transform(points), dtype=np.float64)
        except (RuntimeError, ValueError) as error:
            if x.ndim > 1:
                error.add_note(
                    f"x must be one input without a batch axis; got shape {x.shape}. "
                    "If it is a batch, give one of it, such as x[0]."
                )
            raise
        n_classes = values.shape[1]
        if quantity == "others_mean":
            if n_classes < 3:
                raise ValueError(
                    "quantity='others_mean' needs 3 or more classes, as it compares "
                    f"those that are not predicted; the model has {n_classes}. Use "
                    "quantity='loss'."
                )
            cosines = CosineSimilarityMatrixTransformer(
                model, batch_size=batch_size, device=device
            )
            heights = np.asarray(cosines.fit_transform(points))[:, 0]
        else:
            heights = cross_entropy(values, values[0].argmax())
        # The first point is x itself.
        heights, classes = heights[1:], values[1:].argmax(axis=1)
        return cls.from_predictions(
            steps,
            steps,
            heights.reshape(n_grid, n_grid),
            classes.reshape(n_grid, n_grid),
            quantity=quantity,
            target=target,
            length=float(np.linalg.norm(along)),
            ax=ax,
        )

    @classmethod
    @validate_params(
        {
            "first": "no_validation",
            "second": "no_validation",
            "heights": "no_validation",
            "classes": "no_validation",
            "quantity": [str],
            "target": [Real, None],
            "length": [Interval(Real, 0, None, closed="neither"), None],
            "ax": "no_validation",
        },
        prefer_skip_nested_validation=True,
    )
    def from_predictions(
        cls,
        first,
        second,
        heights,
        classes,
        *,
        quantity="others_mean",
        target=None,
        length=None,
        ax=None,
    ):
        """Draw heights and classes that are there already.

        Parameters
        ----------
        first : array-like of shape (n_first,)
            Steps along the direction, increasing, in units of its length.
        second : array-like of shape (n_second,)
            Steps across.
        heights : array-like of shape (n_first, n_second)
            The height of each point.
        classes : array-like of int of shape (n_first, n_second)
            The class predicted at each point.
        quantity : str, default="others_mean"
            What the height is: "others_mean", "loss", or other words for the colour
            bar.
        target : float, default=None
            Where on the first direction to mark a target; None marks none.
        length : float, default=None
            Euclidean length of the direction, to be written at the axes.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LossLandscapeDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_predictions")
        first, second = _steps(first, "first"), _steps(second, "second")
        shape = (len(first), len(second))
        classes = _grid(classes, "classes", shape)
        if not (classes == np.floor(classes)).all():
            raise ValueError(
                f"classes must hold whole numbers; got {brief(np.unique(classes)[:5])}."
            )
        display = cls(
            first=first,
            second=second,
            heights=_grid(heights, "heights", shape),
            classes=classes.astype(np.int64),
            quantity=quantity,
            target=target,
            length=length,
        )
        return display.plot(ax)

    def plot(self, ax=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        LossLandscapeDisplay
            The display, with ``ax_`` and ``figure_``.
        """
        ax = take_axes(self, ax, figsize=(6.4, 5.6))
        drawn = ax.contourf(
            self.first,
            self.second,
            self.heights.T,
            levels=levels(self.heights),
            cmap="viridis",
        )
        label = _LABELS.get(self.quantity, self.quantity)
        ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.85)
        handles = [*draw_classes(self, ax), *mark(self, ax)]
        unit = "" if self.length is None else f" (1 = {self.length:.3g})"
        where = "the direction" if self.target is None else "the way to the target"
        ax.set_xlabel(f"along {where}{unit}")
        ax.set_ylabel(f"across{unit}")
        ax.set_aspect("equal")
        ax.set_xlim(self.first[0], self.first[-1])
        ax.set_ylim(self.second[0], self.second[-1])
        ax.legend(
            handles=handles,
            frameon=False,
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=4,
            fontsize=8,
            handlelength=2.5,
            handleheight=1.2,
        )
        return self


def _steps(values, name):
    values = check_numbers(values, name, n_axes=1, finite=True)
    if len(values) < 2 or not (np.diff(values) > 0).all():
        raise ValueError(
            f"{name} must hold 2 or more steps, in increasing order; got "
            f"{brief(values)}."
        )
    return values


def _grid(values, name, shape):
    values = check_numbers(values, name, finite=True)
    if values.shape != shape:
        raise ValueError(
            f"{name} must be of shape (n_first, n_second), here {shape}; got "
            f"{values.shape}."
        )
    return values
