"""Metrics weighted by the predicted class, as paper C reports them."""

import numpy as np

from .._labels import check_per_sample
from ._detection import check_labelled_scores, check_metric


def class_weighted(metric, y_true, y_score, predicted, **options):
    r"""Average a metric over the predicted classes, each by its share of anomalies.

    Scores of one model per predicted class may be comparable only within a class, so

    .. math:: M = \sum_i \gamma_i M_i

    with :math:`M_i` the ``metric`` among the inputs ``predicted`` as :math:`i`, and
    :math:`\gamma_i` the share of that class among the anomalies.

    Parameters
    ----------
    metric : callable
        ``metric(y_true, y_score)`` such as `skgrad.metrics.auroc`.
    y_true, y_score : array-like of shape (n_samples,)
        Labels, +1 for in-distribution (the positive class) and -1 for anomalies, and
        scores, higher = more in-distribution.
    predicted : array-like of shape (n_samples,)
        The classes that the model predicts.
    **options : dict
        Further keyword arguments of the metric.

    Returns
    -------
    float
        The weighted metric over classes that hold both kinds; NaN if there are none.

    Notes
    -----
    The paper weights by the share of "sample cases being classified as" a class and
    does not say of which sample. Anomalies are counted here.

    References
    ----------
    Zhao et al., "A Uniform Framework for Anomaly Detection in Deep Neural Networks",
    Sec. 5.1.

    Examples
    --------
    >>> from skgrad.metrics import auroc, class_weighted
    >>> y, scores = [1, -1, 1, -1], [0.9, 0.1, 0.05, 0.01]
    >>> auroc(y, scores)
    0.75
    >>> class_weighted(auroc, y, scores, predicted=[0, 0, 1, 1])
    1.0
    """
    check_metric(metric)
    y_true, y_score = check_labelled_scores(y_true, y_score)
    predicted = check_per_sample(predicted, len(y_true), "predicted")
    values, weights = [], []
    # Classes without an anomaly have the weight 0.
    for label in dict.fromkeys(predicted[y_true == -1].tolist()):
        rows = predicted == label
        if (y_true[rows] == 1).any():
            values.append(metric(y_true[rows], y_score[rows], **options))
            weights.append(np.sum(y_true[rows] == -1))
    return float(np.average(values, weights=weights)) if values else float("nan")
