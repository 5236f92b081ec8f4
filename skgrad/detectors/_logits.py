"""Base class of the detectors that score the logits alone."""

from abc import abstractmethod

from ..torch_engine.activations import LOGITS
from ._base import BaseNoveltyDetector
from ._blocks import find_blocks, has_block
from ._decision import threshold_options


class BaseLogitsDetector(BaseNoveltyDetector):
    """Base of the detectors that learn nothing but their threshold.

    A subclass writes `_score_logits`.
    """

    _parameter_constraints: dict = {
        **BaseNoveltyDetector._parameter_constraints,
        "threshold": threshold_options(),
    }

    def __init__(
        self,
        *,
        target_fpr=0.05,
        calibration_fraction=0.2,
        threshold="overall",
        random_state=None,
    ):
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.threshold = threshold
        self.random_state = random_state

    @abstractmethod
    def _score_logits(self, logits):
        """Score logits of shape (n_samples, n_classes)."""

    def _fit_scores(self, X, names, random_state):
        named = names is not None and has_block(names, LOGITS)
        # Without such a name all columns are logits.
        blocks, logits = find_blocks(X.shape[1], names, None if named else [X.shape[1]])
        self.logits_ = blocks[logits]

    def _score_samples(self, X):
        return self._score_logits(X[:, self.logits_])

    def _predicted_class(self, X):
        # All columns are logits of one network, so their argmax is its prediction.
        return X[:, self.logits_].argmax(axis=1)
