"""The metrics as scorers for cross_validate and GridSearchCV."""

import numpy as np
from sklearn.base import is_classifier

from ._detection import aupr_in, aupr_out, auroc, detection_accuracy, tnr_at_tpr


class DetectionScorer:
    """Score any detector by one of the detection metrics.

    A scorer of scikit-learn is given an estimator and labelled data. This one takes
    novelty detectors, whose labels are +1 for in-distribution and -1 for anomalies,
    and supervised ones, whose second class is the anomaly; it turns both into the
    labels and the direction that the metric asks for.

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
            or a binary classifier with ``predict_proba``, or a pipeline that ends in
            one.
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
            if len(estimator.classes_) != 2:
                raise ValueError(
                    "estimator must have two classes, the second for anomalies; it "
                    f"has {len(estimator.classes_)}: {estimator.classes_!r}."
                )
            unknown = np.setdiff1d(y, estimator.classes_)
            if len(unknown):
                raise ValueError(
                    f"y must hold the labels {estimator.classes_.tolist()} that the "
                    f"classifier was fitted on; got {unknown[:5].tolist()} too."
                )
            y = np.where(y == estimator.classes_[1], -1, 1)
            scores = estimator.predict_proba(X)[:, 0]
        elif hasattr(estimator, "score_samples"):
            scores = estimator.score_samples(X)
        else:
            scores = estimator.decision_function(X)
        return self.metric(y, scores, **self.options)

    def __repr__(self):
        options = "".join(f", {key}={value!r}" for key, value in self.options.items())
        return f"DetectionScorer({self.metric.__name__}{options})"


aupr_in_scorer = DetectionScorer(aupr_in)
aupr_out_scorer = DetectionScorer(aupr_out)
auroc_scorer = DetectionScorer(auroc)
detection_accuracy_scorer = DetectionScorer(detection_accuracy)
tnr_at_tpr_scorer = DetectionScorer(tnr_at_tpr)
