"""What all displays share: their axes, units of spread, checks of their data."""

from numbers import Real

import numpy as np

from .._messages import brief
from .._optional import import_package
from .._validation import to_array

# Infinite scores are drawn too. They are cut at a number whose differences and
# percentiles are finite, and in units of spread at a smaller one that still plots.
FARTHEST, _EDGE = 1e200, 1e12
# Limits of cosines, which may exceed 1 a little by rounding.
COSINES = {"low": -1.01, "high": 1.01}
# One colour for each kind of input, in every picture.
COLORS = {"in-distribution": "tab:blue", "anomaly": "tab:red"}
# Round numbers for ticks, the preferred ones first, and the width of a character in
# points.
_TICKS = [0.0] + [
    sign * digit * 10.0**k
    for digit, powers in ((1, range(13)), (5, range(-1, 12)), (2, range(-1, 12)))
    for k in powers
    for sign in (1, -1)
]
_CHARACTER = 6


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
            Where to draw; None makes a figure. Several panels take the place of these
            axes.

        Returns
        -------
        Display
            The display itself, with its figure ``figure_``, its axes ``ax_`` and, where
            there are several panels, all of them in the array ``axes_``.
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

    def _check(self, name, shape, **limits):
        """Check an array among the fields; one whose default is None may be None."""
        value, default = getattr(self, name), getattr(type(self), name, "required")
        if value is not None or default is not None:
            setattr(self, name, check_numbers(value, name, shape, **limits))

    def _check_names(self, name, n_names, of_what):
        """Check a list of names among the fields in the same way."""
        names, default = getattr(self, name), getattr(type(self), name, "required")
        if names is not None or default is not None:
            setattr(self, name, check_names(names, name, n_names, of_what))

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
    low, high = np.arcsinh(ax.get_xlim())
    inches = ax.get_window_extent().width / ax.figure.dpi
    room = 72 * inches / (high - low)  # points per unit of arcsinh
    taken: list = []
    for tick in _TICKS:
        place, half = np.arcsinh(tick), (len(f"{tick:g}") + 1) * _CHARACTER / 2
        free = all(abs(place - at) * room > half + other for _, at, other in taken)
        if low <= place <= high and free:
            taken.append((tick, place, half))
    ax.set_xticks([tick for tick, *_ in taken], [f"{tick:g}" for tick, *_ in taken])
    ax.set_xticks([], minor=True)


def check_numbers(
    values, name, shape=None, *, low=-np.inf, high=np.inf, finite=True, whole=False
):
    """Return values as a float array of a shape, without NaN.

    Parameters
    ----------
    values : array-like
        The values.
    name : str
        The parameter, for messages.
    shape : tuple of int or str, default=None
        The length of each axis; a word stands for any length of at least 1.
    low, high : float
        Limits of the values, inclusive.
    finite : bool, default=True
        Whether infinity is rejected, too.
    whole : bool, default=False
        Whether the values must be whole numbers; they are returned as int64.
    """
    values = to_array(values, name)
    if values.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} must hold numbers; got dtype {values.dtype}: {brief(values)}."
        )
    values = values.astype(np.float64)
    if shape is not None and not _fits(values.shape, shape):
        written = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        raise ValueError(
            f"{name} must be of shape ({written}), no axis empty; got {values.shape}."
        )
    wrong = np.isnan(values) | (finite & np.isinf(values))
    if wrong.any():
        raise ValueError(
            f"{name} must hold numbers, {'finite' if finite else 'not NaN'}; got NaN "
            f"or infinity in {wrong.sum()} of {values.size} values."
        )
    if ((values < low) | (values > high)).any():
        raise ValueError(
            f"{name} must lie between {low:g} and {high:g}; got values from "
            f"{values.min():.4g} to {values.max():.4g}."
        )
    if not whole:
        return values
    if not (values == np.floor(values)).all():
        raise ValueError(f"{name} must hold whole numbers; got {brief(values)}.")
    return values.astype(np.int64)


def _fits(found, shape):
    """Return True if a shape is as asked for."""
    if len(found) != len(shape):
        return False
    pairs = zip(found, shape, strict=True)
    return all(n == m if isinstance(m, int) else n > 0 for n, m in pairs)


def check_names(names, name, n_names, of_what):
    """Return names as a list of str, one for each of some things."""
    array = to_array(names, name)
    if array.shape != (n_names,):
        raise ValueError(
            f"{name} must hold one name for each of the {n_names} {of_what}; got "
            f"{brief(names)}."
        )
    return [str(one) for one in array.tolist()]


def check_number(value, name):
    """Return a number as a float, or None where there is none."""
    if value is None:
        return None
    if not isinstance(value, Real) or np.isnan(float(value)):
        raise ValueError(f"{name} must be a number or None; got {brief(value)}.")
    return float(value)


class Spread:
    """The unit that scores of all detectors share: interquartile ranges.

    Values are measured as distances from the in-distribution median.

    Parameters
    ----------
    in_distribution : array-like of shape (n_samples,)
        Values of in-distribution inputs.
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
