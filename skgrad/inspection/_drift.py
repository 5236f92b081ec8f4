"""The evidence that a stream of inputs has changed, over time."""

from dataclasses import dataclass
from numbers import Real

import numpy as np

from .._messages import brief
from ..guard import PValueMonitor
from ._display import COLORS, Display, check_matplotlib, check_numbers
from ._score_distribution import detector_name


@dataclass(kw_only=True, eq=False, repr=False)
class DriftDisplay(Display):
    """The wealth of a monitor over a stream of inputs, and where it raises its alarm.

    As long as the stream is like the calibration inputs the wealth stays about 1 or
    falls. That it ever reaches 1 / alpha has probability alpha at most. A second panel
    shows the share of each predicted class, and how much of it was rejected.

    Parameters
    ----------
    log_wealth : ndarray of shape (n_samples,)
        Natural logarithm of the wealth after each input.
    alpha : float, default=0.01
        Bound on the probability of a false alarm.
    name : str, default=None
        Name of the detector, the title.
    class_counts : dict, default=None
        For each predicted class how many inputs it had and how many of them were
        rejected. None draws no second panel.

    See Also
    --------
    skgrad.guard.PValueMonitor : The monitor, for a stream that goes on.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.guard import PValueMonitor
    >>> from skgrad.inspection import DriftDisplay
    >>> rng = np.random.default_rng(0)
    >>> monitor = PValueMonitor(rng.normal(size=200))
    >>> path = monitor.update(rng.normal(size=100) - np.repeat([0, 3], 50))
    >>> display = DriftDisplay.from_predictions(path)
    >>> display.alarm_at == monitor.alarm_at_ < 70
    True
    """

    log_wealth: np.ndarray
    alpha: float = 0.01
    name: str | None = None
    class_counts: dict | None = None

    @property
    def alarm_at(self):
        """How many inputs the alarm takes; None without an alarm."""
        above = self.log_wealth >= -np.log(self.alpha)
        return int(np.argmax(above)) + 1 if above.any() else None

    @classmethod
    def from_estimator(
        cls, estimator, X, *, alpha=0.01, random_state=0, ax=None, name=None
    ):
        """Draw what a new monitor says of a stream of inputs.

        Parameters
        ----------
        estimator : estimator
            A fitted guard or detector that has ``calibration_scores_``, or a pipeline
            of one. With a guard the second panel is drawn.
        X : array-like of shape (n_samples, *input_shape)
            Inputs in the order in which they come.
        alpha : float, default=0.01
            Bound on the probability of a false alarm, in (0, 1).
        random_state : int or None, default=0
            Seed of the numbers that order equal scores at random.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name of the detector; None takes that of its class.

        Returns
        -------
        DriftDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        monitor = PValueMonitor(estimator, alpha=alpha, random_state=random_state)
        judge = getattr(estimator, "judge", estimator.score_samples)
        path = monitor.update(judge(X))
        name = detector_name(estimator) if name is None else name
        return cls.from_predictions(
            path,
            class_counts=monitor.class_counts_ or None,
            alpha=alpha,
            ax=ax,
            name=name,
        )

    @classmethod
    def from_predictions(
        cls, log_wealth, *, class_counts=None, alpha=0.01, ax=None, name=None
    ):
        """Draw what a monitor returned.

        Parameters
        ----------
        log_wealth : array-like of shape (n_samples,)
            What `PValueMonitor.update` returned, of several calls one after the other.
        class_counts : dict, default=None
            The ``class_counts_`` of the monitor; None draws no second panel.
        alpha : float, default=0.01
            Bound on the probability of a false alarm, in (0, 1), as in the monitor.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name of the detector, the title.

        Returns
        -------
        DriftDisplay
            The display, drawn.
        """
        if not isinstance(alpha, Real) or not 0 < float(alpha) < 1:
            raise ValueError(f"alpha must be a number in (0, 1); got {brief(alpha)}.")
        log_wealth = check_numbers(log_wealth, "log_wealth", ("n_samples",))
        return cls(
            log_wealth=log_wealth,
            alpha=float(alpha),
            name=name,
            class_counts=None if class_counts is None else _checked(class_counts),
        ).plot(ax)

    @property
    def size(self):
        """Width and height of a new figure in inches."""
        if self.class_counts is None:
            return self._size
        # Words beside the bars need a line for each class.
        return 11.0, min(max(4.0, 0.25 * len(self.class_counts) + 1.5), 14)

    def _grid_shape(self):
        return 1, 1 if self.class_counts is None else 2

    def _draw(self):
        self._draw_wealth(self.ax_)
        if self.class_counts is not None:
            self._draw_classes(self.axes_[0, 1], self.class_counts)

    def _draw_classes(self, ax, class_counts):
        """Draw a bar for each class, the first on top, of trusted and rejected."""
        counts = np.array([*class_counts.values()], dtype=float)
        seen, rejected = (100 / counts[:, 0].sum() * counts).T
        trusted, places = seen - rejected, np.arange(len(seen))
        id_color, color = COLORS["in-distribution"], COLORS["anomaly"]
        ax.barh(places, trusted, color=id_color, label="trusted")
        ax.barh(places, rejected, left=trusted, color=color, label="rejected")
        names = [str(label) for label in class_counts]
        ax.set_yticks(places, names)
        ax.invert_yaxis()
        ax.set_ylabel("predicted class")
        ax.set_xlabel("share of the inputs in percent")
        # Above the axes, as bars may be long.
        legend = {"fontsize": "small", "frameon": False, "ncols": 2}
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), **legend)

    def _draw_wealth(self, ax):
        # Before the first input the wealth is 1.
        path = np.append(0, self.log_wealth) / np.log(10)
        ax.plot(np.arange(len(path)), path, color="tab:blue", label="wealth")
        limit = f"alarm: 1 / {self.alpha:g}"
        style = {"color": "black", "ls": "--"}
        ax.axhline(-np.log10(self.alpha), label=limit, **style)
        if self.alarm_at is not None:
            label = f"alarm after {self.alarm_at:,} inputs"
            ax.axvline(self.alarm_at, color="tab:red", label=label)
        ax.set_xlabel("inputs seen")
        ax.set_ylabel("decimal logarithm of the wealth")
        ax.set_title(self.name or "")
        # On white, as the line of an alarm may run below it.
        legend = {"fontsize": "small", "edgecolor": "none", "framealpha": 0.9}
        ax.legend(loc="best", **legend)


def _checked(class_counts):
    """Return counts of classes; raise unless they are as those of a monitor."""
    try:
        counts = [(int(seen), int(no)) for seen, no in class_counts.values()]
        right = sum(seen for seen, _ in counts) > 0
        right &= all(0 <= no <= seen for seen, no in counts)
    except (AttributeError, TypeError, ValueError):
        right = False
    if not right:
        raise ValueError(
            "class_counts must hold, by class, how many inputs were seen and how many "
            "of them rejected, as class_counts_ of a PValueMonitor does; got "
            f"{brief(class_counts)}."
        )
    # Numbers before words: classes of both kinds have no order.
    by_class = dict(zip(class_counts, counts, strict=True))
    order = sorted(by_class, key=lambda label: (isinstance(label, str), label))
    return {label: by_class[label] for label in order}
