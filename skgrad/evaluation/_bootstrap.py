"""Confidence intervals of the metrics, by resampling the inputs."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state

from .._compat import Interval, validate_params
from .._labels import check_scores
from ..metrics._counts import ScoreCounts

# So many counts are held in memory at a time.
_CHUNK = 4_000_000


@validate_params(
    {
        "scores_id": ["array-like"],
        "scores_anomaly": ["array-like"],
        "n_resamples": [Interval(Integral, 1, None, closed="left")],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def bootstrap_intervals(
    scores_id, scores_anomaly, *, n_resamples=1000, confidence=0.95, random_state=None
):
    """Compute percentile intervals of all metrics by stratified resampling.

    In-distribution inputs and anomalies are drawn with replacement, each kind by
    itself. The intervals show the uncertainty of the test, not of the fit.

    Parameters
    ----------
    scores_id, scores_anomaly : ndarray of shape (n_samples,)
        Scores, higher = more in-distribution.
    n_resamples : int, default=1000
        Number of draws.
    confidence : float, default=0.95
        Share of the draws within the interval.
    random_state : int, RandomState instance or None, default=None
        Seeds the draws.

    Returns
    -------
    dict of str to (float, float)
        Lower and upper end by the name of the metric, as fractions; NaN where there
        are no anomalies or no in-distribution inputs.

    References
    ----------
    Efron, Tibshirani (1993), "An Introduction to the Bootstrap", Sec. 13.3.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.evaluation import bootstrap_intervals
    >>> known, strange = np.arange(50.0), np.arange(-25.0, 25.0)
    >>> low, high = bootstrap_intervals(known, strange, random_state=0)["auroc"]
    >>> low < 0.875 < high
    True
    """
    scores_id = check_scores(scores_id, "scores_id", empty=True)
    scores_anomaly = check_scores(scores_anomaly, "scores_anomaly", empty=True)
    if not len(scores_id) or not len(scores_anomaly):
        return dict.fromkeys(_METRICS, (np.nan, np.nan))
    values, places = np.unique(
        np.concatenate([scores_id, scores_anomaly]), return_inverse=True
    )
    kinds = places[: len(scores_id)], places[len(scores_id) :]
    # An int is the seed itself: the intervals of published tables rest on it.
    if not isinstance(random_state, Integral):
        random_state = check_random_state(random_state).randint(2**31 - 1)
    rng = np.random.default_rng(random_state)
    rows = max(1, _CHUNK // len(places))
    drawn = []
    for start in range(0, n_resamples, rows):
        n = min(rows, n_resamples - start)
        counts = ScoreCounts(*(_draw(kind, len(values), n, rng) for kind in kinds))
        drawn.append([metric(counts) for metric in _METRICS.values()])
    tail = 100 * (1 - confidence) / 2
    ends = np.percentile(np.concatenate(drawn, axis=1), [tail, 100 - tail], axis=1)
    return dict(zip(_METRICS, map(tuple, ends.T.tolist()), strict=True))


_METRICS = {
    "auroc": ScoreCounts.auroc,
    "tnr_at_95tpr": ScoreCounts.tnr_at_tpr,
    "aupr_in": ScoreCounts.aupr_in,
    "aupr_out": ScoreCounts.aupr_out,
    "detection_accuracy": ScoreCounts.detection_accuracy,
}


def _draw(places, n_values, n_draws, rng):
    """Return how often each value is drawn, of shape (n_draws, n_values)."""
    drawn = places[rng.integers(len(places), size=(n_draws, len(places)))]
    drawn += n_values * np.arange(n_draws)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n_draws * n_values)
    return counts.reshape(n_draws, n_values)
