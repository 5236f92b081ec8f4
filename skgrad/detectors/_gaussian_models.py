"""Gaussians with shrunk covariances, whole or held by few samples."""

import numpy as np
from scipy.linalg import solve_triangular

from ._scaling import ROWS, AnyFloatScaler, rounded


def class_parts(X, predicted):
    """Return the rows of each class as a view; those of a class lie side by side."""
    return np.split(X, np.flatnonzero(np.diff(predicted)) + 1)


class WithinClassScaler:
    """Scale the deviations from class means to unit variance over all classes."""

    def fit_transform(self, X, predicted):
        """Standardise X in place, its rows class after class; return the scaler."""
        # One scale for all classes: with its own, a feature that hardly varied in one
        # class would outweigh all others there.
        self.overall = AnyFloatScaler().fit(X)
        for start in range(0, len(X), ROWS):
            rows = slice(start, start + ROWS)
            X[rows] = self.overall.transform(X[rows])
        within = [len(part) * part.var(axis=0) for part in class_parts(X, predicted)]
        # Limits the factor for a feature that never varied within a class.
        self.spread = np.maximum(np.sqrt(sum(within) / len(X)), 1e-6)
        X /= self.spread
        return self

    def transform(self, X):
        """Return X standardised."""
        return self.overall.transform(X) / self.spread


class RotatedScaler:
    """Standardise, then turn to the principal axes of the tied covariance."""

    def __init__(self, scaler, covariance):
        self.scaler = scaler
        # Without a tied covariance any axes serve, those that there are too.
        self.variances, self.axes = 0.0, None
        if np.ndim(covariance):
            variances, self.axes = np.linalg.eigh(covariance)
            self.variances = np.maximum(variances, 0)

    def rotate(self, Z):
        """Return standardised rows by the principal axes."""
        return Z if self.axes is None else Z @ self.axes

    def transform(self, X):
        """Return X standardised, by the principal axes."""
        return self.rotate(self.scaler.transform(X))


# The scores are distances, not log densities, which would favour classes with little
# spread. Both are sums of squares, which cannot become a difference of infinities, as
# the quadratic form with an inverse could.


class DenseGaussian:
    """The Gaussian of one class, with a Cholesky factor of its covariance."""

    def __init__(self, scaler, mean, covariance):
        self.scaler, self.mean = scaler, mean
        variance = np.trace(covariance) / len(covariance)
        covariance.flat[:: len(covariance) + 1] += _ridge(variance)
        self.factor = np.linalg.cholesky(covariance)

    def score(self, X):
        """Return minus the squared Mahalanobis distance of each row to the mean."""
        Z = self.scaler.transform(X) - self.mean
        scaled = solve_triangular(self.factor, Z.T, lower=True, check_finite=False)
        squares = np.square(scaled).sum(axis=0)
        return rounded(-squares, squares)


class LowRankGaussian:
    r"""The Gaussian of one class of few samples, which are the axes it differs by.

    Its covariance :math:`A + W^\top W` has a diagonal matrix A, which holds the tied
    covariance by its principal axes and the shrinkage, and one row of W per sample.
    With :math:`W A^{-1/2} = P \, \mathrm{diag}(s) \, Q` the squared distance of z is

    .. math:: |r|^2 + \sum_k \frac{q_k^2}{1 + s_k^2},
        \quad q = Q A^{-1/2} z, \quad r = A^{-1/2} z - Q^\top q.

    ``deviations`` from the mean, standardised, are overwritten by Q.
    """

    def __init__(self, scaler, mean, deviations, tied):
        self.scaler, self.mean = scaler, scaler.rotate(mean)
        variances = tied * scaler.variances
        share, variance = shrinkage(deviations, deviations @ deviations.T)
        own = (1 - tied) * share * variance
        overall = (1 - tied) * variance + np.mean(variances)
        variances = variances + own + _ridge(overall)
        self.scale = 1 / np.sqrt(variances)
        weight = (1 - tied) * (1 - share) / len(deviations)
        if weight == 0:
            self.axes, self.squares = np.empty((0, len(mean))), np.empty(0)
            return
        rows = np.sqrt(weight) * scaler.rotate(deviations) * self.scale
        _, spreads, axes = np.linalg.svd(rows, full_matrices=False)
        deviations[:] = axes
        self.axes, self.squares = deviations, 1 / (1 + spreads**2)

    def score(self, X):
        """Return minus the squared Mahalanobis distance of each row to the mean."""
        Z = (self.scaler.transform(X) - self.mean) * self.scale
        along = Z @ self.axes.T
        squares = np.square(Z - along @ self.axes).sum(axis=1)
        squares += (np.square(along) * self.squares).sum(axis=1)
        return rounded(-squares, squares)


def _ridge(variance):
    # Added, because without shrinkage the matrix may be singular.
    return 1e-6 * (variance or 1.0)


def shrunk_covariance(Z):
    """Return the covariance of centred rows, shrunk as by Ledoit and Wolf (2004)."""
    product = Z.T @ Z
    share, variance = shrinkage(Z, product)
    covariance = (1 - share) / len(Z) * product
    covariance.flat[:: len(covariance) + 1] += share * variance
    return covariance


def shrinkage(Z, product):
    """Return how far the covariance of centred rows shrinks, and to which variance.

    ``product`` is Z.T @ Z or Z @ Z.T; both have the same sum of squares.
    """
    n_samples, n_features = Z.shape
    # One sample has no covariance: unit variances are assumed.
    if n_samples == 1:
        return 1.0, 1.0
    norms = np.einsum("ij,ij->i", Z, Z)
    variance = norms.sum() / (n_samples * n_features)
    size = np.vdot(product, product) / n_samples**2
    # Eqs. 11 to 14 of the paper: distance d^2 and error b^2, times n_features.
    distance = size - n_features * variance**2
    error = min((norms @ norms / n_samples - size) / n_samples, distance)
    return (error / distance if error > 0 else 0.0), variance
