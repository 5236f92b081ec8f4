"""Standardise finite floats of any size, and round off what depends on the batch."""

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler

# Larger than every distance that matters, and small enough for finite sums of squares.
FARTHEST = 1e100
# Rows at a time, where a copy of all would take too much memory.
ROWS = 4096


# Without TransformerMixin, whose set_output costs more than to scale a few rows.
class AnyFloatScaler(BaseEstimator):
    """StandardScaler for finite floats of any size.

    Squared gradient norms may be 1e-200, whose squares in a variance would be 0, so
    each column is first divided by its largest absolute value. Results are clipped, so
    that inputs far outside the training data stay finite.
    """

    def fit(self, X, y=None):
        """Learn size, mean and standard deviation of the columns of X."""
        largest = np.maximum(X.max(axis=0), -X.min(axis=0))
        self.largest_ = np.where(largest == 0, 1.0, largest)
        self.standard_ = StandardScaler()
        # Part by part, so that no copy of a large matrix is made.
        for start in range(0, len(X), ROWS):
            self.standard_.partial_fit(X[start : start + ROWS] / self.largest_)
        return self

    def transform(self, X):
        """Return X with mean 0 and standard deviation 1 in training."""
        with np.errstate(over="ignore"):
            X = np.clip(X / self.largest_, -FARTHEST, FARTHEST)
            # As StandardScaler.transform, which would validate X again.
            X -= self.standard_.mean_.astype(X.dtype)
            X /= self.standard_.scale_.astype(X.dtype)
            return np.clip(X, -FARTHEST, FARTHEST)


def rounded(values, size):
    """Round values to 40 bits of the size of the terms that they were summed from.

    BLAS rounds differently for other numbers of rows. Rounded, equal rows have equal
    scores, and so equal ranks among the held-out samples.
    """
    _, exponent = np.frexp(size)
    return np.ldexp(np.round(np.ldexp(values, 40 - exponent)), exponent - 40)
