"""Scorers of abstention, for classifiers that say how much each prediction is worth."""

import numpy as np
from sklearn.base import is_classifier

from .._labels import check_per_sample
from .._messages import brief
from ._detection import check_metric
from ._risk_coverage import aurc, coverage_at_risk


class AbstentionScorer:
    """Score a classifier by how well its own scores find its errors.

    Parameters
    ----------
    metric : callable
        ``metric(correct, y_score)``, such as `skgrad.metrics.coverage_at_risk`.
    greater_is_better : bool, default=True
        False for metrics of which less is better: their sign is turned.
    **options : dict
        Further keyword arguments of the metric.

    Notes
    -----
    Of a classifier with a method ``judge``, as a guard has it, its ``predicted`` and
    ``score`` are compared with y; of any other the class and its probability.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skgrad.metrics import AbstentionScorer, coverage_at_risk
    >>> X, y = load_iris(return_X_y=True)
    >>> classifier = LogisticRegression(max_iter=1000).fit(X[::2], y[::2])
    >>> scorer = AbstentionScorer(coverage_at_risk, risk=0.01)
    >>> scorer(classifier, X[1::2], y[1::2]) > 0.5
    True
    """

    def __init__(self, metric, *, greater_is_better=True, **options):
        self.metric = metric
        self.greater_is_better = greater_is_better
        self.options = options

    def __call__(self, estimator, X, y):
        """Score a fitted classifier.

        Parameters
        ----------
        estimator : estimator
            A fitted classifier with ``judge`` or ``predict_proba``.
        X : array-like
            Inputs, as the estimator takes them.
        y : array-like of shape (n_samples,)
            The true classes.

        Returns
        -------
        float
            The metric, higher is better.
        """
        check_metric(self.metric)
        value = self.metric(*judged(estimator, X, y), **self.options)
        return value if self.greater_is_better else -value

    def __repr__(self):
        shown = "".join(f", {key}={value!r}" for key, value in self.options.items())
        sign = "" if self.greater_is_better else ", greater_is_better=False"
        name = getattr(self.metric, "__name__", repr(self.metric))
        return f"AbstentionScorer({name}{sign}{shown})"


def judged(estimator, X, y):
    """Return which predictions of a classifier are right, and their scores."""
    predicted, scores = predictions_and_scores(estimator, X)
    y = check_per_sample(y, len(predicted), "y")
    words = [array.dtype.kind in "OSU" for array in (predicted, y)]
    if words[0] != words[1]:  # none of them would be equal
        raise ValueError(
            "y must hold classes as the estimator predicts them, such as "
            f"{predicted[:1].tolist()}; got {brief(y[:3].tolist())}."
        )
    return predicted == y, scores


def predictions_and_scores(estimator, X):
    """Return the classes that a classifier predicts, and how much it trusts each."""
    if hasattr(estimator, "judge"):
        answer = estimator.judge(X)
        return np.asarray(answer.predicted), np.asarray(answer.score)
    proper = hasattr(estimator, "fit") and is_classifier(estimator)
    if not proper or not hasattr(estimator, "predict_proba"):
        raise TypeError(
            "estimator must be a fitted classifier with judge, as a guard has it, or "
            f"with predict_proba; got {brief(estimator)}. Of other predictions and "
            "scores, call the metric itself."
        )
    probabilities = estimator.predict_proba(X)
    best = np.argmax(probabilities, axis=1)
    return estimator.classes_[best], probabilities.max(axis=1)


# Sphinx shows the string under each as its description.
neg_aurc_scorer = AbstentionScorer(aurc, greater_is_better=False)
"""Scorer of minus `aurc` for ``scoring=``. Higher is better, 0 at best."""
coverage_at_risk_scorer = AbstentionScorer(coverage_at_risk)
"""Scorer of `coverage_at_risk` at 5 % for ``scoring=``. Higher is better.

Another rate is ``AbstentionScorer(coverage_at_risk, risk=0.01)``.
"""
