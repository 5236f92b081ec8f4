"""What all displays share: axes to draw in, units of spread, checks of what came."""

from numbers import Real

import numpy as np

from .._messages import brief
from .._optional import import_package
from .._validation import distinct, to_array

# Infinite values are drawn too, and have no differences.
FARTHEST, _EDGE = 1e200, 1e12
# One colour for each kind of input, in every picture.
COLORS = {"in-distribution": "tab:blue", "anomaly": "tab:red"}


def check_matplotlib(who):
    """Return pyplot, or say who needs it and how to get it."""
    return import_package("matplotlib.pyplot", f"{who} needs", "plot")


def take_axes(display, ax, **options):
    """Give a display axes to draw in, and remember them as its ``ax_``, ``figure_``.

    Parameters
    ----------
    display : object
        The display.
    ax : matplotlib.axes.Axes or None
        The user's axes; None makes a figure of its own.
    **options : dict
        For :func:`matplotlib.pyplot.subplots`, if a figure is made.

    Returns
    -------
    matplotlib.axes.Axes
        The axes.
    """
    pyplot = check_matplotlib(f"{type(display).__name__}.plot")
    if ax is None:
        _, ax = pyplot.subplots(**{"layout": "constrained", **options})
    display.ax_, display.figure_ = _checked_axes(ax), ax.figure
    return ax


def take_grid(display, ax, n_rows, n_columns, *, figsize=None, **options):
    """Give a display a grid of axes, and remember it as its ``axes_``, ``figure_``.

    Parameters
    ----------
    display : object
        The display.
    ax : matplotlib.axes.Axes or None
        Where the user wants the grid: it is laid into the place of these axes, which
        are emptied. None makes a figure of its own.
    n_rows, n_columns : int
        Size of the grid.
    figsize : tuple of float, default=None
        Width and height in inches, if a figure is made.
    **options : dict
        For :meth:`matplotlib.gridspec.GridSpec.subplots`.

    Returns
    -------
    ndarray of Axes of shape (n_rows, n_columns)
        The grid.
    """
    pyplot = check_matplotlib(f"{type(display).__name__}.plot")
    if ax is None:
        figure = pyplot.figure(figsize=figsize, layout="constrained")
        grid = figure.add_gridspec(n_rows, n_columns)
    else:
        figure, place = _checked_axes(ax).figure, ax.get_subplotspec()
        if place is None:
            raise ValueError(
                "ax must stand in a grid, as that of plt.subplots does, so that "
                f"{n_rows} x {n_columns} panels fit in its place; these do not. Leave "
                "ax out for a figure of its own."
            )
        ax.clear()
        ax.set_axis_off()
        grid = place.subgridspec(n_rows, n_columns)
    display.axes_ = grid.subplots(squeeze=False, **options)
    display.figure_ = figure
    return display.axes_


def _checked_axes(ax):
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise TypeError(
            "ax must be axes of matplotlib, or None for a figure of its own; got "
            f"{brief(ax)}. Of an array of axes give one."
        )
    return ax


def check_labels(y, n_samples, name, *, both=False):
    """Return labels +1 and -1, one per sample, some of them +1.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        +1 for in-distribution inputs, -1 for anomalies.
    n_samples : int
        How many there must be.
    name : str
        The parameter, for messages.
    both : bool, default=False
        Whether some must be -1, too.

    Returns
    -------
    ndarray of shape (n_samples,)
        The labels.
    """
    y = to_array(y, name)
    if y.shape != (n_samples,) or set(distinct(y)) - {1, -1}:
        raise ValueError(
            f"{name} must hold +1 (in-distribution) or -1 (anomaly) for each of the "
            f"{n_samples} inputs; got shape {y.shape} with values "
            f"{brief(distinct(y)[:5])}."
        )
    if not (y == 1).any():
        raise ValueError(
            f"{name} must label some inputs +1, in-distribution: spreads are theirs. "
            f"All {n_samples} are -1."
        )
    if both and not (y == -1).any():
        raise ValueError(
            f"{name} must label some inputs -1, anomalies, to tell; all {n_samples} "
            "are +1."
        )
    return y


def check_numbers(values, name, *, n_axes=None, finite=False):
    """Return values as a float array without NaN, or name the parameter."""
    values = to_array(values, name)
    if values.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must hold numbers; got dtype {values.dtype}: {brief(values)}."
        )
    values = values.astype(np.float64)
    if n_axes is not None and values.ndim != n_axes:
        raise ValueError(f"{name} must have {n_axes} axes; got shape {values.shape}.")
    if np.isnan(values).any():
        raise ValueError(
            f"{name} must hold numbers; got NaN in {np.isnan(values).sum()} of "
            f"{values.size} values."
        )
    if finite and np.isinf(values).any():
        raise ValueError(
            f"{name} must be finite; got infinity in {np.isinf(values).sum()} of "
            f"{values.size} values."
        )
    return values


def check_limit(value, name):
    """Return a limit to draw as a float, or None where there is none."""
    if value is None:
        return None
    if not isinstance(value, Real) or np.isnan(float(value)):
        raise ValueError(f"{name} must be a number or None; got {brief(value)}.")
    return float(value)


class Spread:
    """Units that scores of any detector share.

    The distance from the in-distribution median in in-distribution interquartile
    ranges.

    Parameters
    ----------
    in_distribution : array-like of shape (n_samples,)
        Values of in-distribution inputs.
    """

    def __init__(self, in_distribution):
        # float32 has no such numbers.
        values = np.asarray(in_distribution, dtype=np.float64)
        values = np.clip(values, -FARTHEST, FARTHEST)
        low, self.median, high = np.percentile(values, (25, 50, 75))
        # Equal values have no spread: then their own unit is as good as any.
        self.size = high - low or 1.0

    def measure(self, values):
        """Return values in these units; what lies immensely far out, at its edge."""
        values = np.clip(np.asarray(values, dtype=np.float64), -FARTHEST, FARTHEST)
        with np.errstate(over="ignore"):  # in ever so small units
            return np.clip((values - self.median) / self.size, -_EDGE, _EDGE)
