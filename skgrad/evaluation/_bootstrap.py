"""Confidence intervals of the metrics, by drawing the inputs anew."""

from numbers import Integral, Real

import numpy as np

from .._compat import Interval, validate_params
from ..detectors._conformal import checked_scores

# Weights of this many inputs are held at a time.
_CHUNK = 4_000_000


@validate_params(
    {
        "scores_id": ["array-like"],
        "scores_anomaly": ["array-like"],
        "n_resamples": [Interval(Integral, 1, None, closed="left")],
        "confidence": [Interval(Real, 0, 1, closed="neither")],
        "random_state": [Interval(Integral, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def bootstrap_intervals(
    scores_id, scores_anomaly, *, n_resamples=1000, confidence=0.95, random_state=0
):
    """Compute percentile intervals of all metrics by stratified resampling.

    In-distribution inputs and anomalies are drawn anew, each kind from itself, with
    replacement. The detector stays as it is: the intervals tell how sure the test
    makes of it, not how another fit would come out. That is what several seeds show.

    Parameters
    ----------
    scores_id, scores_anomaly : ndarray of shape (n_samples,)
        Scores, higher = more in-distribution.
    n_resamples : int, default=1000
        How often both are drawn.
    confidence : float, default=0.95
        Share of the draws within the interval.
    random_state : int, default=0
        Seeds the draws.

    Returns
    -------
    dict of str to (float, float)
        Lower and upper end by the name of the metric, as fractions; NaN where there
        are no anomalies, or nothing else.

    References
    ----------
    Efron, Tibshirani (1993), "An Introduction to the Bootstrap", Sec. 13.3.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.evaluation import bootstrap_intervals
    >>> known, strange = np.arange(50.0), np.arange(-25.0, 25.0)
    >>> low, high = bootstrap_intervals(known, strange)["auroc"]
    >>> low < 0.875 < high
    True
    """
    scores_id = checked_scores("scores_id", scores_id, min_size=0)
    scores_anomaly = checked_scores("scores_anomaly", scores_anomaly, min_size=0)
    if not len(scores_id) or not len(scores_anomaly):
        return dict.fromkeys(_NAMES, (np.nan, np.nan))
    values, places = np.unique(
        np.concatenate([scores_id, scores_anomaly]), return_inverse=True
    )
    kinds = places[: len(scores_id)], places[len(scores_id) :]
    rng = np.random.default_rng(random_state)
    rows = max(1, _CHUNK // len(places))
    drawn = []
    for start in range(0, n_resamples, rows):
        n = min(rows, n_resamples - start)
        drawn.append(_metrics(*(_draw(kind, len(values), n, rng) for kind in kinds)))
    tail = 100 * (1 - confidence) / 2
    ends = np.percentile(np.concatenate(drawn, axis=1), [tail, 100 - tail], axis=1)
    return dict(zip(_NAMES, map(tuple, ends.T.tolist()), strict=True))


_NAMES = ("auroc", "tnr_at_95tpr", "aupr_in", "aupr_out", "detection_accuracy")


def _draw(places, n_values, n_draws, rng):
    """Return how often each value is drawn, of shape (n_draws, n_values)."""
    drawn = places[rng.integers(len(places), size=(n_draws, len(places)))]
    drawn += n_values * np.arange(n_draws)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n_draws * n_values)
    return counts.reshape(n_draws, n_values)


def _metrics(count_id, count_anomaly):
    """Compute all metrics from counts of ascending scores; (n_metrics, n_draws)."""
    n_id = count_id[0].sum()
    n_anomalies = count_anomaly[0].sum()
    # How many score below each value, and how many at it or above.
    id_from = n_id - count_id.cumsum(axis=1) + count_id
    anomalies_below = count_anomaly.cumsum(axis=1) - count_anomaly
    anomalies_from = n_anomalies - anomalies_below
    wins = (count_id * (anomalies_below + count_anomaly / 2)).sum(axis=1)
    true_positive = id_from / n_id
    true_negative = anomalies_below / n_anomalies
    needed = max(int(np.ceil(0.95 * n_id - 1e-9)), 1)
    return np.stack(
        [
            wins / (n_id * n_anomalies),
            # The true negative rate rises with the threshold: the last that passes.
            np.where(id_from >= needed, true_negative, 0).max(axis=1),
            _average_precision(count_id, id_from, anomalies_from),
            _average_precision(
                count_anomaly,
                anomalies_below + count_anomaly,
                n_id - id_from + count_id,
            ),
            # Accepting nothing is a threshold too, and is right half the time.
            np.maximum((true_positive + true_negative).max(axis=1) / 2, 0.5),
        ]
    )


def _average_precision(counts, positives, negatives):
    """Sum over thresholds precision times the recall gained there."""
    precision = positives / np.maximum(positives + negatives, 1)
    return (counts * precision).sum(axis=1) / counts[0].sum()
