"""How well features point to the weights of the predicted class."""

from numbers import Real

import numpy as np

from .._compat import Interval
from ._linear_head import BaseHeadDetector, row_lengths


class NCI(BaseHeadDetector):
    r"""Alignment of the last features with the predicted class's weights, and length.

    Training draws features towards the weights of their class (neural collapse); those
    of other inputs stay between the classes and near the origin. With features f, their
    training mean :math:`\mu`, the weights :math:`w_y` of the last linear layer for the
    predicted class y and :math:`\alpha`, the score is

    .. math:: \frac{w_y \cdot (f - \mu)}{\lVert f - \mu \rVert_2}
        + \alpha \lVert f \rVert_1,

    higher = more in-distribution.

    Parameters
    ----------
    alpha : float, default=0.0001
        The weight :math:`\alpha` of the length, in units of the features.
    tolerance : float, default=0.01
        As in :class:`FDBD`.
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
    As the last layer is linear, :math:`w_y \cdot (f - \mu)` is the logit of y minus its
    mean in training: no weights are needed, however few samples there are. They are
    learnt all the same, to check that the layer is the right one.

    The paper tunes alpha on known anomalies; the default is the one that OpenOOD begins
    with, and its best depends on the network.

    References
    ----------
    Liu, Qin (2025), "Detecting Out-of-Distribution Through the Lens of Neural
    Collapse".

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.detectors import NCI
    >>> features = np.random.default_rng(0).normal(size=(300, 4))
    >>> logits = features @ [[3, 0], [0, 3], [0, 0], [0, 0]]
    >>> detector = NCI(blocks=[4, 2], random_state=0)
    >>> detector = detector.fit(np.hstack([features, logits]))
    >>> X = [[1, 0, 0, 0, 3, 0], [1, 0, 9, 0, 3, 0]]
    >>> detector.score_samples(X).round(1).tolist()
    [3.0, 0.3]
    """

    _parameter_constraints: dict = {
        **BaseHeadDetector._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        *,
        alpha=0.0001,
        tolerance=0.01,
        layer=None,
        blocks=None,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.alpha = alpha
        super().__init__(
            tolerance=tolerance,
            layer=layer,
            blocks=blocks,
            target_fpr=target_fpr,
            calibration_fraction=calibration_fraction,
            threshold=threshold,
            random_state=random_state,
        )

    def _learn_head(self, features, logits, weight, bias):
        self._mean, self._mean_logits = features.mean(axis=0), logits.mean(axis=0)
        typical = row_lengths(features - self._mean).mean()
        self._least = 1e-8 * typical or 1.0

    def _score_head(self, features, logits):
        predicted = logits.argmax(axis=1)
        aligned = logits.max(axis=1) - self._mean_logits[predicted]
        from_mean = np.maximum(row_lengths(features - self._mean), self._least)
        length = np.abs(features).sum(axis=1)
        return aligned / from_mean / self._unit + self.alpha * length * self._unit
