"""The threshold under a promised false-alarm rate."""

import warnings

import numpy as np


def conformal_threshold(scores, target_fpr):
    r"""Return the threshold below which at most ``target_fpr`` of new inputs fall.

    With m held-out scores, the k-th smallest of them, :math:`k = \lfloor
    \mathrm{target\_fpr} \cdot (m + 1) \rfloor`, lies above the score of a new
    in-distribution input with probability k / (m + 1) at most, for every distribution:
    the new score is equally likely to take each rank among the m + 1.

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
    UserWarning
        If there are fewer than 1 / target_fpr - 1 scores. The lowest of them is
        returned then, which rejects up to 1 / (m + 1).

    References
    ----------
    Vovk, Gammerman, Shafer (2005), "Algorithmic Learning in a Random World".

    Examples
    --------
    >>> from skgrad.detectors import conformal_threshold
    >>> conformal_threshold(range(99), target_fpr=0.05)
    4.0
    """
    scores = np.sort(np.asarray(scores, dtype=float))
    # The small number undoes rounding: 0.07 * 100 is 7.000000000000001, 0.29 * 100
    # is 28.999999999999996.
    rank = int(np.floor(target_fpr * (len(scores) + 1) + 1e-9))
    if rank == 0:
        warnings.warn(
            f"target_fpr={target_fpr} needs at least {int(np.ceil(1 / target_fpr)) - 1}"
            f" held-out samples; there are {len(scores)}. The threshold is their lowest"
            f" score, which rejects up to {1 / (len(scores) + 1):.3f} of in-"
            "distribution inputs. Fit on more samples, or raise calibration_fraction "
            "or target_fpr.",
            UserWarning,
            stacklevel=2,
        )
    return float(scores[max(rank, 1) - 1])
