"""Virtual logit of what features have outside their principal space."""

from numbers import Integral

import numpy as np

from .._compat import Interval
from ._linear_head import BaseHeadDetector, row_lengths
from ._logits import logsumexp
from ._scaling import rounded

# Directions with a smaller share of the largest second moment are none of training.
_LEAST_MOMENT = 1e-12


class ViM(BaseHeadDetector):
    r"""Virtual-logit matching: energy against features off the principal space.

    What features have outside the space that those of training fill becomes the logit
    of a further class, "none of these". With logits z, features f, the part
    :math:`r(f)` of :math:`f - o` outside the D principal directions of training, where
    o is the point at which all logits are 0, the score is

    .. math:: \log \sum_j e^{z_j} - \alpha \lVert r(f) \rVert_2, \quad
        \alpha = \frac{\lvert \operatorname{mean} \max_j z_j \rvert}
        {\operatorname{mean} \lVert r(f) \rVert_2},

    higher = more in-distribution; the means are over the training inputs.

    Parameters
    ----------
    n_components : int, default=None
        The number of principal directions D. None takes the paper's, 1,000 of 1,500
        features or more and 512 of fewer, but at most half of the directions in which
        the training features vary.
    tolerance : float, default=0.01
        As in :class:`FDBD`.
    layer, blocks, target_fpr, calibration_fraction, threshold, random_state : optional
        As in :class:`RMDS`.

    Attributes
    ----------
    n_components_ : int
        The number of principal directions.
    alpha_ : float
        The scale :math:`\alpha` of the virtual logit.
    layer_, features_, logits_ : str, slice, slice
        The layer of the features, their columns and those of the logits.
    calibration_scores_, offset_, class_offsets_, n_features_in_, feature_names_in_
        As in :class:`RMDS`.

    Notes
    -----
    The weights W and biases b of the last linear layer are needed for the origin alone,
    :math:`o = -W^+ b`, and are learnt as in :class:`FDBD`. With fewer training samples
    than features o is the origin of the shortest weights that make the training logits,
    where all logits are 0 as well.

    Deviations from the paper: at most half of the directions are principal ones, so
    that a residual is left also with few samples; and :math:`\alpha` is not negative
    where the largest logits are.

    References
    ----------
    Wang, Li, Feng, Zhang (2022), "ViM: Out-Of-Distribution with Virtual-logit
    Matching", Sec. 4.

    Examples
    --------
    >>> import numpy as np
    >>> from skgrad.detectors import ViM
    >>> features = np.random.default_rng(0).normal(size=(300, 4)) * [3, 3, 0.1, 0.1]
    >>> logits = features @ [[3, 0], [0, 3], [0, 0], [0, 0]]
    >>> X = np.hstack([features, logits])
    >>> detector = ViM(n_components=2, blocks=[4, 2], random_state=0).fit(X)
    >>> detector.predict([[3, 0, 0, 0, 9, 0], [3, 0, 1, 0, 9, 0]]).tolist()
    [1, -1]
    """

    _parameter_constraints: dict = {
        **BaseHeadDetector._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        *,
        n_components=None,
        tolerance=0.01,
        layer=None,
        blocks=None,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.n_components = n_components
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
        self._origin = np.linalg.lstsq(weight, -bias, rcond=1e-6)[0]
        centred = features - self._origin
        moments, axes = np.linalg.eigh(centred.T @ centred / len(centred))
        n_varied = int((moments > _LEAST_MOMENT * moments[-1]).sum())
        self.n_components_ = self._count_components(features.shape[1], n_varied)
        # The eigenvalues ascend: the principal directions are the last.
        self._outside = axes[:, : len(axes) - self.n_components_]
        largest, usual = logits.max(axis=1).mean(), self._lengths(features).mean()
        # The lengths are those of scaled features.
        scale = np.abs(largest) / usual if usual > 0 else 1.0
        self.alpha_ = float(scale / self._unit)

    def _count_components(self, n_columns, n_varied):
        if self.n_components is None:
            usual = (
                1000 if n_columns >= 1500 else 512 if n_columns >= 768 else n_columns
            )
            return min(usual, n_varied // 2)
        if self.n_components >= n_varied:
            raise ValueError(
                "n_components must be less than the number of directions in which the "
                f"training features vary, {n_varied} here; got {self.n_components}."
            )
        return self.n_components

    def _lengths(self, features):
        """Return the lengths of what lies outside the principal space."""
        centred = features - self._origin
        return rounded(row_lengths(centred @ self._outside), row_lengths(centred))

    def _score_head(self, features, logits):
        virtual = self.alpha_ * self._unit * self._lengths(features)
        return logsumexp(logits) - virtual
