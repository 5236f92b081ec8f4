"""Conformal inference: thresholds and p-values that hold for every distribution."""

from numbers import Real

import numpy as np
from scipy.stats import false_discovery_control

from .._compat import Interval, validate_params
from .._labels import check_scores
from .._messages import warn


class TooFewSamplesWarning(UserWarning):
    """Too few samples were held out to guarantee the requested false-alarm rate."""


@validate_params(
    {
        "scores": ["array-like"],
        "target_fpr": [Interval(Real, 0, 1, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def conformal_threshold(scores, target_fpr):
    r"""Return the threshold below which at most ``target_fpr`` of new inputs fall.

    It is the k-th smallest of m held-out scores, :math:`k = \lfloor
    \mathrm{target\_fpr} \cdot (m + 1) \rfloor`. A new in-distribution score is equally
    likely to take each rank among the m + 1, so it lies below with probability
    k / (m + 1) at most, on average over draws of the held-out scores.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Scores of held-out in-distribution inputs; higher is more in-distribution.
    target_fpr : float
        Share of in-distribution inputs that may be rejected, in (0, 1).

    Returns
    -------
    float
        The threshold: reject a score that is lower.

    Warns
    -----
    TooFewSamplesWarning
        If there are fewer than 1 / target_fpr - 1 scores. The lowest of them is
        returned then, which rejects 1 / (m + 1) on average.

    References
    ----------
    Vovk, Gammerman, Shafer (2005), "Algorithmic Learning in a Random World".

    Examples
    --------
    >>> from skgrad.detectors import conformal_threshold
    >>> conformal_threshold(range(99), target_fpr=0.05)
    4.0
    """
    scores = check_scores(scores, "scores")
    rank = threshold_rank(len(scores), target_fpr)
    if rank == 0:
        warn(
            f"target_fpr={target_fpr} needs at least {fewest_scores(target_fpr)}"
            f" held-out samples; there are {len(scores)}. Their lowest score rejects "
            f"{1 / (len(scores) + 1):.3f} of in-distribution inputs on average. Fit on "
            "more samples, or raise calibration_fraction or target_fpr.",
            TooFewSamplesWarning,
        )
    return score_of_rank(scores, rank)


def fewest_scores(target_fpr):
    """Return how many held-out scores a threshold at ``target_fpr`` needs."""
    return int(np.ceil(1 / target_fpr - 1e-9)) - 1


def threshold_rank(n_scores, target_fpr):
    """Return which held-out score is the threshold, 1 for the lowest, 0 for none."""
    # The small number undoes rounding: 0.07 * 100 is 7.000000000000001, 0.29 * 100
    # is 28.999999999999996.
    return int(np.floor(target_fpr * (n_scores + 1) + 1e-9))


def score_of_rank(scores, rank):
    """Return the held-out score that is the threshold, the lowest for rank 0."""
    return float(np.sort(scores)[min(max(rank, 1), len(scores)) - 1])


@validate_params(
    {"scores": ["array-like"], "calibration_scores": ["array-like"]},
    prefer_skip_nested_validation=True,
)
def conformal_p_values(scores, calibration_scores):
    r"""Return conformal p-values: how likely is a score as low, in-distribution.

    With m held-out scores :math:`s_i`, the p-value of a score s is

    .. math:: p = \frac{1 + \#\{i : s_i \le s\}}{m + 1}.

    Of an in-distribution input, p is at most :math:`\alpha` with probability
    :math:`\alpha` at most.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Scores of new inputs; higher is more in-distribution.
    calibration_scores : array-like of shape (n_held_out,)
        Scores of held-out in-distribution inputs.

    Returns
    -------
    ndarray of float64 of shape (n_samples,)
        The p-values, in [1 / (m + 1), 1]: the lower, the more anomalous.

    References
    ----------
    Bates, Candes, Lei, Romano, Sesia (2023), "Testing for Outliers with Conformal
    p-values", Annals of Statistics 51, Eq. 3.

    Examples
    --------
    >>> from skgrad.detectors import conformal_p_values
    >>> conformal_p_values([-1.0, 4.0, 99.0], range(99)).tolist()
    [0.01, 0.06, 1.0]
    """
    return p_values_among(
        scores, np.sort(check_scores(calibration_scores, "calibration_scores"))
    )


def p_values_among(scores, calibration_scores):
    """Return conformal p-values among sorted scores, which are not checked again."""
    scores = check_scores(scores, "scores", empty=True)
    # Equal scores count as lower: a tie never makes an input look anomalous.
    n_lower = np.searchsorted(calibration_scores, scores, side="right")
    return (1 + n_lower) / (len(calibration_scores) + 1)


@validate_params(
    {
        "p_values": ["array-like"],
        "fdr": [Interval(Real, 0, 1, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def select_by_fdr(p_values, fdr=0.1):
    """Select anomalies with a bounded false discovery rate (Benjamini-Hochberg).

    The false discovery rate is the share of in-distribution inputs among the alarms.

    Parameters
    ----------
    p_values : array-like of shape (n_samples,)
        P-values of a batch of inputs.
    fdr : float, default=0.1
        Bound on the expected share of in-distribution inputs among the selected.

    Returns
    -------
    ndarray of bool of shape (n_samples,)
        True for the selected inputs.

    Notes
    -----
    ``fdr`` bounds the average over held-out scores and batches, although p-values from
    one set of held-out scores depend on one another (Bates et al.). With m of them,
    nothing is selected from n inputs unless at least n / (fdr * (m + 1)) have the
    lowest possible p-value.

    References
    ----------
    Benjamini, Hochberg (1995), "Controlling the False Discovery Rate".

    Bates, Candes, Lei, Romano, Sesia (2023), "Testing for Outliers with Conformal
    p-values", Annals of Statistics 51, Theorem 2.

    Examples
    --------
    >>> from skgrad.detectors import select_by_fdr
    >>> select_by_fdr([0.01, 0.02, 0.5, 0.9], fdr=0.1).tolist()
    [True, True, False, False]
    """
    p_values = check_scores(p_values, "p_values", empty=True)
    if not np.all((p_values >= 0) & (p_values <= 1)):
        raise ValueError(
            "p_values must lie in [0, 1]; got values from "
            f"{p_values.min():g} to {p_values.max():g}."
        )
    if not len(p_values):
        return np.zeros(0, dtype=bool)
    # Rounding may lift an adjusted p-value above the rate that it equals.
    return false_discovery_control(p_values) <= fdr * (1 + 1e-12)
