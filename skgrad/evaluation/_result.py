"""The result of one detector on one kind of anomaly."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.stats import binomtest

from ..metrics import (
    aupr_in,
    aupr_out,
    auroc,
    class_weighted,
    detection_accuracy,
    tnr_at_tpr,
)
from ._bootstrap import bootstrap_intervals

METRICS = {
    "auroc": auroc,
    "tnr_at_95tpr": tnr_at_tpr,
    "aupr_in": aupr_in,
    "aupr_out": aupr_out,
    "detection_accuracy": detection_accuracy,
}


@dataclass(frozen=True)
class Result:
    """The result of one detector on one kind of anomaly, as `evaluate` makes it.

    Each parameter is an attribute of the same name; the metrics are computed from the
    scores when they are asked for.

    Parameters
    ----------
    detector, anomaly : str
        Their names.
    scores_id, scores_anomaly : ndarray of shape (n_samples,)
        Scores of in-distribution test inputs and of anomalies, higher = more
        in-distribution. There may be no anomalies, where no attack succeeded.
    offset : float or None
        The detector's threshold: lower scores are rejected. None where there is not
        one for all inputs; then the next two are needed.
    rejected_id, rejected_anomaly : ndarray of bool of shape (n_samples,), default=None
        Which inputs the detector rejects; None means those below ``offset``.
    classes_id, classes_anomaly : ndarray of int of shape (n_samples,), default=None
        The classes that the model predicts, for metrics weighted by class.
    protocol : str, default=""
        Name of the protocol: what the detector was fitted on.
    seed, fold : int, default=0
        The repetition.
    fit_seconds, score_seconds : float, default=nan
        Time to fit the detector, and to score both kinds of inputs, in seconds.
    peak_memory : float, default=nan
        By how much fitting and scoring raised the peak of the memory in use, in bytes.
    group : str, default="other"
        Name of the kinds of anomaly that this one is averaged with.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.evaluation import Result
    >>> known, strange = np.arange(100.0), np.arange(-50.0, 0.0)
    >>> result = Result("LODA", "noise", known, strange, offset=4.5)
    >>> result.metrics["auroc"], result.realised_fpr
    (1.0, 0.05)
    """

    detector: str
    anomaly: str
    scores_id: np.ndarray
    scores_anomaly: np.ndarray
    offset: float | None
    rejected_id: np.ndarray | None = field(default=None, repr=False)
    rejected_anomaly: np.ndarray | None = field(default=None, repr=False)
    classes_id: np.ndarray | None = field(default=None, repr=False)
    classes_anomaly: np.ndarray | None = field(default=None, repr=False)
    protocol: str = ""
    seed: int = 0
    fold: int = 0
    fit_seconds: float = np.nan
    score_seconds: float = np.nan
    peak_memory: float = np.nan
    group: str = "other"

    @property
    def realised_fpr(self):
        """Share of the in-distribution test inputs that are rejected."""
        return self._share(self.rejected_id, self.scores_id)

    @cached_property
    def metrics(self):
        """All metrics by name, as fractions; NaN where there are no anomalies."""
        y, scores = self._labelled()
        values = {
            name: metric(y, scores) if len(self.scores_anomaly) else np.nan
            for name, metric in METRICS.items()
        }
        values["rejected_anomalies"] = self._share(
            self.rejected_anomaly, self.scores_anomaly
        )
        return values

    @cached_property
    def class_weighted_metrics(self):
        """Paper C's metrics, weighted by the predicted class; NaN without classes."""
        names = ("auroc", "tnr_at_95tpr")
        if self.classes_id is None or not len(self.scores_anomaly):
            return {f"class_weighted_{name}": np.nan for name in names}
        classes = np.concatenate([self.classes_id, self.classes_anomaly])
        y, scores = self._labelled()
        return {
            f"class_weighted_{name}": class_weighted(METRICS[name], y, scores, classes)
            for name in names
        }

    @cached_property
    def intervals(self):
        """95 % confidence intervals by the name of the metric, over the test inputs.

        Of `metrics` by 1,000 bootstrap draws; of the shares that are rejected by
        Wilson's method, for a fixed threshold.
        """
        # The seed of the result, so that the same table comes out each time.
        intervals = bootstrap_intervals(
            self.scores_id, self.scores_anomaly, random_state=self.seed
        )
        n_id, n = len(self.scores_id), len(self.scores_anomaly)
        intervals["rejected_anomalies"] = _wilson(self.metrics["rejected_anomalies"], n)
        intervals["realised_fpr"] = _wilson(self.realised_fpr, n_id)
        return intervals

    def _labelled(self):
        y = np.repeat([1, -1], [len(self.scores_id), len(self.scores_anomaly)])
        return y, np.concatenate([self.scores_id, self.scores_anomaly])

    def _share(self, rejected, scores):
        if not len(scores):
            return np.nan
        return float(np.mean(scores < self.offset if rejected is None else rejected))


def _wilson(share, n):
    # Of shares near 0, as false alarms are, Wald's interval would reach below 0.
    if not n:
        return np.nan, np.nan
    ends = binomtest(round(share * n), n).proportion_ci(method="wilson")
    return float(ends.low), float(ends.high)
