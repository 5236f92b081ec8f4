"""One Gaussian with shrunk covariance per predicted class."""

from numbers import Real

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.covariance import LedoitWolf

from .._compat import Interval, StrOptions
from ._base import BaseNoveltyDetector
from ._class_conditional import ClassConditionalDetector
from ._scaling import AnyFloatScaler


class ClassConditionalGaussian(ClassConditionalDetector):
    r"""Mahalanobis distance to the inputs that the network predicted alike.

    With mean :math:`\mu_i` and shrunk covariance :math:`\Sigma_i` of the features of
    the training inputs predicted as class i, the score of an input predicted as i is

    .. math:: -(x - \mu_i)^\top \Sigma_i^{-1} (x - \mu_i).

    Parameters
    ----------
    covariance : {"per_class", "tied"} or float, default="per_class"
        Whether each class has a covariance of its own, or all share that of the
        deviations from their class means, which needs fewer samples. A number in
        [0, 1] mixes both, with that share of the tied one.
    include_logits : bool, default=True
        Whether the logits are features too, or only tell the predicted class.
    blocks : array-like of int, default=None
        Widths of the column blocks, logits last, one of them possibly -1 for the
        rest. None takes them from the column names, which the output of
        `LayerActivationTransformer` has, also within a
        :class:`sklearn.pipeline.FeatureUnion`.
    min_class_size : int, default=10
        A class predicted for fewer training samples, or for none, is judged by the
        Gaussian of all classes together.
    threshold : {"overall", "per_class"}, default="overall"
        Whether ``target_fpr`` holds over all inputs together, or within each
        predicted class. A class with too few held-out samples for that, or none, gets
        the threshold of all classes together, with a warning.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the training samples held out to place the threshold.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples.

    Attributes
    ----------
    blocks_ : list of slice
        Where the blocks of columns are.
    logits_block_ : int
        Which of them holds the logits; their argmax is the predicted class.
    block_names_ : list of str
        Names of the blocks to judge by, in the order of `block_scores`.
    modelled_classes_ : ndarray of int
        The classes that have Gaussians of their own.
    calibration_scores_ : ndarray of shape (n_held_out,)
        Scores of the held-out samples.
    offset_ : float
        The threshold of all classes together: lower scores are rejected.
    class_offsets_ : dict of int to float, or None
        The thresholds per class, with ``threshold="per_class"``.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    See Also
    --------
    ClassConditionalDetector : The same with any outlier detector.
    PerClassSVDD : The same idea with support vectors.
    skgrad.detectors.make_recommended_detector : The features it does best with.

    Notes
    -----
    The shrinkage is that of Ledoit and Wolf (2004), on features whose deviations from
    the class means have unit variance over all classes together. It gives a feature
    that never varied in training a small variance too, so that it counts against an
    input in which it is far from its value; a millionth of the mean variance is added
    besides, for where there is no shrinkage.

    A mixed covariance is the regularised one of Friedman (1989) without its second
    step. With ``covariance="tied"`` it is the Mahalanobis score of Lee et al., of the
    predicted class instead of the nearest.

    Distances rather than log densities are compared across classes, so that a class
    with little spread is no likelier than one with much.

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
        **BaseNoveltyDetector._parameter_constraints,
        "covariance": [
            StrOptions({"per_class", "tied"}),
            Interval(Real, 0, 1, closed="both"),
        ],
        **{
            name: ClassConditionalDetector._parameter_constraints[name]
            for name in ("include_logits", "blocks", "min_class_size", "threshold")
        },
    }
    # What ClassConditionalDetector leaves open.
    joint = True
    weights = None
    scaling = None

    def __init__(
        self,
        *,
        covariance="per_class",
        include_logits=True,
        blocks=None,
        min_class_size=10,
        threshold="overall",
        target_fpr=0.05,
        calibration_fraction=0.2,
        random_state=None,
    ):
        self.covariance = covariance
        self.include_logits = include_logits
        self.blocks = blocks
        self.min_class_size = min_class_size
        self.threshold = threshold
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def _fit_models(self, X, predicted, random_state):
        (columns,) = self._columns
        scale = _WithinClassScaler().fit(X[:, columns], predicted)
        Z = scale.transform(X[:, columns])
        labels = self.modelled_classes_.tolist()
        means = {label: Z[predicted == label].mean(axis=0) for label in labels}
        deviations = {label: Z[predicted == label] - means[label] for label in labels}
        tied = {"per_class": 0.0, "tied": 1.0}.get(self.covariance, self.covariance)
        shared = _shrunk(np.vstack(list(deviations.values()))) if tied and labels else 0
        self._models = {}
        for label in labels:
            own = _shrunk(deviations[label]) if tied < 1 else 0
            factor = _cholesky((1 - tied) * own + tied * shared)
            self._models[label] = [_Gaussian(scale, means[label], factor)]
        mean = Z.mean(axis=0)
        self._pooled = [_Gaussian(scale, mean, _cholesky(_shrunk(Z - mean)))]


class _WithinClassScaler:
    """Brings the deviations from class means to unit size, all classes together.

    One scale for all: by the standard deviation in a single class, a feature that
    hardly varied there would outweigh everything.
    """

    def fit(self, X, predicted):
        self.overall = AnyFloatScaler().fit(X)
        Z = self.overall.transform(X)
        for label in np.unique(predicted):
            Z[predicted == label] -= Z[predicted == label].mean(axis=0)
        # A feature that never varied within a class is not blown up without limit.
        self.spread = np.maximum(Z.std(axis=0), 1e-6)
        return self

    def transform(self, X):
        return self.overall.transform(X) / self.spread


class _Gaussian:
    """The Gaussian of one class."""

    def __init__(self, scale, mean, factor):
        self.scale = scale
        self.mean = mean
        self.factor = factor

    def score(self, X):
        Z = self.scale.transform(X) - self.mean
        # A sum of squares, which cannot come out as the difference of infinities.
        squares = np.square(solve_triangular(self.factor, Z.T, lower=True)).sum(axis=0)
        # BLAS rounds differently for other numbers of rows; to the last digits but
        # four, equal rows are equal, and rank alike among held-out samples.
        mantissa, exponent = np.frexp(-squares)
        return np.ldexp(np.round(mantissa * 2**40) / 2**40, exponent)


def _shrunk(Z):
    """Return the shrunk covariance of centred rows."""
    # Of one sample nothing but its place is known: a sphere of unit size.
    if len(Z) == 1:
        return np.eye(Z.shape[1])
    return LedoitWolf(assume_centered=True).fit(Z).covariance_


def _cholesky(covariance):
    variance = np.trace(covariance) / len(covariance)
    covariance.flat[:: len(covariance) + 1] += 1e-6 * (variance or 1.0)
    return np.linalg.cholesky(covariance)
