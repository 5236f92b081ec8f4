"""How a detector scores: in-distribution inputs, anomalies, threshold, errors."""

from dataclasses import dataclass

import numpy as np

from .._labels import check_signs
from .._unwrap import last_step
from ..detectors._scores import (
    check_detector,
    classifies_anomalies,
    in_distribution_scores,
)
from ._display import (
    COLORS,
    Display,
    Spread,
    check_matplotlib,
    check_numbers,
    label_asinh_axis,
)

# Up to so many inputs are drawn with wide bars: 15 over the width instead of 40.
_FEW, _WIDE, _FINE = 150, 15, 40


@dataclass(kw_only=True, eq=False, repr=False)
class ScoreDistributionDisplay(Display):
    """Scores of in-distribution inputs and anomalies, the threshold and both errors.

    Scores of different detectors have different units, so they are drawn as distances
    from the in-distribution median in in-distribution interquartile ranges, on an asinh
    scale: linear near 0, logarithmic far away.

    Parameters
    ----------
    scores_id : ndarray of shape (n_in_distribution,)
        Scores of in-distribution inputs, higher = more in-distribution.
    scores_anomaly : ndarray of shape (n_anomalies,)
        Scores of anomalies; may be empty.
    threshold : float, default=None
        Lower scores are rejected. None draws none.
    name : str, default=None
        Name of the detector, the title.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.inspection import ScoreDistributionDisplay
    >>> y = np.repeat([1, -1], [90, 10])
    >>> scores = np.r_[np.arange(90.0), np.arange(-5.0, 5.0)]
    >>> display = ScoreDistributionDisplay.from_predictions(y, scores, threshold=4.5)
    >>> round(display.false_alarm_rate, 3), display.miss_rate
    (0.056, 0.0)
    """

    scores_id: np.ndarray
    scores_anomaly: np.ndarray
    threshold: float | None = None
    name: str | None = None

    @property
    def false_alarm_rate(self):
        """Share of in-distribution inputs that are rejected; NaN without threshold."""
        return _share_below(self.scores_id, self.threshold)

    @property
    def miss_rate(self):
        """Share of anomalies that are accepted; NaN without threshold or anomalies."""
        return 1.0 - _share_below(self.scores_anomaly, self.threshold)

    @classmethod
    def from_estimator(cls, estimator, X, y, *, ax=None, name=None):
        """Draw how a fitted detector scores labelled inputs, relative to its threshold.

        Parameters
        ----------
        estimator : estimator
            A fitted outlier detector or guard, or a binary classifier, whose scores are
            the log-odds against an anomaly.
        X : array-like of shape (n_samples, *input_shape)
            Inputs that the estimator was not fitted on.
        y : array-like of shape (n_samples,)
            +1 for in-distribution inputs, -1 for anomalies.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name of the detector; None takes that of its class.

        Returns
        -------
        ScoreDistributionDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        scores = decisions(estimator, X)
        y = check_signs(y, len(scores), "y")
        name = detector_name(estimator) if name is None else name
        threshold = 0.0 if decides(estimator) else None
        return cls.from_predictions(y, scores, threshold=threshold, ax=ax, name=name)

    @classmethod
    def from_predictions(cls, y_true, y_score, *, threshold=None, ax=None, name=None):
        """Draw given scores.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            +1 for in-distribution inputs, -1 for anomalies.
        y_score : array-like of shape (n_samples,)
            Scores, higher = more in-distribution.
        threshold : float, default=None
            Lower scores are rejected; None draws none.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name of the detector, the title.

        Returns
        -------
        ScoreDistributionDisplay
            The display, drawn.
        """
        y_score = check_numbers(y_score, "y_score", ("n_samples",), finite=False)
        y_true = check_signs(y_true, len(y_score), "y_true")
        if threshold is not None and np.isnan(threshold):
            # No score lies below NaN, so both errors would come out wrong in silence.
            raise ValueError("threshold must be a number or None; got NaN.")
        return cls(
            scores_id=y_score[y_true == 1],
            scores_anomaly=y_score[y_true == -1],
            threshold=threshold,
            name=name,
        ).plot(ax)

    def _draw(self):
        ax, spread = self.ax_, Spread(self.scores_id)
        ax.set_xscale("asinh")
        parts = [("in-distribution", self.scores_id, "rejected", self.false_alarm_rate)]
        if len(self.scores_anomaly):  # there are none where no attack succeeded
            parts.append(("anomaly", self.scores_anomaly, "accepted", self.miss_rate))
        # Bars of equal width on the asinh scale.
        places = [np.arcsinh(spread.measure(part[1])) for part in parts]
        n_bars = _WIDE if min(map(len, places)) <= _FEW else _FINE
        edges = np.histogram_bin_edges(np.concatenate(places), n_bars)
        for (kind, _, error, rate), found in zip(parts, places, strict=True):
            label = kind if np.isnan(rate) else f"{kind}: {100 * rate:.1f} % {error}"
            style = {"color": COLORS[kind], "alpha": 0.5, "label": label}
            share = np.histogram(found, edges)[0] / len(found)
            ax.stairs(share, np.sinh(edges), fill=True, **style)
        if self.threshold is not None:
            style = {"color": "black", "ls": "--"}
            label = "threshold: rejected to its left"
            ax.axvline(spread.measure(self.threshold), label=label, **style)
        label_asinh_axis(ax)
        ax.set_xlabel(
            "score, in interquartile ranges from\n"
            "the in-distribution median (asinh scale)"
        )
        ax.set_ylabel("share of inputs")
        ax.set_title(self.name or "")
        # Below the axes, as the bars may fill any corner; in points, so that the
        # distance does not depend on the height of the axes.
        legend = {"fontsize": "small", "frameon": False}
        legend |= {"bbox_to_anchor": (0.5, 0), "borderaxespad": 6}
        ax.legend(loc="upper center", **legend)


def detector_name(estimator):
    """Return the name of a detector in pictures: the class of the last step."""
    return type(last_step(estimator)).__name__


def decisions(estimator, X):
    """Return scores of a fitted detector relative to its threshold: below 0, reject."""
    check_detector(estimator, X)
    # Not that of a classifier of anomalies, which has the sign of their class; that of
    # a guard is its detector's.
    if not classifies_anomalies(estimator) and hasattr(estimator, "decision_function"):
        return estimator.decision_function(X)
    return in_distribution_scores(estimator, X)


def decides(estimator):
    """Return True if `decisions` has a threshold, as that of a density has not."""
    return classifies_anomalies(estimator) or hasattr(estimator, "decision_function")


def _share_below(scores, threshold):
    if threshold is None or not len(scores):
        return float("nan")
    return float(np.mean(np.asarray(scores) < threshold))
