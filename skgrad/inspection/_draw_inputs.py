"""Inputs as pictures: images, series as lines, rows as bars."""

import numpy as np


def drawing_function(inputs):
    """Return a function that draws input i into axes; None if no picture fits."""
    if inputs is None:
        return None
    shape = inputs.shape[1:]
    if len(shape) == 3:
        return _draw_image if shape[0] in (1, 3) else None
    return {1: _draw_row, 2: _draw_series}.get(len(shape))


def _draw_image(ax, inputs, i):
    low, high = float(inputs.min()), float(inputs.max())
    if 0 <= low <= high <= 1:
        low, high = 0, 1
    image = inputs[i].transpose(1, 2, 0).astype(float)
    if image.shape[2] == 3:  # matplotlib takes colours in [0, 1] only
        image = (image - low) / ((high - low) or 1)
    ax.imshow(image, cmap="gray", vmin=low, vmax=high)
    ax.set_axis_off()


def _draw_series(ax, inputs, i):
    ax.plot(inputs[i].T, linewidth=1)
    _finish_small(ax, inputs, "time step")


def _draw_row(ax, inputs, i):
    ax.bar(np.arange(inputs.shape[1]), inputs[i])
    _finish_small(ax, inputs, "feature")


def _finish_small(ax, inputs, label):
    """Give axes the size of a matrix, and the limits of their neighbours."""
    low, high = min(float(inputs.min()), 0), max(float(inputs.max()), 0)
    margin = 0.05 * (high - low) or 1
    ax.set_ylim(low - margin, high + margin)
    ax.set_box_aspect(1)
    ax.tick_params(labelsize=7)
    ax.set_xlabel(label, fontsize=9)
    if ax.get_subplotspec().is_first_col():
        ax.set_ylabel("value", fontsize=9)
