"""The threshold under a promised false-alarm rate."""

import warnings
from numbers import Real

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils._param_validation import Interval, validate_params


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
    scores = np.sort(column_or_1d(scores, dtype=float))
    if not len(scores) or np.isnan(scores).any():
        raise ValueError(
            "scores must hold at least one number and no NaN; got "
            f"{len(scores)} scores, {np.isnan(scores).sum()} of them NaN."
        )
    # The small number undoes rounding: 0.07 * 100 is 7.000000000000001, 0.29 * 100
    # is 28.999999999999996.
    rank = int(np.floor(target_fpr * (len(scores) + 1) + 1e-9))
    if rank == 0:
        warnings.warn(
            f"target_fpr={target_fpr} needs at least {int(np.ceil(1 / target_fpr)) - 1}"
            f" held-out samples; there are {len(scores)}. The threshold is their lowest"
            f" score, which rejects {1 / (len(scores) + 1):.3f} of in-distribution "
            "inputs on average, in one fit more or less. Fit on more samples, or raise "
            "calibration_fraction or target_fpr.",
            TooFewSamplesWarning,
            stacklevel=3,  # past the wrapper of validate_params
        )
    return float(scores[min(max(rank, 1), len(scores)) - 1])
