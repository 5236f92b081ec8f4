"""A threshold above which few predictions are wrong, with high probability."""

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy.stats import beta

from .._compat import Interval, validate_params
from .._labels import to_array
from .._messages import warn
from ..metrics._risk_coverage import check_correct


class NoThresholdWarning(UserWarning):
    """No threshold keeps the requested error rate, so nothing is to be trusted."""


class RiskThreshold(NamedTuple):
    """A threshold with a bound on the error rate of what it trusts.

    Parameters
    ----------
    threshold : float
        Trust predictions whose score is at least that; infinite if none qualifies.
    coverage : float
        Share of the given predictions that it trusts.
    bound : float
        Upper bound on the error rate of new trusted predictions; NaN if none qualifies.

    See Also
    --------
    risk_threshold : Finds it.
    """

    threshold: float
    coverage: float
    bound: float


@validate_params(
    {
        "correct": ["array-like"],
        "scores": ["array-like"],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "delta": [Interval(Real, 0, 1, closed="neither")],
        "n_thresholds": [Interval(Integral, 1, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def risk_threshold(correct, scores, *, alpha=0.05, delta=0.05, n_thresholds=20):
    r"""Find the threshold that trusts most while few of the trusted are wrong.

    With probability :math:`1 - \delta` over the draw of the labelled inputs, the error
    rate of new predictions that score at least the threshold is at most
    :math:`\alpha`. This holds for every distribution, network and score.

    Candidates trust the predictions above the scores of L fixed ranks. Of the n above
    one of them, k are wrong, and the error rate of new predictions above it exceeds

    .. math:: b(k, n) = \mathrm{Beta}^{-1}(1 - \delta / L;\; k + 1,\; n - k)

    with probability :math:`\delta / L` at most (Clopper and Pearson). Of the
    candidates with :math:`b \le \alpha` the one that trusts most is taken.

    Parameters
    ----------
    correct : array-like of shape (n_samples,)
        Whether each prediction is right, True or 1, or wrong, False or 0. The inputs
        must be drawn as new ones will be, and be used neither to train the network nor
        to fit the detector. Anomalies among them count as wrong.
    scores : array-like of shape (n_samples,)
        Scores of the same inputs: the higher, the more to be trusted.
    alpha : float, default=0.05
        Error rate of trusted predictions that is tolerated, in (0, 1).
    delta : float, default=0.05
        Probability with which it may be exceeded all the same, in (0, 1).
    n_thresholds : int, default=20
        How many candidates L there are, spread evenly over the coverage.

    Returns
    -------
    RiskThreshold
        ``threshold``, the lowest score to trust; ``coverage``, the share of these
        inputs that is trusted, higher is better; ``bound`` on the error rate.

    Warns
    -----
    NoThresholdWarning
        If no candidate qualifies: the threshold is infinite and the coverage 0.

    See Also
    --------
    skgrad.metrics.coverage_at_risk : The coverage without a guarantee.

    Notes
    -----
    Even without an error at least :math:`\log(\delta / L) / \log(1 - \alpha)`
    predictions must lie above a threshold: 117 by default.

    The tests of several thresholds depend on one another, so the bound is cautious: in
    simulations it was exceeded in at most a fifth of the draws that delta allows.

    Given the score at a rank, the predictions above it are independent draws from
    all above that score, also where scores are equal; hence the ranks are fixed, and
    the threshold lies just above the score. The search of Geifman and El-Yaniv
    (Algorithm 1) chooses its ranks by the labels it has seen, here they are fixed.

    References
    ----------
    Geifman, El-Yaniv (2017), "Selective Classification for Deep Neural Networks",
    Lemma 3.1 for the bound of one threshold, Theorem 3.2 for that over several.

    Angelopoulos, Bates, Candes, Jordan, Lei (2021), "Learn then Test", for such tests
    of many thresholds.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.guard import risk_threshold
    >>> rng = np.random.default_rng(0)
    >>> scores = rng.random(2000)
    >>> correct = rng.random(2000) < 0.6 + 0.4 * scores
    >>> found = risk_threshold(correct, scores, alpha=0.1)
    >>> found.coverage, round(found.bound, 3)
    (0.35, 0.095)
    """
    dtype = to_array(scores, "scores").dtype
    correct, scores = check_correct(correct, scores, "scores")
    cuts = _cuts(scores, n_thresholds)
    above = scores > cuts[:, None]
    n_trusted, n_wrong = above.sum(axis=1), (above & ~correct).sum(axis=1)
    bounds = error_bound(n_wrong, n_trusted, delta / n_thresholds)
    passes = np.flatnonzero(bounds <= alpha)
    if not len(passes):
        fewest = int(np.ceil(np.log(delta / n_thresholds) / np.log1p(-alpha)))
        warn(
            f"No threshold keeps the error rate below alpha={alpha} with probability "
            f"{1 - delta:g}: the lowest bound is {bounds.min():.3g}, from "
            f"{len(scores)} predictions. Raise alpha, or give more; without an error "
            f"among the trusted, {fewest} of them would do.",
            NoThresholdWarning,
        )
        return RiskThreshold(np.inf, 0.0, np.nan)
    best = passes[np.argmax(n_trusted[passes])]
    return RiskThreshold(
        _next_number(cuts[best], dtype),
        float(n_trusted[best] / len(scores)),
        float(bounds[best]),
    )


def _next_number(cut, dtype):
    """Return the lowest score above the cut, in the precision of the scores."""
    if cut == -np.inf:  # everything is trusted
        return -np.inf
    cut = np.asarray(cut, dtype=dtype if dtype.kind == "f" else np.float64)
    return float(np.nextafter(cut, np.asarray(np.inf, dtype=cut.dtype)))


def _cuts(scores, n_thresholds):
    """Return the scores at fixed ranks, from none trusted but few to all."""
    shares = np.arange(1, n_thresholds) / n_thresholds
    ranks = np.floor(shares * len(scores)).astype(int)
    descending = np.sort(scores)[::-1]
    # All is trusted above minus infinity.
    return np.append(descending[np.minimum(ranks, len(scores) - 1)], -np.inf)


def error_bound(n_wrong, n_trusted, delta):
    """Return Clopper and Pearson's upper bound on a rate; 1 where all are wrong."""
    some_right = n_wrong < n_trusted
    # The 1 stands where there is no such distribution.
    n_right = np.where(some_right, n_trusted - n_wrong, 1)
    bounds = beta.ppf(1 - delta, n_wrong + 1, n_right)
    return np.where(some_right, bounds, 1.0)
