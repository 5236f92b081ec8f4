"""The score of any detector, whichever methods it has, and the checks for it."""

import numpy as np
from sklearn.base import is_classifier, is_outlier_detector
from sklearn.preprocessing import FunctionTransformer

from .._messages import brief, call_it
from .._unwrap import first_steps, last_step
from .._validation import DATASETS, dataset_name
from ._pyod import PyODDetector, is_pyod


def in_distribution_scores(estimator, X):
    """Score inputs by any detector, higher = more in-distribution.

    Parameters
    ----------
    estimator : estimator
        A fitted outlier detector, binary classifier (anomalies are 1 of {0, 1} or -1
        of {-1, +1}), or pipeline that ends in one.
    X : array-like
        Inputs, as the estimator takes them.

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
    if is_outlier_detector(estimator) or hasattr(estimator, "score_samples"):
        # The same order of inputs, but score_samples does not depend on a threshold.
        if hasattr(estimator, "score_samples"):
            return estimator.score_samples(X)
        return estimator.decision_function(X)
    if not classifies_anomalies(estimator):
        raise TypeError(
            "estimator must be an outlier detector or a binary classifier; got "
            f"{type(estimator).__name__}."
        )
    anomaly = anomaly_index(estimator.classes_)
    if hasattr(estimator, "predict_proba"):
        # Probabilities of a confident classifier round to ties, log-odds do not.
        probability = np.maximum(estimator.predict_proba(X), np.finfo(float).tiny)
        return np.log(probability[:, 1 - anomaly]) - np.log(probability[:, anomaly])
    decision = estimator.decision_function(X)
    return -decision if anomaly == 1 else decision


def classifies_anomalies(estimator):
    """Return True for a classifier, unless it has the scores of a detector inside."""
    return is_classifier(estimator) and not hasattr(estimator, "score_samples")


def check_detector(estimator, X):
    """Raise unless it is an estimator with scikit-learn's sign that accepts X."""
    check_estimator(estimator)
    check_no_bare_pyod(estimator)
    check_accepts_dataset(estimator, X)


def is_estimator(candidate):
    """Return True for an estimator; neither classes of estimators nor networks are."""
    methods = ("fit", "get_params")
    return not isinstance(candidate, type) and all(
        hasattr(candidate, method) for method in methods
    )


def check_estimator(estimator):
    """Raise unless it is an estimator."""
    if not is_estimator(estimator):
        raise TypeError(
            "estimator must be a fitted outlier detector or binary classifier; got "
            f"{brief(estimator)}.{call_it(estimator)}"
        )


def check_no_bare_pyod(estimator, name="estimator"):
    """Raise for detectors of PyOD, whose sign is the opposite, also inside others.

    ``name`` is the parameter's name in messages.
    """
    if is_pyod(last_step(estimator)):
        raise TypeError(
            f"{name} must score in-distribution inputs higher; PyOD does the "
            f"opposite in {brief(estimator)}. Wrap PyOD's detector itself before it is "
            "fitted, also within a pipeline: PyODDetector(detector)."
        )


def check_accepts_dataset(detector, X):
    """Raise if X is a Dataset or DataLoader and the detector takes arrays only."""
    # numpy would iterate over it, perhaps forever: a Dataset with a length need not
    # raise the IndexError that ends an iteration.
    if not isinstance(X, DATASETS):
        return
    for first in first_steps(detector):
        if _takes_arrays_only(first):
            shown = first if isinstance(first, str) else type(first).__name__
            raise TypeError(
                f"X must be an array for a detector that begins with {shown}; got "
                f"{dataset_name(X)}. Stack it first."
            )


def _takes_arrays_only(first):
    # A word such as the "mean" of a KDE comes from a step of another library.
    if isinstance(first, str):
        return True
    of_sklearn = type(first).__module__.startswith("sklearn.")
    # A user's function may accept anything.
    return of_sklearn and not isinstance(first, FunctionTransformer)


def as_outlier_detector(detector, name="detector"):
    """Return the detector with scikit-learn's sign; raise if it is not a detector.

    ``name`` is the parameter's name in messages.
    """
    if is_pyod(detector):
        return PyODDetector(detector)
    check_no_bare_pyod(detector, name)
    if not is_estimator(detector) or not is_outlier_detector(detector):
        raise TypeError(
            f"{name} must be an outlier detector of scikit-learn, PyOD or skgrad, or a "
            f"pipeline that ends in one; got {brief(detector)}."
            f"{call_it(detector)}"
        )
    if not any(hasattr(detector, m) for m in ("score_samples", "decision_function")):
        raise TypeError(
            f"{name} must have score_samples or decision_function; "
            f"{brief(detector)} has neither. LocalOutlierFactor has both with "
            "novelty=True."
        )
    return detector


def anomaly_index(classes):
    """Return the index of the label, among two, that means anomaly."""
    classes = np.asarray(classes).tolist()
    # False and True equal 0 and 1. The order of other labels means nothing: 'clean'
    # sorts after 'adversarial'.
    if classes not in ([0, 1], [-1, 1]):
        raise ValueError(
            "estimator must be fitted on the labels 0 and 1, the anomaly, or +1 and "
            f"-1, the anomaly; got {brief(classes)}. Encode y so."
        )
    return classes.index(1 if 0 in classes else -1)
