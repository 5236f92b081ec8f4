"""A Gaussian with shrunk covariance per predicted class."""

from numbers import Real

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.covariance import LedoitWolf

from .._compat import Interval, StrOptions
from ._base_class_conditional import IF_ALONE, BaseClassConditional
from ._scaling import AnyFloatScaler, rounded


class ClassConditionalGaussian(BaseClassConditional):
    r"""Mahalanobis distance to the training inputs of the same predicted class.

    With mean :math:`\mu_i` and shrunk covariance :math:`\Sigma_i` of the features of
    the training inputs predicted as class i, the score of an input predicted as i is

    .. math:: -(x - \mu_i)^\top \Sigma_i^{-1} (x - \mu_i).

    Parameters
    ----------
    covariance : {"per_class", "tied"} or float, default="per_class"
        Whether each class has its own covariance, or all share that of the deviations
        from their class means. A number in [0, 1] is the share of the tied one in both.
    blocks : array-like of int, default=None
        Widths of the column blocks, logits last, -1 for the rest. None uses the names,
        and leaves out the log-odds of `StabilityTransformer`, which are of no layer.
    include_logits : bool or "if_alone", default=True
        Whether the logits are scored as well; they always give the predicted class.
        "if_alone" scores them where X holds nothing else.
    min_class_size : int, default=10
        Classes predicted for fewer training samples share one model, fitted on all.
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
    blocks_, logits_block_, block_names_, modelled_classes_ : list, int, list, ndarray
        The blocks of columns and the classes, as in :class:`ClassConditionalDetector`.
    calibration_scores_, offset_, class_offsets_ : ndarray, float, dict or None
        Scores of held-out samples, and their thresholds overall and per class.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Number of features, and their names if X was a data frame.

    See Also
    --------
    skgrad.detectors.make_recommended_detector : The features it works best with.

    Notes
    -----
    The shrinkage is that of Ledoit and Wolf (2004), on features whose deviations from
    the class means have unit variance over all classes together. It gives a feature
    that never varied in training a small variance, so that inputs in which it differs
    score low. A mixed covariance is the regularised one of Friedman (1989) without its
    second step. With ``covariance="tied"`` the score is the Mahalanobis score of Lee et
    al., of the predicted class instead of the nearest.

    References
    ----------
    Friedman (1989), "Regularized Discriminant Analysis", Eq. 16 (mixed covariance).

    Ledoit, Wolf (2004), "A Well-Conditioned Estimator for Large-Dimensional Covariance
    Matrices".

    Lee, Lee, Lee, Shin (2018), "A Simple Unified Framework for Detecting
    Out-of-Distribution Samples and Adversarial Attacks", Eq. 1 (tied covariance).

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad import ClassConditionalGaussian
    >>> X = np.random.default_rng(0).normal(size=(300, 6))
    >>> detector = ClassConditionalGaussian(blocks=[-1, 2], random_state=0).fit(X)
    >>> detector.predict(np.array([[0, 0, 0, 0, 1, 0], [9, 9, 9, 9, 9, -9]])).tolist()
    [1, -1]
    """

    _parameter_constraints: dict = {
        **BaseClassConditional._parameter_constraints,
        "covariance": [
            StrOptions({"per_class", "tied"}),
            Interval(Real, 0, 1, closed="both"),
        ],
        "include_logits": ["boolean", StrOptions({IF_ALONE})],
    }

    # One covariance over all blocks, so that it holds how they depend on one another.
    joint = True

    def __init__(
        self,
        *,
        covariance="per_class",
        blocks=None,
        include_logits=True,
        min_class_size=10,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.covariance = covariance
        self.blocks = blocks
        self.include_logits = include_logits
        self.min_class_size = min_class_size
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.threshold = threshold
        self.random_state = random_state

    def _fit_scores(self, X, names, random_state):
        predicted = self._locate_columns(X, names)
        (columns,) = self._columns
        scaler = _WithinClassScaler().fit(X[:, columns], predicted)
        Z = scaler.transform(X[:, columns])
        labels = self.modelled_classes_.tolist()
        means = {label: Z[predicted == label].mean(axis=0) for label in labels}
        deviations = {label: Z[predicted == label] - means[label] for label in labels}
        tied = {"per_class": 0.0, "tied": 1.0}.get(self.covariance, self.covariance)
        # A covariance of weight 0 is not estimated.
        shared = _shrunk(np.vstack(list(deviations.values()))) if tied and labels else 0
        self._models = {}
        for label in labels:
            own = _shrunk(deviations[label]) if tied < 1 else 0
            factor = _cholesky((1 - tied) * own + tied * shared)
            self._models[label] = [_Gaussian(scaler, means[label], factor)]
        mean = Z.mean(axis=0)
        self._pooled = [_Gaussian(scaler, mean, _cholesky(_shrunk(Z - mean)))]


class _WithinClassScaler:
    """Scale the deviations from class means to unit variance over all classes."""

    def fit(self, X, predicted):
        # One scale for all classes: with its own, a feature that hardly varied in one
        # class would outweigh all others there.
        self.overall = AnyFloatScaler().fit(X)
        Z = self.overall.transform(X)
        for label in np.unique(predicted):
            Z[predicted == label] -= Z[predicted == label].mean(axis=0)
        # Limits the factor for a feature that never varied within a class.
        self.spread = np.maximum(Z.std(axis=0), 1e-6)
        return self

    def transform(self, X):
        return self.overall.transform(X) / self.spread


class _Gaussian:
    """The Gaussian of one class, with a Cholesky factor of its covariance."""

    def __init__(self, scaler, mean, factor):
        self.scaler, self.mean, self.factor = scaler, mean, factor

    # A distance, not a log density, which would favour classes with little spread.
    def score(self, X):
        Z = self.scaler.transform(X) - self.mean
        # A sum of squares cannot become a difference of infinities, as the quadratic
        # form with the inverse could.
        scaled = solve_triangular(self.factor, Z.T, lower=True, check_finite=False)
        squares = np.square(scaled).sum(axis=0)
        return rounded(-squares, squares)


def _shrunk(Z):
    """Return the shrunk covariance of centred rows."""
    # One sample has no covariance: unit variances are assumed.
    if len(Z) == 1:
        return np.eye(Z.shape[1])
    # Its inverse, which nobody needs, would take nine tenths of the time.
    return LedoitWolf(assume_centered=True, store_precision=False).fit(Z).covariance_


def _cholesky(covariance):
    # Regularised, because without shrinkage the matrix may be singular.
    variance = np.trace(covariance) / len(covariance)
    covariance.flat[:: len(covariance) + 1] += 1e-6 * (variance or 1.0)
    return np.linalg.cholesky(covariance)
