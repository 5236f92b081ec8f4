"""Base class of the detectors over the features that the logits are made of."""

from abc import abstractmethod

import numpy as np

from .._messages import brief, listed
from ..torch_engine.activations import LOGITS
from ._base import BaseNoveltyDetector
from ._blocks import block_names, blocks_of_layers, find_blocks
from ._decision import threshold_options


class BaseLastLayerDetector(BaseNoveltyDetector):
    """Base of the detectors of one block of features and the logits.

    A subclass writes `_learn` and `_score`.
    """

    _parameter_constraints: dict = {
        **BaseNoveltyDetector._parameter_constraints,
        "layer": [str, None],
        "blocks": ["array-like", None],
        "threshold": threshold_options(),
    }

    def __init__(
        self,
        *,
        layer=None,
        blocks=None,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.layer = layer
        self.blocks = blocks
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.threshold = threshold
        self.random_state = random_state

    @abstractmethod
    def _learn(self, features, logits, random_state):
        """Learn from features (n_samples, n_columns) and their logits."""

    @abstractmethod
    def _score(self, features, logits):
        """Score features (n_samples, n_columns) and their logits."""

    def _fit_scores(self, X, names, random_state):
        blocks, logits = find_blocks(X.shape[1], names, self.blocks)
        shown = block_names(blocks, logits, names)
        layers = blocks_of_layers(blocks, names if self.blocks is None else None)
        before = [place for place in layers if place < logits]
        place = self._find_layer(shown, before)
        self.layer_, self.features_ = shown[place], blocks[place]
        self.logits_ = blocks[logits]
        self._learn(X[:, self.features_], X[:, self.logits_], random_state)

    def _find_layer(self, shown, before):
        """Return the place of the block of features among the names of the blocks.

        ``before`` holds the places of those of layers before the logits.
        """
        if self.layer is not None:
            # A union of transformers may have put its prefix before the name.
            found = [
                place
                for place, name in enumerate(shown)
                if self.layer in (name, name.rpartition("__")[2])
            ]
            if len(found) == 1:
                return found[0]
            raise ValueError(
                f"layer must be one of the blocks of X, {listed(shown)}; got "
                f"{brief(self.layer)}."
            )
        if not before:
            raise ValueError(
                "X must hold the features of a layer before the logits; got the blocks "
                f"{listed(shown)}. Give LayerActivationTransformer the layers "
                f"['penultimate', 'logits'], or set layer, {LOGITS!r} among others."
            )
        return before[-1]

    def _score_samples(self, X):
        return self._score(X[:, self.features_], X[:, self.logits_])

    def _predicted_class(self, X):
        return X[:, self.logits_].argmax(axis=1)


def unit_rows(features):
    """Return the rows at length 1; rows of zeros stay."""
    # Divided twice, so that squares of floats of any size neither overflow nor vanish.
    largest = np.abs(features).max(axis=1, keepdims=True)
    features = features / np.where(largest == 0, 1.0, largest)
    length = np.sqrt(np.square(features).sum(axis=1, keepdims=True))
    return features / np.where(length == 0, 1.0, length)
