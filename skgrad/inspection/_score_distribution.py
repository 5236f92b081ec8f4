"""How a detector scores: in-distribution inputs, anomalies, threshold, errors."""

import numpy as np
from sklearn.base import is_outlier_detector

from ..detectors._scores import check_detector, in_distribution_scores
from ._display import (
    COLORS,
    Spread,
    check_labels,
    check_limit,
    check_matplotlib,
    check_numbers,
    take_axes,
)

# Fewer inputs than this are drawn with wider bars.
_FEW, _WIDE, _FINE = 150, 15, 40
_TICKS = [0, *(sign * 10.0**k for k in range(0, 13, 2) for sign in (-1, 1)), -10, 10]


class ScoreDistributionDisplay:
    """Scores of in-distribution inputs and anomalies, the threshold and both errors.

    Where the two distributions overlap, every threshold makes errors; the picture shows
    where it lies and how many it makes on either side.

    It is recommended to use `from_estimator` or `from_predictions`.

    Parameters
    ----------
    in_distribution : ndarray of shape (n_in_distribution,)
        Scores of in-distribution inputs, higher = more in-distribution.
    anomaly : ndarray of shape (n_anomalies,)
        Scores of anomalies; may be empty.
    threshold : float, default=None
        Lower scores are rejected. None draws none.
    name : str, default=None
        Name of the detector, the title.

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        Axes with the picture, after `plot`.
    figure_ : matplotlib.figure.Figure
        Their figure.

    See Also
    --------
    skgrad.evaluation.plot_score_distributions : All detectors of an evaluation.

    Notes
    -----
    Scores of different detectors have different units, so they are drawn as distances
    from the in-distribution median in in-distribution interquartile ranges, on an
    asinh scale: linear near 0, logarithmic far away.

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

    def __init__(self, *, in_distribution, anomaly, threshold=None, name=None):
        self.in_distribution = in_distribution
        self.anomaly = anomaly
        self.threshold = threshold
        self.name = name

    @property
    def false_alarm_rate(self):
        """Share of in-distribution inputs that are rejected; NaN without threshold."""
        return _share(self.in_distribution, self.threshold)

    @property
    def miss_rate(self):
        """Share of anomalies that are accepted; NaN without threshold or anomalies."""
        return 1.0 - _share(self.anomaly, self.threshold)

    @classmethod
    def from_estimator(cls, estimator, X, y, *, ax=None, name=None):
        """Draw how a fitted detector scores labelled inputs.

        Parameters
        ----------
        estimator : estimator
            A fitted outlier detector or binary classifier, or a pipeline that ends in
            one. Scores are those relative to its threshold, ``decision_function``; of a
            classifier the log-odds against an anomaly.
        X : array-like of shape (n_samples, *input_shape)
            Inputs, as the estimator takes them, that it was not fitted on.
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
        y = check_labels(y, len(scores), "y")
        name = detector_name(estimator) if name is None else name
        return cls.from_predictions(y, scores, threshold=0.0, ax=ax, name=name)

    @classmethod
    def from_predictions(cls, y_true, y_score, *, threshold=None, ax=None, name=None):
        """Draw scores that are there already.

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
            Name of the detector.

        Returns
        -------
        ScoreDistributionDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_predictions")
        y_score = check_numbers(y_score, "y_score", n_axes=1)
        y_true = check_labels(y_true, len(y_score), "y_true")
        display = cls(
            in_distribution=y_score[y_true == 1],
            anomaly=y_score[y_true == -1],
            threshold=check_limit(threshold, "threshold"),
            name=name,
        )
        return display.plot(ax)

    def plot(self, ax=None, *, name=None):
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            The title; None takes the display's name.

        Returns
        -------
        ScoreDistributionDisplay
            The display, with ``ax_`` and ``figure_``.
        """
        ax = take_axes(self, ax, figsize=(6.4, 4.0))
        self.draw(ax)
        ax.set_xlabel(
            "score, in interquartile ranges from the in-distribution median "
            "(asinh scale)"
        )
        ax.set_ylabel("share of inputs")
        ax.set_title(self.name or "" if name is None else name)
        # Below, as the bars may fill any corner; in points, whatever the axes' height.
        ax.legend(
            frameon=False,
            fontsize="small",
            ncols=2,
            loc="upper center",
            bbox_to_anchor=(0.5, 0),
            borderaxespad=4.5,
        )
        return self

    def draw(self, ax, *, rates=True):
        """Draw bars and threshold alone, into axes whose labels others write.

        Parameters
        ----------
        ax : matplotlib.axes.Axes
            Where to draw.
        rates : bool, default=True
            Whether the labels for the legend tell the error rates.
        """
        spread = Spread(self.in_distribution)
        parts = {
            "in-distribution": (
                self.in_distribution,
                "rejected",
                self.false_alarm_rate,
            ),
            "anomaly": (self.anomaly, "accepted", self.miss_rate),
        }
        # Where no attack succeeded there are no anomalies to draw.
        parts = {name: part for name, part in parts.items() if len(part[0])}
        drawn = {n: np.arcsinh(spread.measure(part[0])) for n, part in parts.items()}
        few = min(map(len, drawn.values())) <= _FEW
        edges = np.histogram_bin_edges(
            np.concatenate(list(drawn.values())), _WIDE if few else _FINE
        )
        for name, values in drawn.items():
            _, error, rate = parts[name]
            label = f"{name}: {100 * rate:.1f} % {error}"
            label = label if rates and not np.isnan(rate) else name
            share = np.histogram(values, edges)[0] / len(values)
            ax.stairs(
                share, edges, fill=True, color=COLORS[name], alpha=0.5, label=label
            )
        if self.threshold is not None:
            at = np.arcsinh(spread.measure(self.threshold))
            ax.axvline(
                at, color="black", ls="--", label="threshold: rejected to its left"
            )
        _label_axis(ax)


def detector_name(estimator):
    """Return what pictures call a detector: the class of a pipeline's last step."""
    last = estimator[-1] if hasattr(estimator, "named_steps") else estimator
    return type(last).__name__


def decisions(estimator, X):
    """Return scores of a fitted detector relative to its threshold: below 0, reject."""
    check_detector(estimator, X)
    if is_outlier_detector(estimator) and hasattr(estimator, "decision_function"):
        return estimator.decision_function(X)
    return in_distribution_scores(estimator, X)


def _share(scores, threshold):
    if threshold is None or not len(scores):
        return float("nan")
    return float(np.mean(np.asarray(scores) < threshold))


def _label_axis(ax):
    """Put ticks at round numbers of interquartile ranges."""
    low, high = ax.get_xlim()
    low, high = low + 0.02 * (high - low), high - 0.02 * (high - low)
    ticks = np.array(sorted(_TICKS))
    ticks = ticks[(np.arcsinh(ticks) >= low) & (np.arcsinh(ticks) <= high)]
    ax.set_xticks(np.arcsinh(ticks), [f"{tick:g}" for tick in ticks])
