"""The last linear layer, learnt from features and logits for detectors of it."""

from abc import abstractmethod
from numbers import Real

import numpy as np

from .._compat import Interval
from ._last_layer import BaseLastLayerDetector
from ._scaling import FARTHEST

# Directions in which features vary less than this share of the most say nothing about
# weights, and what varies less than that share of its size does so by rounding.
_LEAST_SPREAD, _ROUNDING = 1e-6, 1e-12


class BaseHeadDetector(BaseLastLayerDetector):
    """Base of the detectors that need the weights of the last linear layer.

    A subclass writes `_learn_head` and `_score_head`. Both get features divided by one
    number, ``_unit``, so that their squares neither overflow nor vanish.
    """

    _parameter_constraints: dict = {
        **BaseLastLayerDetector._parameter_constraints,
        "tolerance": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        *,
        tolerance=0.01,
        layer=None,
        blocks=None,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.tolerance = tolerance
        super().__init__(
            layer=layer,
            blocks=blocks,
            target_fpr=target_fpr,
            calibration_fraction=calibration_fraction,
            threshold=threshold,
            random_state=random_state,
        )

    @abstractmethod
    def _learn_head(self, features, logits, weight, bias):
        """Learn from features and logits, which are features @ weight.T + bias."""

    @abstractmethod
    def _score_head(self, features, logits):
        """Score features (n_samples, n_columns) and their logits."""

    def _learn(self, features, logits, random_state):
        # A power of two changes no digit.
        self._unit = np.ldexp(1.0, np.frexp(np.abs(features).max())[1])
        features = self._scaled(features)
        weight, bias, left = fit_head(features, logits)
        if left > self.tolerance:
            raise ValueError(
                f"X must hold the input of the last linear layer: of the logits' "
                f"variation {left:.1%} is no linear function of the layer "
                f"{self.layer_!r}, and tolerance={self.tolerance}. Give "
                "LayerActivationTransformer the layers ['penultimate', 'logits']. If "
                "the network ends in another way, tolerance=1 takes the closest linear "
                "layer."
            )
        self._learn_head(features, logits, weight, bias)

    def _score(self, features, logits):
        return self._score_head(self._scaled(features), logits)

    def _scaled(self, features):
        with np.errstate(over="ignore"):
            return np.clip(features / self._unit, -FARTHEST, FARTHEST)


def fit_head(features, logits):
    """Find the linear layer that makes logits of features.

    Of all that fit, its weights are the shortest: they lie in the directions in which
    the features vary. Returns the weights (n_classes, n_columns), the biases
    (n_classes,) and which share of the logits' standard deviation they leave.
    """
    mean, mean_logits = features.mean(axis=0), logits.mean(axis=0)
    centred, target = features - mean, logits - mean_logits
    size = np.abs(target).max()
    if size <= _ROUNDING * np.abs(logits).max():
        size, target = 1.0, np.zeros_like(target)
    target /= size
    squares, axes = np.linalg.eigh(centred.T @ centred)
    moments = axes.T @ (centred.T @ target)

    def solve(least_spread, moments):
        least = least_spread**2 * squares[-1], _ROUNDING**2 * len(features)
        kept = squares > max(least)
        return axes[:, kept] @ (moments[kept] / squares[kept, None])

    def left(coefficients):
        rest = target - centred @ coefficients
        return rest, np.linalg.norm(rest) / (np.linalg.norm(target) or 1.0)

    rest, share = left(solve(_LEAST_SPREAD, moments))
    # Logits that were rounded, as in half precision, would decide weights in directions
    # in which the features hardly vary.
    least = np.clip(10 * share / np.sqrt(len(features)), _LEAST_SPREAD, 0.01)
    coefficients = solve(least, moments)
    rest, share = left(coefficients)
    # Once more for what is left: squares of small spreads have lost digits.
    coefficients += solve(least, axes.T @ (centred.T @ rest))
    weight = size * coefficients.T
    return weight, mean_logits - weight @ mean, share


def row_lengths(features):
    """Return the Euclidean lengths of the rows."""
    return np.sqrt(np.square(features).sum(axis=1))
