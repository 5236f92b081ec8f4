"""Many histograms with equal bins side by side."""

import numpy as np

# Candidates for the number of bins: the divisors of FINEST, so that each merges bins of
# one fine histogram. They are few, and no more than half as many again apart.
FINEST = 3072
CANDIDATES = np.array([b for b in range(1, FINEST + 1) if FINEST % b == 0])


class Histograms:
    """One histogram per column of values; ``n_bins`` is a number or "auto"."""

    def __init__(self, values, n_bins):
        n_samples, n_columns = values.shape
        self.low, span = _range(values)
        if n_bins == "auto":
            self.n_bins = _best_n_bins((values - self.low) / span)
        else:
            self.n_bins = np.full(n_columns, n_bins)
        self.width = span / self.n_bins
        # Columns with fewer bins than others leave the last rows empty.
        shape = (self.n_bins.max(), n_columns)
        flat = np.ravel_multi_index(
            (self._locate(values)[0], np.arange(n_columns)), shape
        )
        counts = np.bincount(flat.ravel(), minlength=np.prod(shape)).reshape(shape)
        # An empty bin counts as half a point, so that its log density is finite. The
        # last row is for values outside of all bins.
        points = np.vstack([np.maximum(counts, 0.5), np.full(n_columns, 0.5)])
        self._log_density = np.log(points) - np.log(n_samples * self.width)

    def log_density(self, values):
        """Return the mean log density over the columns, one per row of values."""
        bins, inside = self._locate(values)
        bins[~inside] = len(self._log_density) - 1
        columns = np.arange(values.shape[1])
        return self._log_density[bins, columns].mean(axis=1)

    def _locate(self, values):
        """Return each value's bin, and whether it lies in the range."""
        position = (values - self.low) / self.width
        # Rounding may put the extreme training points slightly beyond the edges.
        tolerance = 1e-9 * self.n_bins
        inside = (position >= -tolerance) & (position <= self.n_bins + tolerance)
        # The last bin includes its upper edge, the largest training point.
        return np.clip(position, 0, self.n_bins - 1).astype(np.intp), inside


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
    """Return the best number of bins for each column of positions in [0, 1]."""
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
        # The penalty of Birge and Rozenholc (2006). Empty bins add 0 to the likelihood.
        penalty = n_bins - 1 + np.log(n_bins) ** 2.5
        objectives.append(likelihood.sum(axis=1) - penalty)
    return candidates[np.argmax(objectives, axis=0)]
