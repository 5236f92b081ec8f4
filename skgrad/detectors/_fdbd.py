"""Distance of features to the boundaries of the predicted class."""

import numpy as np
from scipy.spatial.distance import cdist

from ._linear_head import BaseHeadDetector, row_lengths


class FDBD(BaseHeadDetector):
    r"""Distance of the last features to the decision boundaries, relatively (fDBD).

    Inputs unlike those of training lie close to a boundary for how far they are from
    the mean of the features. With features f, logits z, weights :math:`w_c` of the last
    linear layer for C classes, predicted class y and mean :math:`\mu` of the training
    features, the score is

    .. math:: \frac{1}{\lVert f - \mu \rVert_2} \frac{1}{C - 1} \sum_{c \ne y}
        \frac{z_y - z_c}{\lVert w_y - w_c \rVert_2},

    higher = more in-distribution. Each summand is the distance of f to the boundary
    between y and c.

    Parameters
    ----------
    tolerance : float, default=0.01
        Largest share of the logits' standard deviation that a linear layer of the
        features may leave. It is nearly 0 for the input of the network's last linear
        layer, up to 0.003 in half precision; 1 takes the closest linear layer of any
        features.
    layer, blocks, target_fpr, calibration_fraction, threshold, random_state : optional
        As in :class:`RMDS`.

    Attributes
    ----------
    layer_, features_, logits_ : str, slice, slice
        The layer of the features, their columns and those of the logits.
    calibration_scores_, offset_, class_offsets_, n_features_in_, feature_names_in_
        As in :class:`RMDS`.

    Notes
    -----
    The weights are learnt from features and logits by least squares, of which they are
    an exact solution: up to rounding, once there are more training samples than
    features. Parts of weights in directions in which no training feature varies count
    as 0, as for features that are always 0 and with fewer samples: distances to
    boundaries are then those within the directions of training.

    A class with the weights of y has no boundary with it, and adds nothing.

    References
    ----------
    Liu, Qin (2024), "Fast Decision Boundary based Out-of-Distribution Detector".

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.detectors import FDBD
    >>> features = np.random.default_rng(0).normal(size=(300, 4))
    >>> logits = features @ [[3, 0], [0, 3], [0, 0], [0, 0]]
    >>> detector = FDBD(blocks=[4, 2], random_state=0)
    >>> detector = detector.fit(np.hstack([features, logits]))
    >>> X = [[1, 0, 0, 0, 3, 0], [1, 0, 9, 0, 3, 0]]
    >>> detector.score_samples(X).round(2).tolist()
    [0.67, 0.08]
    """

    def _learn_head(self, features, logits, weight, bias):
        self._mean = features.mean(axis=0)
        apart = cdist(weight, weight)
        # Dividing by infinity leaves out the class itself and those with its weights.
        self._apart = np.where(apart > 0, apart, np.inf)
        typical = row_lengths(features - self._mean).mean()
        self._least = 1e-8 * typical or 1.0

    def _score_head(self, features, logits):
        predicted = logits.argmax(axis=1)
        lead = logits.max(axis=1, keepdims=True) - logits
        to_boundaries = (lead / self._apart[predicted]).sum(axis=1)
        from_mean = np.maximum(row_lengths(features - self._mean), self._least)
        return to_boundaries / (logits.shape[1] - 1) / from_mean
