"""How many inputs of a window are rejected by chance."""

from numbers import Integral, Real
from typing import NamedTuple

from scipy.stats import betabinom

from .._compat import Interval, validate_params
from ..detectors._conformal import fewest_scores, threshold_rank


class RejectionBand(NamedTuple):
    """The usual numbers of rejected inputs in a window.

    Parameters
    ----------
    low, high : int
        The least and the largest number that are usual.

    See Also
    --------
    rejection_band : Computes it.
    """

    low: int
    high: int


@validate_params(
    {
        "n_inputs": [Interval(Integral, 1, None, closed="left")],
        "n_calibration": [Interval(Integral, 1, None, closed="left")],
        "target_fpr": [Interval(Real, 0, 1, closed="neither")],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
    },
    prefer_skip_nested_validation=True,
)
def rejection_band(n_inputs, n_calibration, *, target_fpr=0.05, confidence=0.95):
    r"""Return how many of a window of inputs are usually rejected.

    With m calibration scores the threshold is the k-th smallest, :math:`k = \lfloor
    \mathrm{target\_fpr} \cdot (m + 1) \rfloor`. The share of in-distribution inputs
    below it is not ``target_fpr`` but :math:`\mathrm{Beta}(k, m + 1 - k)`, so the
    number in a window of n is

    .. math:: R \sim \mathrm{BetaBinomial}(n, k, m + 1 - k),

    which the binomial band comes near only if there are many calibration scores.

    Parameters
    ----------
    n_inputs : int
        Length n of the window.
    n_calibration : int
        How many calibration scores placed the threshold, m.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected, as in the detector.
    confidence : float, default=0.95
        Probability that the number lies in the band, in (0, 1), half of the rest on
        either side.

    Returns
    -------
    RejectionBand
        ``low`` and ``high``, both still usual.

    Raises
    ------
    ValueError
        If there are too few calibration scores for the rate.

    See Also
    --------
    PValueMonitor : For looking again and again.

    Notes
    -----
    The band is that of one window, chosen beforehand, for all thresholds that held-out
    inputs may place. Of many windows some lie outside by chance. Where scores are
    equal, fewer are rejected.

    References
    ----------
    Vovk (2012), "Conditional Validity of Inductive Conformal Predictors": the rate of
    one calibration set.

    Examples
    --------
    >>> from skgrad.guard import rejection_band
    >>> rejection_band(1000, n_calibration=100)
    RejectionBand(low=15, high=102)
    >>> rejection_band(1000, n_calibration=100_000)
    RejectionBand(low=37, high=64)
    """
    rank = threshold_rank(n_calibration, target_fpr)
    if rank == 0:
        raise ValueError(
            f"n_calibration must be at least {fewest_scores(target_fpr)} for "
            f"target_fpr={target_fpr}; got {n_calibration}."
        )
    usual = betabinom(n_inputs, rank, n_calibration + 1 - rank)
    tail = (1 - confidence) / 2
    return RejectionBand(int(usual.ppf(tail)), int(usual.ppf(1 - tail)))
