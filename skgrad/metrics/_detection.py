"""The metrics that the literature of anomaly detection reports."""

from numbers import Real

from .._compat import Interval, validate_params
from .._labels import check_scores, check_signs, to_array
from .._messages import brief
from ._counts import ScoreCounts

_ARRAYS = {"y_true": ["array-like"], "y_score": ["array-like"]}
_TPR = {"tpr": [Interval(Real, 0, 1, closed="right")]}


@validate_params({**_ARRAYS, **_TPR}, prefer_skip_nested_validation=True)
def tnr_at_tpr(y_true, y_score, *, tpr=0.95):
    """Share of anomalies rejected while ``tpr`` of in-distribution inputs pass.

    The threshold is the highest score at or above which at least ``tpr`` of the
    in-distribution inputs lie; the metric is the share of anomalies strictly below.

    Parameters
    ----------
    y_true, y_score : array-like of shape (n_samples,)
        Labels, +1 for in-distribution (the positive class) and -1 for anomalies, and
        scores, higher = more in-distribution.
    tpr : float, default=0.95
        Share of in-distribution inputs that pass, in (0, 1].

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
    return float(_count(y_true, y_score).tnr_at_tpr(tpr)[0])


@validate_params({**_ARRAYS, **_TPR}, prefer_skip_nested_validation=True)
def fpr_at_tpr(y_true, y_score, *, tpr=0.95):
    """Share of anomalies that pass while ``tpr`` of in-distribution inputs pass.

    The FPR@95 of the literature, 1 - `tnr_at_tpr`. ``target_fpr`` of the detectors is
    another rate: the share of in-distribution inputs that they reject.

    Parameters
    ----------
    y_true, y_score : array-like of shape (n_samples,)
        Labels, +1 for in-distribution (the positive class) and -1 for anomalies, and
        scores, higher = more in-distribution.
    tpr : float, default=0.95
        Share of in-distribution inputs that pass, in (0, 1].

    Returns
    -------
    float
        False positive rate, in [0, 1]; lower is better.

    Examples
    --------
    >>> from skgrad.metrics import fpr_at_tpr
    >>> fpr_at_tpr([1, 1, -1, -1], [0.9, 0.5, 0.6, 0.1])
    0.5
    """
    return float(_count(y_true, y_score).fpr_at_tpr(tpr)[0])


@validate_params(_ARRAYS, prefer_skip_nested_validation=True)
def auroc(y_true, y_score):
    """Area under the receiver operating characteristic curve.

    The probability that an in-distribution input scores higher than an anomaly, ties
    counting half.

    Parameters
    ----------
    y_true, y_score : array-like of shape (n_samples,)
        Labels, +1 for in-distribution (the positive class) and -1 for anomalies, and
        scores, higher = more in-distribution.

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
    return float(_count(y_true, y_score).auroc()[0])


@validate_params(_ARRAYS, prefer_skip_nested_validation=True)
def aupr_in(y_true, y_score):
    """Area under the precision-recall curve, in-distribution inputs as positives.

    Parameters
    ----------
    y_true, y_score : array-like of shape (n_samples,)
        Labels, +1 for in-distribution (the positive class) and -1 for anomalies, and
        scores, higher = more in-distribution.

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
    return float(_count(y_true, y_score).aupr_in()[0])


@validate_params(_ARRAYS, prefer_skip_nested_validation=True)
def aupr_out(y_true, y_score):
    """Area under the precision-recall curve, anomalies as positives.

    Parameters
    ----------
    y_true, y_score : array-like of shape (n_samples,)
        Labels, +1 for in-distribution and -1 for anomalies (the positive class here),
        and scores, higher = more in-distribution.

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
    return float(_count(y_true, y_score).aupr_out()[0])


@validate_params(_ARRAYS, prefer_skip_nested_validation=True)
def detection_accuracy(y_true, y_score):
    """Best accuracy over all thresholds, both kinds of input equally likely.

    Parameters
    ----------
    y_true, y_score : array-like of shape (n_samples,)
        Labels, +1 for in-distribution (the positive class) and -1 for anomalies, and
        scores, higher = more in-distribution.

    Returns
    -------
    float
        Largest mean of true positive and true negative rate, in [0.5, 1]: an upper
        bound on what a threshold chosen beforehand reaches.

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
    return float(_count(y_true, y_score).detection_accuracy()[0])


def _count(y_true, y_score):
    return ScoreCounts.from_scores(*check_labelled_scores(y_true, y_score))


def check_labelled_scores(y_true, y_score):
    """Return labels +1 and -1, some of either, and one score for each of them."""
    y_true = to_array(y_true, "y_true")
    y_true = check_signs(y_true, y_true.size, "y_true", both=True)
    return y_true, check_scores(y_score, "y_score", len(y_true))


def check_metric(metric):
    """Raise if the metric is not a function, but for instance the name of one."""
    if not callable(metric):
        raise TypeError(
            "metric must be a function of y_true and y_score, such as auroc; got "
            f"{brief(metric, 200)}."
        )
