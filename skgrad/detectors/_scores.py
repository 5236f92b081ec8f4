"""The score of any detector, whichever methods it has."""

import numpy as np
from sklearn.base import is_classifier, is_outlier_detector

from .._messages import brief, call_it
from .._unwrap import last_step
from ._first_steps import check_reads
from ._pyod import PyODDetector, is_pyod


def in_distribution_scores(estimator, X, *, anomaly_label=None):
    """Score inputs by any detector, higher = more in-distribution.

    Parameters
    ----------
    estimator : estimator
        A fitted outlier detector with ``score_samples`` or ``decision_function``, or a
        binary classifier with ``predict_proba`` or ``decision_function``, or a
        pipeline that ends in one.
    X : array-like
        Inputs, as the estimator takes them.
    anomaly_label : object, default=None
        Which label of a classifier means anomaly; needed only where the labels are
        other than 0 and 1, False and True, or -1 and +1.

    Returns
    -------
    ndarray of shape (n_samples,)
        Scores; of a classifier, the log-odds against an anomaly.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad import LODA
    >>> from skgrad.metrics import in_distribution_scores
    >>> X = np.random.default_rng(0).normal(size=(400, 2))
    >>> detector = LODA(random_state=0).fit(X)
    >>> low, high = in_distribution_scores(detector, [[9, 9], [0, 0]])
    >>> bool(low < high)
    True
    """
    check_detector(estimator, X)
    if is_outlier_detector(estimator):
        if hasattr(estimator, "score_samples"):
            return estimator.score_samples(X)
        return estimator.decision_function(X)
    if not is_classifier(estimator):
        raise TypeError(
            "estimator must be an outlier detector or a binary classifier; got "
            f"{type(estimator).__name__}."
        )
    anomaly = anomaly_index(estimator.classes_, anomaly_label)
    if hasattr(estimator, "predict_proba"):
        # Of a sure classifier the probabilities round to ties, the log-odds do not.
        probability = np.maximum(estimator.predict_proba(X), np.finfo(float).tiny)
        return np.log(probability[:, 1 - anomaly]) - np.log(probability[:, anomaly])
    decision = estimator.decision_function(X)
    return -decision if anomaly == 1 else decision


def check_detector(estimator, X):
    """Refuse what is no estimator, has the other sign, or cannot read X."""
    check_estimator(estimator)
    check_no_bare_pyod(estimator)
    check_reads(estimator, X)


def is_estimator(thing):
    """Tell whether it is one; a class of estimators is none, nor is a network."""
    methods = ("fit", "get_params")
    return not isinstance(thing, type) and all(hasattr(thing, m) for m in methods)


def check_estimator(estimator):
    """Refuse what is no estimator at all."""
    if not is_estimator(estimator):
        raise TypeError(
            "estimator must be a fitted outlier detector or binary classifier; got "
            f"{brief(estimator)}.{call_it(estimator)}"
        )


def as_outlier_detector(detector):
    """Return the detector with scikit-learn's signs, or say why it is none."""
    if is_pyod(detector):
        return PyODDetector(detector)
    check_no_bare_pyod(detector)
    if not is_estimator(detector) or not is_outlier_detector(detector):
        raise TypeError(
            "detector must be an outlier detector of scikit-learn, PyOD or skgrad, or "
            f"a pipeline that ends in one; got {brief(detector)}."
            f"{call_it(detector)}"
        )
    if not any(hasattr(detector, m) for m in ("score_samples", "decision_function")):
        raise TypeError(
            "detector must have score_samples or decision_function, to score new "
            f"inputs; {brief(detector)} has neither. LocalOutlierFactor has them with "
            "novelty=True."
        )
    return detector


def check_no_bare_pyod(estimator):
    """Refuse detectors of PyOD with their own sign, wherever they hide."""
    if is_pyod(last_step(estimator)):
        raise TypeError(
            "estimator must score in-distribution inputs higher; PyOD does the "
            f"opposite in {brief(estimator)}. Wrap PyOD's detector itself before it is "
            "fitted, also within a pipeline: PyODDetector(detector)."
        )


def anomaly_index(classes, anomaly_label):
    """Return which of two labels means anomaly, as an index."""
    classes = np.asarray(classes).tolist()
    if len(classes) != 2:
        raise ValueError(
            "estimator must have two classes, one of them for anomalies; it has "
            f"{len(classes)}: {brief(classes)}."
        )
    if anomaly_label is None:
        if classes == [0, 1]:  # False and True too
            return 1
        if classes == [-1, 1]:
            return 0
    elif anomaly_label in classes:
        return classes.index(anomaly_label)
    # Which label sorts last says nothing: 'clean' comes after 'adversarial'.
    raise ValueError(
        "anomaly_label must be one of the classifier's labels, "
        f"{brief(classes)}, to tell which means anomaly; got {anomaly_label!r}. Use "
        f"DetectionScorer(metric, anomaly_label=...)."
    )
