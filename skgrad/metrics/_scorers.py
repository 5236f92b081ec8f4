"""The metrics as scorers for cross_validate and GridSearchCV."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from .._validation import distinct, to_array
from ..detectors._scores import (
    anomaly_index,
    check_estimator,
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

    A scorer of scikit-learn is given an estimator and labelled data. This one takes
    novelty detectors, whose labels are +1 for in-distribution and -1 for anomalies,
    and binary classifiers, with 1 of 0 and 1 or -1 of -1 and +1 for anomalies. It
    turns all into the labels and the direction that the metric asks for.

    Parameters
    ----------
    metric : callable
        ``metric(y_true, y_score)`` with y_true in {+1, -1}; higher is better.
    anomaly_label : object, default=None
        Which label of a classifier means anomaly; needed only where the labels are
        other than 0 and 1, False and True, or -1 and +1.
    **options : dict
        Further keyword arguments of the metric.

    Notes
    -----
    Without ``cv``, scikit-learn cuts the data of a novelty detector into consecutive
    folds, some of which may hold one kind only, and trains on anomalies too. Give the
    folds yourself: train on in-distribution rows, test on both kinds.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import cross_validate
    >>> from skgrad import LODA
    >>> from skgrad.metrics import DetectionScorer, tnr_at_tpr
    >>> X = np.random.default_rng(0).normal(size=(400, 2))
    >>> X[300:] += 9
    >>> y = np.repeat([1, -1], [300, 100])
    >>> folds = [(np.arange(200), np.arange(200, 400))]
    >>> scorer = DetectionScorer(tnr_at_tpr, tpr=0.99)
    >>> detector = LODA(n_bins=10, random_state=0)
    >>> result = cross_validate(detector, X, y, cv=folds, scoring=scorer)
    >>> result["test_score"].tolist()
    [1.0]
    """

    def __init__(self, metric, *, anomaly_label=None, **options):
        self.metric = metric
        self.anomaly_label = anomaly_label
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
        check_metric(self.metric)
        check_estimator(estimator)
        if y is None:
            raise ValueError("y must be given, to tell anomalies; got None.")
        y = to_array(y, "y")
        if is_classifier(estimator):
            check_is_fitted(estimator)
            _check_labels(y, estimator.classes_.tolist())
            anomaly = anomaly_index(estimator.classes_, self.anomaly_label)
            y = np.where(y == estimator.classes_[anomaly], -1, 1)
        scores = in_distribution_scores(estimator, X, anomaly_label=self.anomaly_label)
        return self.metric(y, scores, **self.options)

    def __repr__(self):
        options = dict(self.options)
        if self.anomaly_label is not None:
            options = {"anomaly_label": self.anomaly_label, **options}
        told = "".join(f", {key}={value!r}" for key, value in options.items())
        name = getattr(self.metric, "__name__", repr(self.metric))
        return f"DetectionScorer({name}{told})"


def _check_labels(y, classes):
    unknown = [label for label in distinct(y) if label not in classes]
    if unknown:
        raise ValueError(
            f"y must hold the labels {classes} that the classifier was fitted on; got "
            f"{unknown[:5]} too."
        )


# The strings below are what the API pages tell of each.
aupr_in_scorer = DetectionScorer(aupr_in)
"""Score a detector by `aupr_in`: give it as ``scoring``.

A `DetectionScorer` without options. Higher is better.
"""
aupr_out_scorer = DetectionScorer(aupr_out)
"""Score a detector by `aupr_out`: give it as ``scoring``.

A `DetectionScorer` without options. Higher is better.
"""
auroc_scorer = DetectionScorer(auroc)
"""Score a detector by `auroc`: give it as ``scoring``.

A `DetectionScorer` without options, for ``cross_validate(detector, X, y, cv=folds,
scoring=auroc_scorer)`` and searches, with folds by `NoveltyKFold`. Higher is better,
0.5 is chance.
"""
detection_accuracy_scorer = DetectionScorer(detection_accuracy)
"""Score a detector by `detection_accuracy`: give it as ``scoring``.

A `DetectionScorer` without options. Higher is better, 0.5 is chance.
"""
tnr_at_tpr_scorer = DetectionScorer(tnr_at_tpr)
"""Score a detector by `tnr_at_tpr` at 95 %: give it as ``scoring``.

Another share is ``DetectionScorer(tnr_at_tpr, tpr=0.99)``. Higher is better.
"""
