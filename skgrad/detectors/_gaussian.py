"""One Gaussian with shrunk covariance per predicted class."""

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.covariance import LedoitWolf
from sklearn.utils._param_validation import StrOptions

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
    covariance : {"per_class", "tied"}, default="per_class"
        Whether each class has a covariance of its own, or all share that of the
        deviations from their class means. A shared one needs fewer samples.
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
    The shrinkage is that of Ledoit and Wolf (2004), on features standardised per
    class. It gives a feature that never varied in training a small variance too, so
    that it counts against an input in which it is far from its value; a millionth of
    the mean variance is added besides, for where there is no shrinkage.

    With ``covariance="tied"`` it is the Mahalanobis score of Lee et al., of the
    predicted class instead of the nearest.

    Distances rather than log densities are compared across classes, so that a class
    with little spread is no likelier than one with much.

    References
    ----------
    Ledoit, Wolf (2004), "A Well-Conditioned Estimator for Large-Dimensional Covariance
    Matrices". Lee, Lee, Lee, Shin (2018), "A Simple Unified Framework for Detecting
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
        "covariance": [StrOptions({"per_class", "tied"})],
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
        if self.covariance == "per_class":
            super()._fit_models(X, predicted, random_state)
            return
        (columns,) = self._columns
        self._pooled = self._fit_parts(X, random_state)
        scaler = AnyFloatScaler().fit(X[:, columns])
        Z = scaler.transform(X[:, columns])
        means = {
            label: Z[predicted == label].mean(axis=0)
            for label in self.modelled_classes_.tolist()
        }
        self._models = {}
        if means:
            deviations = [Z[predicted == label] - mean for label, mean in means.items()]
            shared = _ShrunkGaussian().fit(np.vstack(deviations))
            self._models = {
                label: [_Shifted(scaler, mean, shared)] for label, mean in means.items()
            }

    def _fit_parts(self, X, random_state):
        (columns,) = self._columns
        return [_ShrunkGaussian().fit(X[:, columns])]


class _ShrunkGaussian:
    """A Gaussian with shrunk covariance."""

    def fit(self, X):
        self.scaler = AnyFloatScaler().fit(X)
        Z = self.scaler.transform(X)
        # Of one sample nothing but its place is known: a sphere of unit size.
        covariance = (
            LedoitWolf(assume_centered=True).fit(Z).covariance_
            if len(Z) > 1
            else np.eye(Z.shape[1])
        )
        variance = np.trace(covariance) / len(covariance)
        covariance.flat[:: len(covariance) + 1] += 1e-6 * (variance or 1.0)
        self.factor = np.linalg.cholesky(covariance)
        return self

    def score(self, X):
        Z = self.scaler.transform(X)
        # A sum of squares, which cannot come out as the difference of infinities.
        return -np.square(solve_triangular(self.factor, Z.T, lower=True)).sum(axis=0)


class _Shifted:
    """The Gaussian of deviations from class means, put at the mean of one class."""

    def __init__(self, scaler, mean, shared):
        self.scaler = scaler
        self.mean = mean
        self.shared = shared

    def score(self, X):
        return self.shared.score(self.scaler.transform(X) - self.mean)
