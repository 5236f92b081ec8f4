"""The evidence that a stream of inputs has changed, over time."""

from dataclasses import dataclass
from numbers import Real

import numpy as np

from .._messages import brief
from ..guard import PValueMonitor
from ._display import Display, check_matplotlib, check_numbers
from ._score_distribution import detector_name


@dataclass(kw_only=True, eq=False, repr=False)
class DriftDisplay(Display):
    """The wealth of a monitor over a stream of inputs, and where it raises its alarm.

    As long as the stream is like the calibration inputs the wealth stays about 1 or
    falls. That it ever reaches 1 / alpha has probability alpha at most.

    Parameters
    ----------
    log_wealth : ndarray of shape (n_samples,)
        Natural logarithm of the wealth after each input.
    alpha : float, default=0.01
        Bound on the probability of a false alarm.
    name : str, default=None
        Name of the detector, the title.

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
            of one.
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
        path = monitor.update(estimator.score_samples(X))
        name = detector_name(estimator) if name is None else name
        return cls.from_predictions(path, alpha=alpha, ax=ax, name=name)

    @classmethod
    def from_predictions(cls, log_wealth, *, alpha=0.01, ax=None, name=None):
        """Draw what a monitor returned.

        Parameters
        ----------
        log_wealth : array-like of shape (n_samples,)
            What `PValueMonitor.update` returned, of several calls one after the other.
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
        return cls(log_wealth=log_wealth, alpha=float(alpha), name=name).plot(ax)

    def _draw(self):
        ax = self.ax_
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
        ax.legend(loc="upper left", fontsize="small", frameon=False)
