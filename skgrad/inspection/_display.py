"""What all displays share: their axes, units of spread, checks of their data."""

import numpy as np

from .._labels import to_array
from .._messages import brief
from .._optional import import_package

# Infinite scores are drawn too. They are cut at a number whose differences and
# percentiles are finite, and in units of spread at a smaller one that still plots.
FARTHEST, _EDGE = 1e200, 1e12
# One colour for each kind of input, in every picture.
COLORS = {"in-distribution": "tab:blue", "anomaly": "tab:red"}
# Ticks that lie about evenly on an asinh scale, and the room that each takes in points.
_TICKS = np.outer(10.0 ** np.arange(13), (1, 3)).ravel()
_TICK_WIDTH = 36


class Display:
    """Base of all displays: ``plot`` makes the axes, ``_draw`` fills them.

    Displays are dataclasses of plain data. They are not compared, as arrays have no
    single truth value.
    """

    _size = 6.4, 4.0

    def plot(self, ax=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw, several panels in its place; None makes a figure.

        Returns
        -------
        Display
            The display, with its ``figure_``, the first axes ``ax_`` and all ``axes_``.
        """
        pyplot = check_matplotlib(f"{type(self).__name__}.plot")
        n_rows, n_columns = self._grid_shape()
        if ax is not None:
            _check_axes(ax)
            self.figure_ = ax.figure
        else:
            self.figure_ = pyplot.figure(figsize=self.size, layout="constrained")
        if n_rows * n_columns == 1:
            ax = self.figure_.subplots() if ax is None else ax
            self.axes_ = np.array([[ax]])
        else:
            grid = self._make_grid(ax, n_rows, n_columns)
            self.axes_ = grid.subplots(squeeze=False)
        self.ax_ = self.axes_[0, 0]
        self._draw()
        return self

    @property
    def size(self):
        """Width and height of a new figure in inches."""
        return self._size

    def _grid_shape(self):
        """Return the number of rows and columns of panels."""
        return 1, 1

    def _draw(self):
        """Fill the axes."""
        raise NotImplementedError

    def _make_grid(self, ax, n_rows, n_columns):
        if ax is None:
            return self.figure_.add_gridspec(n_rows, n_columns)
        place = ax.get_subplotspec()
        if place is None:
            raise ValueError(
                "ax must stand in a grid, as that of plt.subplots does, so that "
                f"{n_rows} x {n_columns} panels fit in its place; these do not. Leave "
                "ax out for a new figure."
            )
        # The axes stay as an empty frame: a figure that was given keeps its layout.
        ax.clear()
        ax.set_axis_off()
        return place.subgridspec(n_rows, n_columns)


def check_matplotlib(caller):
    """Return pyplot, or raise an error that says who needs it and how to get it."""
    return import_package("matplotlib.pyplot", f"{caller} needs", "plot")


def _check_axes(ax):
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        raise TypeError(
            "ax must be axes of matplotlib, or None for a new figure; got "
            f"{brief(ax)}. Of an array of axes give one."
        )


def label_asinh_axis(ax):
    """Put ticks at round numbers of an asinh scale, as many as have room.

    matplotlib's own overlap near 0, where the scale is linear.
    """
    from matplotlib.ticker import MaxNLocator

    low, high = ax.get_xlim()
    inches = ax.get_window_extent().width / ax.figure.dpi
    # The closest ticks, 0 and 1, are arcsinh(1) apart.
    width = np.diff(np.arcsinh([low, high]))[0] / (72 * inches / _TICK_WIDTH)
    step = int(np.ceil(width / np.arcsinh(1)))
    if step > 1:  # even, for powers of ten alone
        step += step % 2
    ticks = _TICKS[step if step > 1 else 0 :: step]
    ticks = np.concatenate([-ticks[::-1], [0], ticks])
    if max(-low, high) < 3:  # the scale is about linear
        ticks = np.array(MaxNLocator(5).tick_values(low, high))
    ticks = ticks[(low <= ticks) & (ticks <= high)]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)


def check_numbers(values, name, shape, *, finite=True):
    """Return values as a float array of this many axes, named in the shape.

    NaN is rejected; with ``finite`` infinity, too.
    """
    values = to_array(values, name)
    if values.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must hold numbers; got dtype {values.dtype}: {brief(values)}."
        )
    values = values.astype(np.float64)
    if values.ndim != len(shape) or not values.size:
        written = ", ".join(shape) + ("," if len(shape) == 1 else "")
        raise ValueError(
            f"{name} must be of shape ({written}), no axis empty; got {values.shape}."
        )
    wrong = np.isnan(values) | (finite & np.isinf(values))
    if wrong.any():
        raise ValueError(
            f"{name} must hold numbers, {'finite' if finite else 'not NaN'}; got NaN "
            f"or infinity in {wrong.sum()} of {values.size} values."
        )
    return values


def check_names(names, name, n_names, of_what):
    """Return names as a list of str, one for each of some things."""
    array = to_array(names, name)
    if array.shape != (n_names,):
        raise ValueError(
            f"{name} must hold one name for each of the {n_names} {of_what}; got "
            f"{brief(names)}."
        )
    return [str(one) for one in array.tolist()]


class Spread:
    """The unit that scores of all detectors share: interquartile ranges.

    Values are measured as distances from the in-distribution median.
    """

    def __init__(self, in_distribution):
        # In float64, as float32 cannot hold the cut values.
        values = np.asarray(in_distribution, dtype=np.float64)
        values = np.clip(values, -FARTHEST, FARTHEST)
        low, self.median, high = np.percentile(values, (25, 50, 75))
        # Equal values have no spread: then their own unit is as good as any.
        self.size = high - low or 1.0

    def measure(self, values):
        """Return values in these units, cut where they are too far out to be drawn."""
        values = np.clip(np.asarray(values, dtype=np.float64), -FARTHEST, FARTHEST)
        with np.errstate(over="ignore"):  # where the unit is tiny
            return np.clip((values - self.median) / self.size, -_EDGE, _EDGE)
