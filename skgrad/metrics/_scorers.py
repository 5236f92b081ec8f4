"""The metrics as scorers for cross_validate and GridSearchCV."""

import numpy as np
from sklearn.base import is_classifier, is_outlier_detector

from ._detection import aupr_in, aupr_out, auroc, detection_accuracy, tnr_at_tpr


class DetectionScorer:
    """Score any detector by one of the detection metrics.

    A scorer of scikit-learn is given an estimator and labelled data. This one takes
    novelty detectors, whose labels are +1 for in-distribution and -1 for anomalies,
    and supervised ones, whose second class is the anomaly, 1 of 0 and 1, except with
    labels -1 and +1, which mean the same as for novelty detectors. It turns all into
    the labels and the direction that the metric asks for.

    Parameters
    ----------
    metric : callable
        ``metric(y_true, y_score)`` with y_true in {+1, -1}; higher is better.
    **options : dict
        Further keyword arguments of the metric.

    Examples
    --------
    >>> from skgrad.metrics import DetectionScorer, tnr_at_tpr
    >>> DetectionScorer(tnr_at_tpr, tpr=0.99)
    DetectionScorer(tnr_at_tpr, tpr=0.99)
    """

    def __init__(self, metric, **options):
        self.metric = metric
        self.options = options

    def __call__(self, estimator, X, y):
        """Score a fitted detector.

        Parameters
        ----------
        estimator : estimator
            A fitted outlier detector with ``score_samples`` or ``decision_function``,
            or a binary classifier with ``predict_proba`` or ``decision_function``, or
            a pipeline that ends in one.
        X : array-like
            Inputs, as the estimator takes them.
        y : array-like of shape (n_samples,)
            +1 and -1 for an outlier detector, the classifier's own labels for a
            classifier.

        Returns
        -------
        float
            The metric; higher is better.
        """
        y = np.asarray(y)
        if is_classifier(estimator):
            _check_labels(y, estimator.classes_)
            y = np.where(y == _anomaly_label(estimator.classes_), -1, 1)
        return self.metric(y, in_distribution_scores(estimator, X), **self.options)

    def __repr__(self):
        options = "".join(f", {key}={value!r}" for key, value in self.options.items())
        return f"DetectionScorer({self.metric.__name__}{options})"


def in_distribution_scores(estimator, X):
    """Score inputs by any detector, higher = more in-distribution.

    Parameters
    ----------
    estimator : estimator
        A fitted outlier detector or binary classifier, as for `DetectionScorer`.
    X : array-like
        Inputs, as the estimator takes them.

    Returns
    -------
    ndarray of shape (n_samples,)
        Scores; of a classifier, the log-odds against an anomaly.
    """
    if not is_classifier(estimator):
        for method in ("score_samples", "decision_function"):
            if is_outlier_detector(estimator) and hasattr(estimator, method):
                return getattr(estimator, method)(X)
        raise TypeError(
            "estimator must be an outlier detector or a binary classifier; got "
            f"{type(estimator).__name__}."
        )
    anomaly = list(estimator.classes_).index(_anomaly_label(estimator.classes_))
    if hasattr(estimator, "predict_proba"):
        # Of a sure classifier the probabilities round to ties, the log-odds do not.
        probability = np.maximum(estimator.predict_proba(X), np.finfo(float).tiny)
        return np.log(probability[:, 1 - anomaly]) - np.log(probability[:, anomaly])
    decision = estimator.decision_function(X)
    return -decision if anomaly == 1 else decision


def _anomaly_label(classes):
    """Return which of two labels means anomaly."""
    if len(classes) != 2:
        raise ValueError(
            "estimator must have two classes, one of them for anomalies; it has "
            f"{len(classes)}: {classes!r}."
        )
    return classes[0] if list(classes) == [-1, 1] else classes[1]


def _check_labels(y, classes):
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(
            f"y must hold the labels {list(classes)} that the classifier was fitted "
            f"on; got {unknown[:5].tolist()} too."
        )


aupr_in_scorer = DetectionScorer(aupr_in)
aupr_out_scorer = DetectionScorer(aupr_out)
auroc_scorer = DetectionScorer(auroc)
detection_accuracy_scorer = DetectionScorer(detection_accuracy)
tnr_at_tpr_scorer = DetectionScorer(tnr_at_tpr)
