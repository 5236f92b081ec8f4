"""What is drawn upon a landscape: borders of classes, marks, colours."""

import numpy as np

# The class of the input, or the first, is drawn without hatches.
_HATCHES = ("", "//", "\\\\", "..", "xx", "--", "||", "++", "oo", "**")
_N_LEVELS = 20


def draw_classes(display, ax):
    """Draw borders between classes and hatches; return what names them."""
    from matplotlib.patches import Patch

    handles, seen = [], np.unique(display.classes).tolist()
    # That of the input, nearest to 0, first.
    middle = np.abs(display.first).argmin(), np.abs(display.second).argmin()
    seen.sort(key=lambda k: (k != display.classes[middle], k))
    for i, k in enumerate(seen):
        inside, hatch = (display.classes == k).T, _HATCHES[i % len(_HATCHES)]
        handles.append(Patch(facecolor="white", edgecolor="black", hatch=hatch, lw=0.5))
        handles[-1].set_label(f"predicted {k}")
        if len(seen) == 1:
            break
        if hatch:
            hatched = ax.contourf(
                display.first,
                display.second,
                inside,
                levels=(0.5, 1.5),
                colors="none",
                hatches=[hatch],
            )
            hatched.set_edgecolor((0, 0, 0, 0.6))
            hatched.set_linewidth(0)
        ax.contour(
            display.first,
            display.second,
            inside,
            levels=(0.5,),
            colors="black",
            linewidths=1,
        )
    return handles


def mark(display, ax):
    """Mark the input and the target, where they lie in the picture."""
    marks = {"input": (0.0, "o")}
    if display.target is not None:
        marks["target"] = (display.target, "X")
    return [
        ax.plot(
            at,
            0.0,
            marker,
            color="white",
            markeredgecolor="black",
            markersize=9,
            label=name,
        )[0]
        for name, (at, marker) in marks.items()
        if display.first[0] <= at <= display.first[-1]
    ]


def levels(heights):
    """Return round heights to change the colour at."""
    from matplotlib.ticker import MaxNLocator

    low, high = heights.min(), heights.max()
    if high - low <= 1e-12 * max(abs(low), abs(high)):  # flat, or up to rounding
        low, high = low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1)
    return MaxNLocator(_N_LEVELS).tick_values(low, high)
