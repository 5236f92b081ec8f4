"""One model per predicted class, the mechanism of class-conditional detectors."""

from abc import abstractmethod
from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval

from ._base import BaseNoveltyDetector
from ._blocks import find_blocks


class BasePerClassDetector(BaseNoveltyDetector):
    """Base of the detectors that judge an input among those predicted alike.

    A subclass says with `_fit_one` how a set of rows is modelled. A class predicted
    for fewer than ``min_class_size`` training samples, or for none, is judged by the
    model of all classes together.
    """

    _parameter_constraints: dict = {
        **BaseNoveltyDetector._parameter_constraints,
        "blocks": ["array-like", None],
        "min_class_size": [Interval(Integral, 2, None, closed="left")],
    }

    @abstractmethod
    def _fit_one(self, X):
        """Return something with score_samples, fitted on the rows of one class."""

    def _fit_scores(self, X, names, random_state):
        self.blocks_, self.logits_block_ = find_blocks(X.shape[1], names, self.blocks)
        self._check_blocks()
        predicted = self._predicted_class(X)
        classes, counts = np.unique(predicted, return_counts=True)
        self.modelled_classes_ = classes[counts >= self.min_class_size]
        self._pooled = self._fit_one(X)
        self._models = {
            label: self._fit_one(X[predicted == label])
            for label in self.modelled_classes_.tolist()
        }

    def _check_blocks(self):
        """Check parameters that depend on the blocks."""

    def _score_samples(self, X):
        predicted = self._predicted_class(X)
        scores = np.empty(len(X))
        for label in np.unique(predicted).tolist():
            rows = predicted == label
            model = self._models.get(label, self._pooled)
            scores[rows] = model.score_samples(X[rows])
        return scores

    def _predicted_class(self, X):
        return X[:, self.blocks_[self.logits_block_]].argmax(axis=1)
