"""Many histograms with equal bins side by side, which grow with their data."""

import numpy as np

# Candidates for the number of bins: the divisors of FINEST, so that each merges bins of
# one fine histogram. They are few, and no more than half as many again apart.
FINEST = 3072
CANDIDATES = np.array([b for b in range(1, FINEST + 1) if FINEST % b == 0])
# How far the range may grow before neighbouring bins are merged.
MOST_GROWTH = 10


class Histograms:
    """One histogram per column.

    Bin j of a column reaches from ``low + j * width`` to ``low + (j + 1) * width``; the
    rows of ``counts`` are the bins from ``first`` on, ``n_bins`` of them.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_columns)
        The first values to count; they set the range.
    n_bins : int or "auto"
        Number of bins of every column over that range.
    """

    def __init__(self, values, n_bins):
        n_columns = values.shape[1]
        self.low, span = _range(values)
        if n_bins == "auto":
            self.n_bins = _best_n_bins((values - self.low) / span)
        else:
            self.n_bins = np.full(n_columns, n_bins)
        self.width = span / self.n_bins
        self.first = np.zeros(n_columns)
        self.limit = MOST_GROWTH * self.n_bins
        self.counts = np.zeros((self.n_bins.max(), n_columns))
        self.n_samples = 0
        self._count(values)
        self.freeze()

    def add(self, values):
        """Count more values, and extend the range to include them."""
        position = (values - self.low) / self.width - self.first
        _, inside = self._locate(values)
        # Values outside by rounding only are counted in the bins at the edge.
        bins = np.floor(np.where(inside, 0.0, position)) + self.first
        self._grow(
            np.minimum(self.first, bins.min(axis=0, initial=np.inf)),
            np.maximum(self.first + self.n_bins - 1, bins.max(axis=0, initial=-np.inf)),
        )
        self._count(values)

    def freeze(self):
        """Compute the log densities, once for many calls of `log_density`."""
        # An empty bin counts as half a point, so that its log density is finite. The
        # last row is for values outside of all bins.
        points = np.vstack([np.maximum(self.counts, 0.5), np.full(len(self.low), 0.5)])
        self._log_density = np.log(points) - np.log(self.n_samples * self.width)

    def log_density(self, values):
        """Return the mean log density over the columns, one per row of values."""
        bins, inside = self._locate(values)
        bins[~inside] = len(self.counts)
        columns = np.arange(values.shape[1])
        return self._log_density[bins, columns].mean(axis=1)

    def _locate(self, values):
        """Return each value's row of the counts, and whether it lies in the range."""
        position = (values - self.low) / self.width - self.first
        # Rounding may put the extreme training points slightly beyond the edges.
        tolerance = 1e-9 * self.n_bins
        inside = (position >= -tolerance) & (position <= self.n_bins + tolerance)
        return np.clip(position, 0, self.n_bins - 1).astype(np.intp), inside

    def _count(self, values):
        bins, _ = self._locate(values)
        shape = self.counts.shape
        flat = np.ravel_multi_index((bins, np.arange(shape[1])), shape)
        self.counts += np.bincount(flat.ravel(), minlength=self.counts.size).reshape(
            shape
        )
        self.n_samples += len(values)

    def _grow(self, first, last):
        """Let the bins reach from first to last; merge neighbours of too many."""
        if np.all((first == self.first) & (last == self.first + self.n_bins - 1)):
            return
        halvings = np.zeros(len(first))
        while (wide := last - first >= self.limit).any():
            first = np.where(wide, np.floor(first / 2), first)
            last = np.where(wide, np.floor(last / 2), last)
            halvings += wide
        n_bins = (last - first).astype(np.intp) + 1
        counts = np.zeros((n_bins.max(), len(first)))
        for column, factor in enumerate(2.0**halvings):
            old = self.first[column] + np.arange(self.n_bins[column])
            new = (np.floor(old / factor) - first[column]).astype(np.intp)
            np.add.at(counts[:, column], new, self.counts[: len(old), column])
        self.width = self.width * 2.0**halvings
        self.first, self.n_bins, self.counts = first, n_bins, counts


def _range(values):
    """Return the lower end and the length of each column's range."""
    low, high = values.min(axis=0), values.max(axis=0)
    largest = np.maximum(np.abs(low), np.abs(high))
    # A column that is constant up to rounding gets a narrow range around its value, so
    # that nearly every other value lies outside.
    narrow = np.maximum(1e-9 * np.where(largest == 0, 1.0, largest), 1e-200)
    constant = high - low <= narrow
    low = np.where(constant, (low + high - narrow) / 2, low)
    return low, np.where(constant, narrow, high - low)


def _best_n_bins(position):
    """Return the best number of bins for each column of positions in [0, 1].

    It maximises the log-likelihood less the penalty of Birge and Rozenholc (2006).
    """
    n_samples, n_columns = position.shape
    most = max(1.0, n_samples / np.log(max(n_samples, 2)))
    candidates = CANDIDATES[most >= CANDIDATES]
    bins = np.clip(position * FINEST, 0, FINEST - 1).astype(np.intp)
    flat = bins + FINEST * np.arange(n_columns)
    finest = np.bincount(flat.ravel(), minlength=FINEST * n_columns)
    objectives = []
    for n_bins in candidates:
        counts = finest.reshape(n_columns, n_bins, -1).sum(axis=2)
        likelihood = counts * np.log(np.maximum(counts, 1) * n_bins / n_samples)
        penalty = n_bins - 1 + np.log(n_bins) ** 2.5
        objectives.append(likelihood.sum(axis=1) - penalty)
    return candidates[np.argmax(objectives, axis=0)]
