"""What is drawn over a landscape: borders of classes, marks, colours."""

import numpy as np

# The class of the input, or the first, is drawn without hatches.
_HATCHES = ("", "//", "\\\\", "..", "xx", "--", "||", "++", "oo", "**")
_N_LEVELS = 20


def draw_classes(display, ax):
    """Draw borders of classes and hatches; return handles for the legend."""
    from matplotlib.patches import Patch

    x, y = display.first, display.second
    handles, seen = [], np.unique(display.classes).tolist()
    # The class of the input, at the point nearest to 0, first.
    middle = np.abs(x).argmin(), np.abs(y).argmin()
    seen.sort(key=lambda k: (k != display.classes[middle], k))
    for i, k in enumerate(seen):
        inside, hatch = (display.classes == k).T, _HATCHES[i % len(_HATCHES)]
        handles.append(Patch(facecolor="white", edgecolor="black", hatch=hatch, lw=0.5))
        handles[-1].set_label(f"predicted {k}")
        if len(seen) == 1:
            break
        if hatch:
            hatched = ax.contourf(
                x, y, inside, levels=(0.5, 1.5), colors="none", hatches=[hatch]
            )
            hatched.set_edgecolor((0, 0, 0, 0.6))
            hatched.set_linewidth(0)
        ax.contour(x, y, inside, levels=(0.5,), colors="black", linewidths=1)
    return handles


def draw_marks(display, ax):
    """Mark the input and the target, where they lie in the picture."""
    marks = {"input": (0.0, "o")}
    if display.target is not None:
        marks["target"] = (display.target, "X")
    style = {"color": "white", "markeredgecolor": "black", "markersize": 9}
    return [
        ax.plot(at, 0.0, marker, label=name, **style)[0]
        for name, (at, marker) in marks.items()
        if display.first[0] <= at <= display.first[-1]
    ]


def choose_levels(heights):
    """Return round heights at which the colour changes."""
    from matplotlib.ticker import MaxNLocator

    low, high = heights.min(), heights.max()
    if high - low <= 1e-12 * max(abs(low), abs(high)):  # flat, or up to rounding
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    return MaxNLocator(_N_LEVELS).tick_values(low, high)
