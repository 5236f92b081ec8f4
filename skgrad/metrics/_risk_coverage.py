"""Metrics of abstention: how wrong is what is trusted, by how much is trusted."""

from numbers import Real

import numpy as np

from .._compat import Interval, validate_params
from .._labels import check_scores, distinct, to_array

_ARRAYS = {"correct": ["array-like"], "y_score": ["array-like"]}


@validate_params(_ARRAYS, prefer_skip_nested_validation=True)
def risk_coverage_curve(correct, y_score):
    r"""Return the error rate of trusted predictions for every threshold.

    Trusted are those that score at least the threshold :math:`\theta`. Of n predictions

    .. math:: \phi(\theta) = \frac{1}{n} \#\{i : s_i \ge \theta\}, \qquad
        r(\theta) = \frac{\#\{i : s_i \ge \theta,\; i \text{ wrong}\}}
        {\#\{i : s_i \ge \theta\}}

    are the coverage and the selective risk.

    Parameters
    ----------
    correct : array-like of shape (n_samples,)
        Whether each prediction is right, True or 1, or wrong, False or 0. The
        prediction for an anomaly is wrong.
    y_score : array-like of shape (n_samples,)
        Scores, the higher the more to be trusted.

    Returns
    -------
    coverages, risks, thresholds : ndarray of float64 of shape (n_thresholds,)
        One entry for each distinct score, the highest first: the share that is
        trusted, up to 1, the error rate among it (lower is better), and the score.

    References
    ----------
    Geifman, El-Yaniv (2017), "Selective Classification for Deep Neural Networks",
    Sec. 2: coverage, and selective risk in Eq. 1.

    Examples
    --------
    >>> from skgrad.metrics import risk_coverage_curve
    >>> curve = risk_coverage_curve([1, 0, 1, 0], [0.9, 0.7, 0.7, 0.1])
    >>> coverages, risks, thresholds = curve
    >>> coverages.tolist(), risks.round(3).tolist()
    ([0.25, 0.75, 1.0], [0.0, 0.333, 0.5])
    """
    correct, y_score = check_correct(correct, y_score)
    # Equal scores are trusted together: no threshold divides them.
    thresholds, places = np.unique(-y_score, return_inverse=True)
    trusted = np.bincount(places).cumsum()
    wrong = np.bincount(places, weights=~correct).cumsum()
    return trusted / len(correct), wrong / trusted, -thresholds


@validate_params({**_ARRAYS, "excess": ["boolean"]}, prefer_skip_nested_validation=True)
def aurc(correct, y_score, *, excess=False):
    r"""Area under the risk-coverage curve: the risk averaged over the coverages.

    .. math:: \mathrm{AURC} = \frac{1}{n} \sum_{i=1}^{n} r(s_i),

    the mean over the predictions of the error rate among those that score as high.

    Parameters
    ----------
    correct : array-like of shape (n_samples,)
        Whether each prediction is right, True or 1, or wrong, False or 0.
    y_score : array-like of shape (n_samples,)
        Scores, the higher the more to be trusted.
    excess : bool, default=False
        Whether to subtract the area of a score that ranks all right predictions above
        all wrong ones (E-AURC). The area depends on how often the network is wrong, the
        excess more on the score.

    Returns
    -------
    float
        The area, in [0, 1]; lower is better. The excess is 0 at best. A constant score
        has the error rate of all predictions as its area.

    Notes
    -----
    The authors approximate the area of the optimum by :math:`r + (1 - r) \log(1 - r)`
    with the error rate r of all predictions; here it is exact.

    References
    ----------
    Geifman, Uziel, El-Yaniv (2019), "Bias-Reduced Uncertainty Estimation for Deep
    Neural Classifiers", Sec. 3: AURC and E-AURC.

    Examples
    --------
    >>> from skgrad.metrics import aurc
    >>> round(aurc([1, 0, 1, 0], [0.9, 0.7, 0.6, 0.1]), 4)
    0.3333
    """
    coverages, risks, _ = risk_coverage_curve(correct, y_score)
    area = float(np.diff(coverages, prepend=0) @ risks)
    return area - _lowest_area(to_array(correct, "correct")) if excess else area


def _lowest_area(correct):
    """Return the area of a score that knows which predictions are right."""
    n_wrong = len(correct) - int(np.sum(correct))
    wrong = np.arange(1, n_wrong + 1)
    return float(np.sum(wrong / (len(correct) - n_wrong + wrong)) / len(correct))


@validate_params(
    {**_ARRAYS, "risk": [Interval(Real, 0, 1, closed="left")]},
    prefer_skip_nested_validation=True,
)
def coverage_at_risk(correct, y_score, *, risk=0.05):
    """Share of predictions that can be trusted with at most ``risk`` of them wrong.

    The threshold is chosen knowing what is right, so this compares scores and promises
    nothing for new inputs; `skgrad.guard.risk_threshold` finds a threshold that does.

    Parameters
    ----------
    correct : array-like of shape (n_samples,)
        Whether each prediction is right, True or 1, or wrong, False or 0.
    y_score : array-like of shape (n_samples,)
        Scores, the higher the more to be trusted.
    risk : float, default=0.05
        Error rate among the trusted that is tolerated, in [0, 1).

    Returns
    -------
    float
        The largest coverage, in [0, 1]; higher is better. 0 if no threshold keeps the
        rate.

    References
    ----------
    Geifman, El-Yaniv (2017), "Selective Classification for Deep Neural Networks",
    Sec. 2.

    Examples
    --------
    >>> from skgrad.metrics import coverage_at_risk
    >>> coverage_at_risk([1, 1, 0, 1], [0.9, 0.7, 0.6, 0.1], risk=0.25)
    1.0
    >>> coverage_at_risk([1, 1, 0, 1], [0.9, 0.7, 0.6, 0.1], risk=0.2)
    0.5
    """
    coverages, risks, _ = risk_coverage_curve(correct, y_score)
    # The small number undoes rounding, as a rate of k / n is not always exact.
    return float(np.max(coverages, where=risks <= risk + 1e-12, initial=0.0))


def check_correct(correct, y_score, name="y_score"):
    """Return what is right as an array of bool, and one score for each of them."""
    correct = to_array(correct, "correct")
    values = distinct(correct)
    if correct.ndim != 1 or not len(correct) or set(values) - {0, 1}:
        raise ValueError(
            "correct must hold True or 1 for each right prediction and False or 0 for "
            f"each wrong one; got shape {correct.shape} with values {values[:5]}. Of "
            "classes, give predicted == y."
        )
    return correct.astype(bool), check_scores(y_score, name, len(correct))
