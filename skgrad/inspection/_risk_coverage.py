"""How many errors are trusted, by how much is trusted."""

from dataclasses import dataclass

import numpy as np

from .._labels import check_per_sample
from ..metrics._abstention import judged, predictions_and_scores
from ..metrics._risk_coverage import check_correct, risk_coverage_curve
from ._display import COLORS, Display, check_matplotlib
from ._score_distribution import detector_name


@dataclass(kw_only=True, eq=False, repr=False)
class RiskCoverageDisplay(Display):
    """Errors among what is trusted, for every coverage; mistakes and anomalies apart.

    A wrong class of an in-distribution input and an anomaly that is trusted are both
    errors, of two kinds with different cures. Their rates are stacked.

    Parameters
    ----------
    coverages : ndarray of shape (n_thresholds,)
        Shares of all inputs that are trusted, rising.
    mistakes : ndarray of shape (n_thresholds,)
        Among the trusted, the share of in-distribution inputs with a wrong class.
    anomalies : ndarray of shape (n_thresholds,)
        Among the trusted, the share of anomalies.
    coverage : float, default=None
        Coverage of the threshold in use. None draws none.
    name : str, default=None
        Name of what scores, the title.

    See Also
    --------
    skgrad.metrics.risk_coverage_curve : The numbers; the risk is the sum of both rates.

    Examples
    --------
    >>> from skgrad.inspection import RiskCoverageDisplay
    >>> correct, scores = [1, 1, 0, 1, 0], [0.9, 0.8, 0.6, 0.4, 0.1]
    >>> display = RiskCoverageDisplay.from_predictions(correct, scores, threshold=0.5)
    >>> round(display.coverage, 2), round(display.accuracy, 3)
    (0.6, 0.667)
    """

    coverages: np.ndarray
    mistakes: np.ndarray
    anomalies: np.ndarray
    coverage: float | None = None
    name: str | None = None

    @property
    def mistake_rate(self):
        """Share of wrong classes among the trusted; NaN without any."""
        return self._at_threshold(self.mistakes)

    @property
    def anomaly_rate(self):
        """Share of anomalies among the trusted; NaN without any."""
        return self._at_threshold(self.anomalies)

    @property
    def accuracy(self):
        """Share of right predictions among the trusted; NaN without any."""
        return self._at_threshold(1 - self.mistakes - self.anomalies)

    def _at_threshold(self, rates):
        if not self.coverage:
            return float("nan")
        return float(rates[np.argmin(np.abs(self.coverages - self.coverage))])

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, X_anomaly=None, threshold=None, ax=None, name=None
    ):
        """Draw how many errors a classifier's scores let pass.

        Parameters
        ----------
        estimator : estimator
            A fitted classifier with ``judge``, as a guard has it, or with
            ``predict_proba``, whose largest probability is the score then.
        X : array-like of shape (n_samples, *input_shape)
            In-distribution inputs that the estimator was not fitted on.
        y : array-like of shape (n_samples,)
            Their classes.
        X_anomaly : array-like of shape (n_anomalies, *input_shape), default=None
            Anomalies among which the others come, in the share that is expected.
        threshold : float, default=None
            Lower scores are not trusted; None draws none.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name of the estimator; None takes that of its class.

        Returns
        -------
        RiskCoverageDisplay
            The display, drawn.
        """
        check_matplotlib(f"{cls.__name__}.from_estimator")
        correct, scores = judged(estimator, X, y)
        anomaly = np.zeros(len(correct), dtype=bool)
        if X_anomaly is not None:
            # Their classes do not matter, as any is wrong.
            _, more = predictions_and_scores(estimator, X_anomaly)
            correct = np.append(correct, np.zeros(len(more), dtype=bool))
            anomaly = np.append(anomaly, np.ones(len(more), dtype=bool))
            scores = np.append(scores, more)
        return cls.from_predictions(
            correct,
            scores,
            anomaly=anomaly,
            threshold=threshold,
            ax=ax,
            name=detector_name(estimator) if name is None else name,
        )

    @classmethod
    def from_predictions(
        cls, correct, y_score, *, anomaly=None, threshold=None, ax=None, name=None
    ):
        """Draw given predictions and scores.

        Parameters
        ----------
        correct : array-like of shape (n_samples,)
            Whether each prediction is right, True or 1, or wrong, False or 0.
        y_score : array-like of shape (n_samples,)
            Scores, the higher the more to be trusted.
        anomaly : array-like of bool of shape (n_samples,), default=None
            Which inputs are anomalies; they count as wrong. None means that none is.
        threshold : float, default=None
            Lower scores are not trusted; None draws none.
        ax : matplotlib.axes.Axes, default=None
            Where to draw; None makes a figure.
        name : str, default=None
            Name of what scores, the title.

        Returns
        -------
        RiskCoverageDisplay
            The display, drawn.
        """
        correct, y_score = check_correct(correct, y_score)
        anomaly = _check_anomaly(anomaly, len(correct))
        if threshold is not None and np.isnan(threshold):
            raise ValueError("threshold must be a number or None; got NaN.")
        coverages, mistakes, _ = risk_coverage_curve(correct | anomaly, y_score)
        _, anomalies, _ = risk_coverage_curve(~anomaly, y_score)
        trusted = None if threshold is None else float(np.mean(y_score >= threshold))
        return cls(
            coverages=coverages,
            mistakes=mistakes,
            anomalies=anomalies,
            coverage=trusted,
            name=name,
        ).plot(ax)

    def _draw(self):
        ax, risks = self.ax_, self.mistakes + self.anomalies
        color = COLORS["in-distribution"]
        style = {"step": "pre", "alpha": 0.5, "linewidth": 0}
        # The first step begins at 0, where nothing is trusted.
        x = np.append(0, self.coverages)
        low, high = (np.append(part[0], part) for part in (self.mistakes, risks))
        label = self._label("wrong class", self.mistake_rate)
        ax.fill_between(x, 0, low, color=color, label=label, **style)
        if self.anomalies.any():
            color = COLORS["anomaly"]
            label = self._label("anomaly", self.anomaly_rate)
            ax.fill_between(x, low, high, color=color, label=label, **style)
        ax.plot(x, high, drawstyle="steps-pre", color="black", lw=1, label="all errors")
        if self.coverage is not None:
            label = f"threshold: {100 * self.coverage:.1f} % trusted"
            if self.coverage:
                label += f", {100 * self.accuracy:.1f} % of it right"
            ax.axvline(self.coverage, color="black", ls="--", label=label)
        ax.set_xlim(0, 1.01)
        ax.set_ylim(0, None)
        ax.set_xlabel("coverage: share of inputs trusted")
        ax.set_ylabel("errors among the trusted")
        ax.set_title(self.name or "")
        # Below the axes, as the first steps may be high.
        legend = {"fontsize": "small", "frameon": False, "ncols": 2}
        legend |= {"bbox_to_anchor": (0.5, 0), "borderaxespad": 4.5}
        ax.legend(loc="upper center", **legend)

    def _label(self, kind, rate):
        return f"{kind}: {100 * rate:.1f} % at the threshold" if self.coverage else kind


def _check_anomaly(anomaly, n_samples):
    if anomaly is None:
        return np.zeros(n_samples, dtype=bool)
    anomaly = check_per_sample(anomaly, n_samples, "anomaly")
    if anomaly.dtype != bool:  # labels +1 and -1 would both count as anomalies
        raise ValueError(
            "anomaly must hold True or False for each input; got dtype "
            f"{anomaly.dtype}. Of labels give y_true == -1."
        )
    return anomaly
