"""Relative Mahalanobis distance to the nearest class."""

import numpy as np
from scipy.linalg import solve_triangular

from ._last_layer import BaseLastLayerDetector, unit_rows
from ._scaling import AnyFloatScaler, rounded


class RMDS(BaseLastLayerDetector):
    r"""Relative Mahalanobis distance of the last features to the nearest class.

    What is far from every class in directions in which classes do not differ says
    little about classes, so the distance to one Gaussian of all training inputs is
    taken off. With features f, the means :math:`\mu_c` of the classes and their tied
    covariance :math:`\Sigma`, the mean :math:`\mu_0` and covariance :math:`\Sigma_0` of
    all inputs, the score is

    .. math:: -\min_c \left[ (f - \mu_c)^\top \Sigma^{-1} (f - \mu_c)
        - (f - \mu_0)^\top \Sigma_0^{-1} (f - \mu_0) \right],

    higher = more in-distribution.

    Parameters
    ----------
    normalize : bool, default=False
        Whether the features are first scaled to length 1, which is RMDS++ of
        "Mahalanobis++".
    layer : str, default=None
        Name of the layer whose columns of X are the features f, such as "penultimate"
        or "logits"; None takes the block of columns before the logits.
    blocks : array-like of int, default=None
        Widths of the column blocks, logits last, -1 for the rest; None uses the names.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the training samples held out to place the threshold.
    threshold : {"overall", "per_class"}, default="overall"
        Whether ``target_fpr`` holds over all inputs or within each predicted class.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples.

    Attributes
    ----------
    layer_ : str
        The layer whose columns are the features.
    features_, logits_ : slice
        The columns of the features and of the logits.
    modelled_classes_ : ndarray of int
        The classes that have means: those predicted for some training sample.
    calibration_scores_, offset_, class_offsets_ : ndarray, float, dict or None
        Scores of held-out samples, and their thresholds overall and per class.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Number of features, and their names if X was a data frame.

    See Also
    --------
    skgrad.baselines.Mahalanobis : The distance itself, over a model.

    Notes
    -----
    Deviations from the paper: classes are those that the network predicts, not the
    true ones, and a millionth of the mean variance is added to both covariances, so
    that they are regular also with few samples or constant features.

    :math:`\Sigma_0` is :math:`\Sigma` plus the covariance of the class means. In
    directions that are orthogonal to all differences of means, by :math:`\Sigma`, both
    distances are equal, so the score is computed in the others alone, one fewer than
    classes, where nothing cancels.

    References
    ----------
    Ren et al. (2021), "A Simple Fix to Mahalanobis Distance for Improving Near-OOD
    Detection", Sec. 3.

    Müller, Hein (2025), "Mahalanobis++: Improving OOD Detection via Feature
    Normalization".

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.detectors import RMDS
    >>> X = np.random.default_rng(0).normal(size=(300, 6))
    >>> X[:, :3] += 5 * np.eye(3)[X[:, 3:].argmax(axis=1)]
    >>> detector = RMDS(blocks=[-1, 3], random_state=0).fit(X)
    >>> detector.predict([[5, 0, 0, 1, 0, 0], [2.5, 2.5, 0, 1, 0, 0]]).tolist()
    [1, -1]
    """

    _parameter_constraints: dict = {
        **BaseLastLayerDetector._parameter_constraints,
        "normalize": ["boolean"],
    }

    def __init__(
        self,
        *,
        normalize=False,
        layer=None,
        blocks=None,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.normalize = normalize
        super().__init__(
            layer=layer,
            blocks=blocks,
            target_fpr=target_fpr,
            calibration_fraction=calibration_fraction,
            threshold=threshold,
            random_state=random_state,
        )

    def _learn(self, features, logits, random_state):
        if self.normalize:
            features = unit_rows(features)
        self._scaler = AnyFloatScaler().fit(features)
        Z = self._scaler.transform(features)
        self._mean = Z.mean(axis=0)
        Z -= self._mean
        self.modelled_classes_, classes, counts = np.unique(
            logits.argmax(axis=1), return_inverse=True, return_counts=True
        )
        means = np.stack([Z[classes == i].mean(axis=0) for i in range(len(counts))])
        factor = _cholesky_within(Z - means[classes])
        # By these axes the tied covariance is the identity and that of the means
        # diagonal, and with it that of all inputs, which is their sum.
        between = np.sqrt(counts / len(Z))[:, None] * means
        white = solve_triangular(factor, between.T, lower=True)
        axes, deviations, _ = np.linalg.svd(white, full_matrices=False)
        self._axes = solve_triangular(factor, axes, lower=True, trans="T")
        self._share = deviations**2 / (1 + deviations**2)
        self._class_means = means @ self._axes

    def _score(self, features, logits):
        if self.normalize:
            features = unit_rows(features)
        z = (self._scaler.transform(features) - self._mean) @ self._axes
        # (z - m)^2 - z^2 / (1 + d^2), summed over the axes.
        common = (np.square(z) * self._share).sum(axis=1)
        own = np.square(self._class_means).sum(axis=1) - 2 * z @ self._class_means.T
        return rounded(-common - own.min(axis=1), common + np.abs(own).max(axis=1))


def _cholesky_within(deviations):
    """Return the Cholesky factor of the covariance of deviations from class means."""
    covariance = deviations.T @ deviations / len(deviations)
    ridge = 1e-6 * np.trace(covariance) / len(covariance)
    # Where nothing varied at all, distances are Euclidean.
    covariance.flat[:: len(covariance) + 1] += ridge or 1.0
    return np.linalg.cholesky(covariance)
