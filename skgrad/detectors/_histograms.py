"""Many histograms with equal bins side by side."""

import numpy as np

# Candidates for the number of bins: the divisors of FINEST, so that each merges bins of
# one fine histogram. They are few, and no more than half as many again apart.
FINEST = 3072
CANDIDATES = np.array([b for b in range(1, FINEST + 1) if FINEST % b == 0])
_ROWS = 10


class Histograms:
    """One histogram per row of values; ``n_bins`` is a number or "auto".

    ``parts`` is a function that yields the values part by part, each an array of shape
    (n_histograms, n_values). It is called twice, so that they need not be kept.
    """

    def __init__(self, parts, n_bins):
        n_values, self.low, span = _range(parts())
        fine = FINEST if n_bins == "auto" else n_bins
        counts = _count(parts(), self.low, span, fine)
        self.n_bins = np.full(len(counts), fine)
        if n_bins == "auto":
            self.n_bins, counts = _merged(counts, n_values)
        self.width = span / self.n_bins
        # An empty bin counts as half a point, so that its log density is finite. The
        # last column is for values outside of all bins.
        points = np.pad(np.maximum(counts, 0.5), ((0, 0), (0, 1)), constant_values=0.5)
        self._log_density = np.log(points) - np.log(n_values * self.width)[:, None]

    def log_density(self, values):
        """Return the mean log density over the histograms, one per column of values."""
        position = values - self.low[:, None]
        position /= self.width[:, None]
        # Rounding may put the extreme training points slightly beyond the edges.
        last, tolerance = self.n_bins[:, None], 1e-9 * self.n_bins[:, None]
        inside = (position >= -tolerance) & (position <= last + tolerance)
        # The last bin includes its upper edge, the largest training point.
        np.clip(position, 0, last - 1, out=position)
        bins = position.astype(np.intp)
        n_columns = self._log_density.shape[1]
        bins[~inside] = n_columns - 1
        bins += n_columns * np.arange(len(bins))[:, None]
        return self._log_density.take(bins).mean(axis=0)


def _range(parts):
    """Return the number of values, and the lower end and length of each range."""
    n_values, lows, highs = 0, [], []
    for values in parts:
        n_values += values.shape[1]
        lows.append(values.min(axis=1))
        highs.append(values.max(axis=1))
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    largest = np.maximum(np.abs(low), np.abs(high))
    # Values that are constant up to rounding get a narrow range around them, so that
    # nearly every other value lies outside.
    narrow = np.maximum(1e-9 * np.where(largest == 0, 1.0, largest), 1e-200)
    constant = high - low <= narrow
    low = np.where(constant, (low + high - narrow) / 2, low)
    return n_values, low, np.where(constant, narrow, high - low)


def _count(parts, low, span, n_bins):
    """Return how many values of each row lie in each of its bins."""
    counts = np.zeros(len(low) * n_bins, np.int64)
    first_bins = n_bins * np.arange(len(low))[:, None]
    for values in parts:
        position = values - low[:, None]
        position *= n_bins / span[:, None]
        np.clip(position, 0, n_bins - 1, out=position)
        bins = position.astype(np.intp)
        bins += first_bins
        # `bincount` would make counts of all bins for each part, however small.
        np.add.at(counts, bins.ravel(), 1)
    return counts.reshape(len(low), n_bins)


def _objective(finest, n_bins, n_values):
    """Return the penalised log-likelihood of n_bins bins for each row of counts."""
    counts = finest.reshape(len(finest), n_bins, -1).sum(axis=2)
    likelihood = counts * np.log(np.maximum(counts, 1) * n_bins / n_values)
    # The penalty of Birge and Rozenholc (2006). Empty bins add 0 to the likelihood.
    return likelihood.sum(axis=1) - (n_bins - 1 + np.log(n_bins) ** 2.5)


def _merged(finest, n_values):
    """Return the best number of bins for each row of counts, and the counts in them."""
    most = max(1.0, n_values / np.log(max(n_values, 2)))
    candidates = CANDIDATES[most >= CANDIDATES]
    # Some rows at a time: what is computed of each takes several times its memory.
    groups = np.split(finest, range(_ROWS, len(finest), _ROWS))
    objectives = [
        [_objective(rows, b, n_values) for b in candidates] for rows in groups
    ]
    best = candidates[np.argmax(np.hstack(objectives), axis=0)]
    # Rows with fewer bins than others leave their last ones empty.
    counts = np.zeros((len(finest), best.max()))
    for row, n_bins in enumerate(best):
        counts[row, :n_bins] = finest[row].reshape(n_bins, -1).sum(axis=1)
    return best, counts
