"""Conformal inference: promises about held-out scores, for every distribution."""

from numbers import Real

import numpy as np
from scipy.stats import false_discovery_control
from sklearn.utils import column_or_1d

from .._compat import Interval, validate_params
from .._messages import warn
from .._validation import to_array


class TooFewSamplesWarning(UserWarning):
    """Too few samples were held out to promise the false-alarm rate asked for."""


@validate_params(
    {
        "scores": ["array-like"],
        "target_fpr": [Interval(Real, 0, 1, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def conformal_threshold(scores, target_fpr):
    r"""Return the threshold below which at most ``target_fpr`` of new inputs fall.

    With m held-out scores, the k-th smallest of them, :math:`k = \lfloor
    \mathrm{target\_fpr} \cdot (m + 1) \rfloor`, lies above the score of a new
    in-distribution input with probability k / (m + 1) at most, for every distribution:
    the new score is equally likely to take each rank among the m + 1. That is the
    average over held-out scores; given those of one fit, the rate scatters around it.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Scores of in-distribution inputs on which the detector was not fitted; higher
        is more in-distribution.
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
    scores = np.sort(checked_scores("scores", scores))
    rank = threshold_rank(len(scores), target_fpr)
    if rank == 0:
        warn(
            f"target_fpr={target_fpr} needs at least {fewest_scores(target_fpr)}"
            f" held-out samples; there are {len(scores)}. The threshold is their lowest"
            f" score, which rejects {1 / (len(scores) + 1):.3f} of in-distribution "
            "inputs on average, in one fit more or less. Fit on more samples, or raise "
            "calibration_fraction or target_fpr.",
            TooFewSamplesWarning,
        )
    return float(scores[min(max(rank, 1), len(scores)) - 1])


def fewest_scores(target_fpr):
    """Return how many held-out scores it takes to keep the promise."""
    return int(np.ceil(1 / target_fpr - 1e-9)) - 1


def threshold_rank(n_scores, target_fpr):
    """Return which of the held-out scores is the threshold, 1 for the lowest.

    It is 0 where there are too few of them to keep the promise.
    """
    # The small number undoes rounding: 0.07 * 100 is 7.000000000000001, 0.29 * 100
    # is 28.999999999999996.
    return int(np.floor(target_fpr * (n_scores + 1) + 1e-9))


@validate_params(
    {"scores": ["array-like"], "calibration_scores": ["array-like"]},
    prefer_skip_nested_validation=True,
)
def conformal_p_values(scores, calibration_scores):
    r"""Return how likely in-distribution inputs score as low as these do.

    With m held-out scores :math:`s_i`, the p-value of a score s is

    .. math:: p = \frac{1 + \#\{i : s_i \le s\}}{m + 1}.

    If the input is in-distribution, p is at most :math:`\alpha` with probability
    :math:`\alpha` at most, for every distribution of the scores and every
    :math:`\alpha`.

    Parameters
    ----------
    scores : array-like of shape (n_samples,)
        Scores of the inputs to judge; higher is more in-distribution.
    calibration_scores : array-like of shape (n_held_out,)
        Scores of in-distribution inputs on which the detector was not fitted.

    Returns
    -------
    ndarray of float64 of shape (n_samples,)
        The p-values, in [1 / (m + 1), 1]: the lower, the more anomalous.

    References
    ----------
    Vovk, Gammerman, Shafer (2005), "Algorithmic Learning in a Random World".

    Bates, Candes, Lei, Romano, Sesia (2023), "Testing for Outliers with Conformal
    p-values", Annals of Statistics 51, Eq. 3.

    Examples
    --------
    >>> from skgrad.detectors import conformal_p_values
    >>> conformal_p_values([-1.0, 4.0, 99.0], range(99)).tolist()
    [0.01, 0.06, 1.0]
    """
    scores = checked_scores("scores", scores, min_size=0)
    calibration_scores = np.sort(
        checked_scores("calibration_scores", calibration_scores)
    )
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
    """Select anomalies so that few of the selected are false (Benjamini-Hochberg).

    The false-alarm rate counts false alarms among good inputs. Who looks into every
    alarm wants to know how many of the alarms are false: the false discovery rate.

    Parameters
    ----------
    p_values : array-like of shape (n_samples,)
        P-values of a batch of inputs, judged together.
    fdr : float, default=0.1
        Expected share of in-distribution inputs among the selected, at most.

    Returns
    -------
    ndarray of bool of shape (n_samples,)
        True for the selected inputs.

    Notes
    -----
    P-values from one set of held-out scores depend on one another, in a way that
    keeps the promise (Bates et al.). It is an average over draws of the held-out
    scores. The lowest p-value possible is 1 / (m + 1) for m of them, so that of a
    batch of n inputs at least n / (fdr * (m + 1)) must be anomalous for any to be
    selected.

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
    p_values = checked_scores("p_values", p_values, min_size=0)
    if not np.all((p_values >= 0) & (p_values <= 1)):
        raise ValueError(
            "p_values must lie in [0, 1]; got values from "
            f"{p_values.min():g} to {p_values.max():g}."
        )
    if not len(p_values):
        return np.zeros(0, dtype=bool)
    # Adjusted p-values may come out a rounding above the rate that they equal.
    return false_discovery_control(p_values) <= fdr * (1 + 1e-12)


def checked_scores(name, values, min_size=1):
    """Return the values as a vector of floats without NaN."""
    try:
        values = column_or_1d(to_array(values, name), dtype=float)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name} must be numbers of shape (n_samples,): {error}"
        ) from error
    if len(values) < min_size or np.isnan(values).any():
        raise ValueError(
            f"{name} must hold {'at least one number' if min_size else 'numbers'} and "
            f"no NaN; got {len(values)} {name}, {np.isnan(values).sum()} of them NaN."
        )
    return values
