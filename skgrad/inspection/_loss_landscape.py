"""The landscape around one input, along a direction and across (paper B, Fig. 4)."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state

from .._compat import Interval, StrOptions, validate_params
from .._messages import brief, naming
from ..feature_extraction import CosineSimilarityMatrixTransformer, predict_logits
from ._display import Display, check_matplotlib, check_number, check_numbers
from ._draw_landscape import choose_levels, draw_classes, draw_marks
from ._plane import Plane, cross_entropy, directions, one_input

_LABELS = {
    "others_mean": "mean cosine of the classes\nthat are not predicted (mean of S1)",
    "loss": "cross-entropy towards the\nclass predicted for the input",
}
# How far the picture goes to each side, in lengths of the direction.
_EXTENT = 1.5


@dataclass(kw_only=True, eq=False, repr=False)
class LossLandscapeDisplay(Display):
    """The landscape around one input, and the class predicted at each point of it.

    A plane is laid through an input: along a direction, for example to what an attack
    made of the input, and across, along a second direction of the same length that is
    orthogonal to it. The colour of a point is its height, the hatches its predicted
    class.

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
        What the height is: "others_mean", "loss", or a label for the colour bar.
    target : float, default=None
        Where on the first direction to mark a target; None marks none.
    length : float, default=None
        Euclidean length of the direction, in units of the input, for the axes.

    See Also
    --------
    LossAlignmentDisplay : Many inputs, in all directions.
    CosineSimilarityDisplay : The cosines of which "others_mean" is the mean.

    Notes
    -----
    A plane is a small part of what surrounds an input: draw more than one before you
    draw conclusions.

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

    _size = 6.4, 5.6

    first: np.ndarray
    second: np.ndarray
    heights: np.ndarray
    classes: np.ndarray
    quantity: str = "others_mean"
    target: float | None = None
    length: float | None = None

    def __post_init__(self):
        self.first = _check_steps(self.first, "first")
        self.second = _check_steps(self.second, "second")
        shape = (len(self.first), len(self.second))
        self._check("heights", shape)
        self._check("classes", shape, whole=True)
        self.target = check_number(self.target, "target")
        self.length = check_number(self.length, "length")

    @classmethod
    @validate_params(
        {
            "quantity": [StrOptions({"others_mean", "loss"})],
            "n_grid": [Interval(Integral, 2, None, closed="left")],
        },
        prefer_skip_nested_validation=False,
    )
    def from_estimator(
        cls,
        model,
        x,
        *,
        towards=None,
        across=None,
        quantity="others_mean",
        n_grid=41,
        batch_size=128,
        device=None,
        random_state=None,
        ax=None,
    ):
        """Compute the landscape around an input, and draw it.

        Cost: ``n_grid**2`` forward passes for "loss"; for "others_mean" as many more,
        each with a backward pass for every class. The points are not clipped to valid
        inputs, so that they stay in a plane.

        Parameters
        ----------
        model : torch.nn.Module or fitted skorch net
            A classifier that returns logits (n_samples, n_classes). It is never
            changed.
        x : array-like of shape input_shape
            One input, such as ``X[0]``.
        towards : array-like of shape input_shape, default=None
            Another input, which the direction leads to, such as an adversarial one made
            of x. None draws a random direction, a quarter as long as x, or of length 1
            where x is 0 everywhere.
        across : array-like of shape input_shape, default=None
            A direction, whose part orthogonal to the first leads across. None draws
            one at random.
        quantity : {"others_mean", "loss"}, default="others_mean"
            The height: the mean cosine between the saliency maps of the classes that
            are not predicted at the point (paper B, the mean of S1; 3 or more classes),
            or the cross-entropy towards the class predicted for x.
        n_grid : int, default=41
            Points along each direction.
        batch_size : int, default=128
            Points per pass.
        device : str or torch.device, default=None
            Where to compute; None is the model's own device. Another one works on a
            private copy.
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
            x, towards, across, check_random_state(random_state)
        )
        steps = np.linspace(-_EXTENT, _EXTENT, n_grid)
        points = Plane(x, along, beside, steps)
        options = {"batch_size": batch_size, "device": device}
        logits = _predict_logits(model, x, points, options)
        if quantity == "loss":
            # The first point is x itself.
            heights = cross_entropy(logits, logits[0].argmax())
        elif logits.shape[1] >= 3:
            cosines = CosineSimilarityMatrixTransformer(model, **options)
            # The first of its columns is the mean of S1.
            heights = np.asarray(cosines.fit_transform(points))[:, 0]
        else:
            raise ValueError(
                "quantity='others_mean' needs 3 or more classes, as it compares those "
                f"that are not predicted; the model has {logits.shape[1]}. Use "
                "quantity='loss'."
            )
        return cls(
            first=steps,
            second=steps,
            heights=heights[1:].reshape(n_grid, n_grid),
            classes=logits[1:].argmax(axis=1).reshape(n_grid, n_grid),
            quantity=quantity,
            target=target,
            length=float(np.linalg.norm(along)),
        ).plot(ax)

    def _draw(self):
        ax = self.ax_
        drawn = ax.contourf(
            self.first,
            self.second,
            self.heights.T,
            levels=choose_levels(self.heights),
            cmap="viridis",
        )
        label = _LABELS.get(self.quantity, self.quantity)
        ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.85)
        handles = [*draw_classes(self, ax), *draw_marks(self, ax)]
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


def _predict_logits(model, x, points, options):
    try:
        with naming("x"):
            return np.asarray(predict_logits(model, points, **options), np.float64)
    except (RuntimeError, ValueError) as error:
        if x.ndim > 1:
            error.add_note(
                f"x must be one input without a batch axis; got shape {x.shape}. If it "
                "is a batch, give one of it, such as x[0]."
            )
        raise


def _check_steps(values, name):
    values = check_numbers(values, name, ("n_steps",))
    if len(values) < 2 or not (np.diff(values) > 0).all():
        raise ValueError(
            f"{name} must hold 2 or more steps, in increasing order; got "
            f"{brief(values)}."
        )
    return values
