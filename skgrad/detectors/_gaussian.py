"""One Gaussian with shrunk covariance per predicted class."""

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.covariance import LedoitWolf

from ._per_class import BasePerClassDetector
from ._scaling import AnyFloatScaler


class ClassConditionalGaussian(BasePerClassDetector):
    r"""Mahalanobis distance to the inputs that the network predicted alike.

    With mean :math:`\mu_i` and shrunk covariance :math:`\Sigma_i` of the features of
    the training inputs predicted as class i, the score of an input predicted as i is

    .. math:: -(x - \mu_i)^\top \Sigma_i^{-1} (x - \mu_i).

    Parameters
    ----------
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
    offset_ : float
        The threshold: lower scores are rejected.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    See Also
    --------
    PerClassSVDD : The same idea with support vectors.
    skgrad.detectors.make_recommended_detector : The features it does best with.

    Notes
    -----
    The shrinkage is that of Ledoit and Wolf (2004), on features standardised per
    class. It gives a feature that never varied in training a small variance too, so
    that it counts against an input in which it is far from its value; a millionth of
    the mean variance is added besides, for where there is no shrinkage.

    Distances rather than log densities are compared across classes, so that a class
    with little spread is no likelier than one with much.

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
        **BasePerClassDetector._parameter_constraints,
        "include_logits": ["boolean"],
    }

    def __init__(
        self,
        *,
        include_logits=True,
        blocks=None,
        min_class_size=10,
        target_fpr=0.05,
        calibration_fraction=0.2,
        random_state=None,
    ):
        self.include_logits = include_logits
        self.blocks = blocks
        self.min_class_size = min_class_size
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def _check_blocks(self):
        if not self.include_logits and len(self.blocks_) == 1:
            raise ValueError(
                "include_logits must be True when X holds nothing but logits. Add "
                "another layer, or leave the logits in."
            )

    def _fit_one(self, X):
        columns = np.ones(X.shape[1], dtype=bool)
        columns[self.blocks_[self.logits_block_]] = self.include_logits
        return _ShrunkGaussian(columns).fit(X)


class _ShrunkGaussian:
    """A Gaussian over some columns."""

    def __init__(self, columns):
        self.columns = columns

    def fit(self, X):
        self.scaler = AnyFloatScaler().fit(X[:, self.columns])
        Z = self.scaler.transform(X[:, self.columns])
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

    def score_samples(self, X):
        Z = self.scaler.transform(X[:, self.columns])
        # A sum of squares, which cannot come out as the difference of infinities.
        return -np.square(solve_triangular(self.factor, Z.T, lower=True)).sum(axis=0)
