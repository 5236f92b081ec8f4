"""The metrics that the literature of anomaly detection reports."""

from numbers import Real

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from .._compat import Interval, validate_params
from .._messages import brief
from .._validation import distinct, to_array

_ARRAYS = {"y_true": ["array-like"], "y_score": ["array-like"]}


@validate_params(
    {**_ARRAYS, "tpr": [Interval(Real, 0, 1, closed="right")]},
    prefer_skip_nested_validation=True,
)
def tnr_at_tpr(y_true, y_score, *, tpr=0.95):
    """Share of anomalies rejected while ``tpr`` of in-distribution inputs pass.

    The threshold is the highest score at or above which at least ``tpr`` of the
    in-distribution inputs lie; the metric is the share of anomalies strictly below.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        +1 for in-distribution (the positive class), -1 for anomalies.
    y_score : array-like of shape (n_samples,)
        Scores, higher = more in-distribution.
    tpr : float, default=0.95
        True positive rate: share of in-distribution inputs that pass, in (0, 1].

    Returns
    -------
    float
        True negative rate, in [0, 1]; higher is better.

    Examples
    --------
    >>> from skgrad.metrics import tnr_at_tpr
    >>> tnr_at_tpr([1, 1, -1, -1], [0.9, 0.5, 0.6, 0.1])
    0.5
    """
    y_true, y_score = _check(y_true, y_score)
    positives = np.sort(y_score[y_true == 1])[::-1]
    # The small number undoes rounding: 0.55 * 100 is 55.00000000000001.
    passing = max(int(np.ceil(tpr * len(positives) - 1e-9)), 1)
    return float(np.mean(y_score[y_true == -1] < positives[passing - 1]))


@validate_params(_ARRAYS, prefer_skip_nested_validation=True)
def auroc(y_true, y_score):
    """Area under the receiver operating characteristic curve.

    The probability that an in-distribution input scores higher than an anomaly, ties
    counting half.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        +1 for in-distribution (the positive class), -1 for anomalies.
    y_score : array-like of shape (n_samples,)
        Scores, higher = more in-distribution.

    Returns
    -------
    float
        The area, in [0, 1]; 0.5 is chance, higher is better.

    Examples
    --------
    >>> from skgrad.metrics import auroc
    >>> auroc([1, 1, -1, -1], [0.9, 0.5, 0.6, 0.1])
    0.75
    """
    return float(roc_auc_score(*_check(y_true, y_score)))


@validate_params(_ARRAYS, prefer_skip_nested_validation=True)
def aupr_in(y_true, y_score):
    """Area under the precision-recall curve, in-distribution inputs as positives.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        +1 for in-distribution (the positive class), -1 for anomalies.
    y_score : array-like of shape (n_samples,)
        Scores, higher = more in-distribution.

    Returns
    -------
    float
        Average precision, in [0, 1]; chance is the share of in-distribution inputs.

    Examples
    --------
    >>> from skgrad.metrics import aupr_in
    >>> round(aupr_in([1, 1, -1, -1], [0.9, 0.5, 0.6, 0.1]), 3)
    0.833
    """
    y_true, y_score = _check(y_true, y_score)
    return float(average_precision_score(y_true, y_score, pos_label=1))


@validate_params(_ARRAYS, prefer_skip_nested_validation=True)
def aupr_out(y_true, y_score):
    """Area under the precision-recall curve, anomalies as positives.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        +1 for in-distribution, -1 for anomalies (the positive class of this metric).
    y_score : array-like of shape (n_samples,)
        Scores, higher = more in-distribution; the sign is turned inside.

    Returns
    -------
    float
        Average precision, in [0, 1]; chance is the share of anomalies.

    Examples
    --------
    >>> from skgrad.metrics import aupr_out
    >>> round(aupr_out([1, 1, -1, -1], [0.9, 0.5, 0.6, 0.1]), 3)
    0.833
    """
    y_true, y_score = _check(y_true, y_score)
    return float(average_precision_score(y_true, -y_score, pos_label=-1))


@validate_params(_ARRAYS, prefer_skip_nested_validation=True)
def detection_accuracy(y_true, y_score):
    """Best accuracy over all thresholds, both kinds of input equally likely.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        +1 for in-distribution (the positive class), -1 for anomalies.
    y_score : array-like of shape (n_samples,)
        Scores, higher = more in-distribution.

    Returns
    -------
    float
        Largest mean of true positive and true negative rate, in [0.5, 1]. The
        threshold is chosen on the data itself, so this is an upper bound on what a
        threshold chosen beforehand reaches.

    References
    ----------
    Lee et al. (2018), "A Simple Unified Framework for Detecting Out-of-Distribution
    Samples and Adversarial Attacks", Sec. 3.1.

    Examples
    --------
    >>> from skgrad.metrics import detection_accuracy
    >>> detection_accuracy([1, 1, -1, -1], [0.9, 0.5, 0.6, 0.1])
    0.75
    """
    false_positive, true_positive, _ = roc_curve(*_check(y_true, y_score))
    return float(np.max((true_positive + 1 - false_positive) / 2))


def _check(y_true, y_score):
    """Check labels and scores, and return scores that have only an order."""
    y_true, y_score = check_judged(y_true, y_score)
    # Only the order counts, and ranks have no infinities.
    return y_true, np.unique(y_score, return_inverse=True)[1].astype(float)


def check_metric(metric):
    """Refuse what is no function, such as the name of one."""
    if not callable(metric):
        raise TypeError(
            "metric must be a function of y_true and y_score, such as "
            f"skgrad.metrics.auroc; got {brief(metric, 200)}."
        )


def check_judged(y_true, y_score):
    """Check that labels are +1 and -1, both there, and that scores are numbers."""
    y_true = to_array(y_true, "y_true")
    y_score = to_array(y_score, "y_score")
    if y_true.ndim != 1 or y_score.shape != y_true.shape:
        raise ValueError(
            "y_true and y_score must be of one shape (n_samples,); got "
            f"{y_true.shape} and {y_score.shape}."
        )
    labels = distinct(y_true)
    # Other labels would be turned round in silence: 1 means anomaly to many.
    if labels != [-1, 1]:
        hint = ""
        if labels in ([0], [1], [-1]):
            hint = (
                " In cross-validation, give cv= folds that hold both kinds, such as "
                "skgrad.NoveltyKFold(shuffle=True)."
            )
        elif labels == [0, 1]:
            hint = " From labels with 1 for anomalies, take 1 - 2 * y."
        raise ValueError(
            "y_true must hold +1 for in-distribution inputs and -1 for anomalies, both "
            f"at least once; got labels {labels[:5]}.{hint}"
        )
    if y_score.dtype.kind not in "iuf" or np.isnan(y_score).any():
        raise ValueError(
            "y_score must be numbers without NaN, higher = more in-distribution; got "
            f"dtype {y_score.dtype} with {y_score[:5]} ..."
        )
    return y_true, y_score
