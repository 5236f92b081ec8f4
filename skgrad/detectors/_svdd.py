"""One support vector data description, of standardised features."""

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.svm import OneClassSVM

from .._seeding import seed_estimator
from ._scaling import AnyFloatScaler

# Values of the kernel at a time: they stay in the processor's cache.
_KERNEL_SIZE = 2**17


class SVDD:
    """Support vector data description with an RBF kernel.

    It is fitted by scikit-learn's one-class support vector machine, whose public
    methods would validate each X twice again.
    """

    def __init__(self, nu, gamma="scale"):
        self.nu, self.gamma = nu, gamma

    def fit(self, X):
        """Describe the rows of X, a validated array of floats."""
        self.scaler = AnyFloatScaler().fit(X)
        Z = np.ascontiguousarray(self.scaler.transform(X))
        self.coefficient = _kernel_coefficient(self.gamma, Z)
        svm = OneClassSVM(nu=self.nu, gamma=self.coefficient)
        # The SVM draws from numpy's global generator unless it is seeded.
        seed_estimator(svm, 0).fit(Z)
        self.support_vectors, self.weights = svm.support_vectors_, svm.dual_coef_[0]
        return self

    def score(self, X):
        """Return the sum of the kernels of the support vectors, for each row of X."""
        Z = self.scaler.transform(X)
        scores = np.empty(len(Z))
        step = max(1, _KERNEL_SIZE // len(self.weights))
        for rows in (slice(start, start + step) for start in range(0, len(Z), step)):
            squares = cdist(Z[rows], self.support_vectors, "sqeuclidean")
            with np.errstate(over="ignore"):
                kernel = np.exp(-self.coefficient * squares)
            kernel *= self.weights
            # A matrix product may round differently for other numbers of rows.
            scores[rows] = kernel.sum(axis=1)
        return scores


def _kernel_coefficient(gamma, Z):
    """Return gamma as a number; "scale" and "auto" are those of OneClassSVM."""
    if gamma == "auto":
        return 1 / Z.shape[1]
    if gamma == "scale":
        variance = Z.var()
        return 1 / (Z.shape[1] * variance) if variance else 1.0
    return gamma
