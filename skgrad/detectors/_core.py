"""Energy, and the direction of what the classifier leaves of features."""

import numpy as np

from .._compat import StrOptions
from ._last_layer import unit_rows
from ._linear_head import BaseHeadDetector
from ._logits import logsumexp


class CORE(BaseHeadDetector):
    r"""Confidence, and the direction of the features' residual (CORE).

    Part of the features makes the logits. What is left points in a direction of its own
    for each class, which other inputs lack even where the network is sure. With the
    energy E of the logits, the residual r of the features of an input and the mean
    :math:`m_y` of the residuals of training inputs of its predicted class y, the score
    is

    .. math:: \frac{-E - \mu_E}{\sigma_E} + \frac{\cos(r, m_y) - \mu_{\cos}}
        {\sigma_{\cos}},

    higher = more in-distribution, with means :math:`\mu` and standard deviations
    :math:`\sigma` over the training inputs.

    Parameters
    ----------
    span : {"predicted", "all"}, default="predicted"
        What r is orthogonal to: the weights of the predicted class, or those of all
        classes, which must be fewer than the features.
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
    The weights are learnt as in :class:`FDBD`. With fewer training samples than
    features they lie in the directions of training, where a training input's residual
    is the same; what a new input has in other directions is left to the residual.

    Written from the abstract and the authors' description of their code, which allow
    both values of ``span``. Their networks include one with more classes than features,
    for which "all" leaves nothing; where it leaves much it may do better. Classes are
    those that the network predicts, not the true ones. The cosine is 0 for a class that
    was never predicted in training.

    References
    ----------
    Yang, Kim, Bahk (2026), "CORE: Robust Out-of-Distribution Detection via Confidence
    and Orthogonal Residual Scoring".

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.detectors import CORE
    >>> features = np.random.default_rng(0).normal(size=(300, 4)) + [0, 0, 5, 0]
    >>> logits = features @ [[3, 0], [0, 3], [0, 0], [0, 0]]
    >>> X = np.hstack([features, logits])
    >>> detector = CORE(span="all", blocks=[4, 2], random_state=0).fit(X)
    >>> detector.predict([[1, 0, 5, 0, 3, 0], [1, 0, 0, 5, 3, 0]]).tolist()
    [1, -1]
    """

    _parameter_constraints: dict = {
        **BaseHeadDetector._parameter_constraints,
        "span": [StrOptions({"predicted", "all"})],
    }

    def __init__(
        self,
        *,
        span="predicted",
        tolerance=0.01,
        layer=None,
        blocks=None,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.span = span
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
        self._directions = self._find_directions(weight)
        residuals, predicted = self._residuals(features, logits), logits.argmax(axis=1)
        means = np.zeros_like(weight)
        for label in np.unique(predicted):
            means[label] = residuals[predicted == label].mean(axis=0)
        self._class_means = unit_rows(means)
        parts = self._parts(features, logits)
        # Divided first: squares of far energies overflow.
        size = np.abs(parts).max(axis=0)
        self._sizes = np.where(size > 0, size, 1.0)
        parts = parts / self._sizes
        spread = parts.std(axis=0)
        self._centres, self._spreads = parts.mean(axis=0), np.where(spread, spread, 1.0)

    def _find_directions(self, weight):
        """Return unit vectors: of the weights per class, or orthogonal ones for all."""
        if self.span == "predicted":
            return unit_rows(weight)
        size = np.abs(weight).max() or 1.0
        _, lengths, axes = np.linalg.svd(weight / size, full_matrices=False)
        axes = axes[lengths > 1e-6 * lengths[0]]
        if len(axes) == weight.shape[1]:
            raise ValueError(
                "span must be 'predicted' where the weights of all classes span all "
                f"features, {len(axes)} here; got 'all', which leaves no residual."
            )
        return axes

    def _residuals(self, features, logits):
        if self.span == "predicted":
            own = self._directions[logits.argmax(axis=1)]
            return features - (features * own).sum(axis=1, keepdims=True) * own
        return features - (features @ self._directions.T) @ self._directions

    def _parts(self, features, logits):
        """Return the two scores (n_samples, 2) before they are normalised."""
        # Of unit length first, so that rounding is small beside it.
        residuals = unit_rows(self._residuals(unit_rows(features), logits))
        own = self._class_means[logits.argmax(axis=1)]
        return np.column_stack([logsumexp(logits), (residuals * own).sum(axis=1)])

    def _score_head(self, features, logits):
        parts = self._parts(features, logits) / self._sizes
        return ((parts - self._centres) / self._spreads).sum(axis=1)
