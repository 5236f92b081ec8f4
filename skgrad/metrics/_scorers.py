"""The metrics as scorers for cross_validate and GridSearchCV."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._labels import distinct, to_array
from ..detectors._scores import (
    anomaly_index,
    check_estimator,
    classifies_anomalies,
    in_distribution_scores,
)
from ._detection import (
    aupr_in,
    aupr_out,
    auroc,
    check_metric,
    detection_accuracy,
    tnr_at_tpr,
)


class DetectionScorer:
    """Score any detector by one of the detection metrics.

    It accepts novelty detectors, whose labels are +1 for in-distribution and -1 for
    anomalies, and binary classifiers, whose anomaly is 1 of {0, 1} or -1 of {-1, +1}.

    Parameters
    ----------
    metric : callable
        ``metric(y_true, y_score)`` with y_true in {+1, -1}; higher is better.
    **options : dict
        Further keyword arguments of the metric.

    Notes
    -----
    scikit-learn's own folds may hold one kind only, and train on anomalies as well. Set
    ``cv`` to :class:`skgrad.NoveltyKFold`.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad import LODA
    >>> from skgrad.metrics import DetectionScorer, tnr_at_tpr
    >>> X = np.random.default_rng(0).normal(size=(400, 2))
    >>> X[300:] += 9
    >>> y = np.repeat([1, -1], [300, 100])
    >>> detector = LODA(n_bins=10, random_state=0).fit(X[:300])
    >>> DetectionScorer(tnr_at_tpr, tpr=0.99)(detector, X, y)
    1.0
    """

    def __init__(self, metric, **options):
        self.metric = metric
        self.options = options

    def __call__(self, estimator, X, y):
        """Score a fitted detector.

        Parameters
        ----------
        estimator : estimator
            A fitted outlier detector or binary classifier, or a pipeline of one.
        X : array-like
            Inputs, as the estimator takes them.
        y : array-like of shape (n_samples,)
            +1 and -1 for an outlier detector or a `skgrad.GuardedClassifier`, its own
            labels for a classifier of anomalies.

        Returns
        -------
        float
            The metric.
        """
        check_metric(self.metric)
        check_estimator(estimator)
        if y is None:
            raise ValueError("y must label the anomalies; got None.")
        y = to_array(y, "y")
        if classifies_anomalies(estimator):
            check_is_fitted(estimator)
            _check_labels(y, estimator.classes_.tolist())
            anomaly = anomaly_index(estimator.classes_)
            # The metrics take +1 and -1, whatever the labels of the classifier are.
            y = np.where(y == estimator.classes_[anomaly], -1, 1)
        return self.metric(y, in_distribution_scores(estimator, X), **self.options)

    def __repr__(self):
        shown = "".join(f", {key}={value!r}" for key, value in self.options.items())
        name = getattr(self.metric, "__name__", repr(self.metric))
        return f"DetectionScorer({name}{shown})"


def _check_labels(y, classes):
    unknown = [label for label in distinct(y) if label not in classes]
    if unknown:
        raise ValueError(
            f"y must hold the labels {classes} that the classifier was fitted on; got "
            f"{unknown[:5]} as well."
        )


# Sphinx shows the string under each as its description.
aupr_in_scorer = DetectionScorer(aupr_in)
"""Scorer of `aupr_in` for ``scoring=``. Higher is better."""
aupr_out_scorer = DetectionScorer(aupr_out)
"""Scorer of `aupr_out` for ``scoring=``. Higher is better."""
auroc_scorer = DetectionScorer(auroc)
"""Scorer of `auroc` for ``scoring=``. Higher is better, 0.5 is chance."""
detection_accuracy_scorer = DetectionScorer(detection_accuracy)
"""Scorer of `detection_accuracy` for ``scoring=``. Higher is better, 0.5 is chance."""
tnr_at_tpr_scorer = DetectionScorer(tnr_at_tpr)
"""Scorer of `tnr_at_tpr` at 95 % for ``scoring=``. Higher is better.

Another rate is ``DetectionScorer(tnr_at_tpr, tpr=0.99)``.
"""
