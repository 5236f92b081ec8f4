"""Base class of the detectors with one model per predicted class."""

from numbers import Integral

import numpy as np

from .._compat import Interval
from .._messages import brief
from ._base import BaseNoveltyDetector
from ._blocks import block_names, blocks_of_layers, find_blocks
from ._decision import threshold_options

# The value of include_logits that scores the logits where there is nothing else.
IF_ALONE = "if_alone"
# Rows that a model takes next to no time to fit on.
_FEW = 1000


class BaseClassConditional(BaseNoveltyDetector):
    """Base of the detectors with one model per predicted class and group of columns.

    A group is a block (a layer or the logits), or all blocks joined; the log-odds of
    the family `Stability` are left out. A subclass writes `_fit_scores`, which calls
    `_locate_columns` and sets ``_models``, a dict of class to one model per group, and
    ``_pooled``, the models for all other classes, empty if there are none.
    """

    _parameter_constraints: dict = {
        **BaseNoveltyDetector._parameter_constraints,
        "blocks": ["array-like", None],
        "min_class_size": [Interval(Integral, 2, None, closed="left")],
        "threshold": threshold_options(),
    }

    # For subclasses without these parameters.
    include_logits, joint, weights = True, False, None

    def _locate_columns(self, X, names, fit=slice(None)):
        """Find groups of columns and classes to model; return the predicted classes.

        Those of the rows ``fit`` alone, and no other rows count.
        """
        self.blocks_, self.logits_block_ = find_blocks(X.shape[1], names, self.blocks)
        shown = block_names(self.blocks_, self.logits_block_, names)
        kept = self._kept_blocks(names)
        if not kept and self.include_logits == IF_ALONE:
            kept = [self.logits_block_]
        self.block_names_ = [shown[place] for place in kept]
        self._columns = [self.blocks_[place] for place in kept]
        if not self._columns:
            raise ValueError(
                f"include_logits must be True or {IF_ALONE!r} when X holds nothing but "
                "logits; got False. Add another layer, or leave the logits in."
            )
        if self.joint:
            self.block_names_ = [" + ".join(self.block_names_)]
            self._columns = [np.r_[tuple(self._columns)]]
        n_columns = len(self._columns)
        self._weights = check_weights(self.weights, n_columns, "block of columns")
        predicted = self._predicted_class(X)[fit]
        classes, counts = np.unique(predicted, return_counts=True)
        # A model of few samples would reject nearly all others.
        self.modelled_classes_ = classes[counts >= self.min_class_size]
        return predicted

    def _kept_blocks(self, names):
        """Return which blocks are scored."""
        with_logits = self.include_logits and self.include_logits != IF_ALONE
        # Widths that were given count, whatever the names are.
        return [
            place
            for place in blocks_of_layers(
                self.blocks_, names if self.blocks is None else None
            )
            if with_logits or place != self.logits_block_
        ]

    def _all_modelled(self):
        """Return True if each class that the network knows has its own models."""
        logits = self.blocks_[self.logits_block_]
        return len(self.modelled_classes_) == logits.stop - logits.start

    def _some_rows(self, predicted):
        """Return no more rows than the largest class has, or than are fitted fast.

        The models for all other classes are fitted on them: the time of some detectors
        grows with the square of the rows, and these would take longer than all others.
        """
        largest = np.bincount(predicted).max()
        # Drawn by a generator of their own: no other draw changes with their number.
        order = np.random.default_rng(0).permutation(len(predicted))
        return np.sort(order[: max(largest, _FEW)])

    def _fit_models(self, X, predicted, make_model, scaling):
        """Fit a model, which has `fit` and `score`, per class and group of columns."""

        def fit(rows):
            return [
                ScaledScores(make_model(), scaling).fit(rows[:, columns])
                for columns in self._columns
            ]

        # First, so that its seeds do not depend on the number of classes.
        self._pooled = []
        if not self._all_modelled():
            self._pooled = fit(X[self._some_rows(predicted)])
        self._models = {
            label: fit(X[predicted == label])
            for label in self.modelled_classes_.tolist()
        }

    def block_scores(self, X):
        """Score each block of columns separately; their weighted sum is the score.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_blocks)
            The scores by the models of the predicted class, in the order of
            ``block_names_``, higher = more in-distribution.
        """
        return self._block_scores(self._check_test_data(X))

    def _block_scores(self, X):
        predicted = self._predicted_class(X)
        scores = np.empty((len(X), len(self._columns)))
        for label in np.unique(predicted).tolist():
            rows = predicted == label
            own = X[rows]
            # Classes that were rare in training, or never predicted, have no models.
            models = self._models.get(label, self._pooled)
            for number, columns in enumerate(self._columns):
                scores[rows, number] = models[number].score(own[:, columns])
        return scores

    def _score_samples(self, X):
        # A matrix product may round differently for other numbers of rows.
        parts = self._block_scores(X).T
        return sum(w * part for w, part in zip(self._weights, parts, strict=True))

    def _predicted_class(self, X):
        return X[:, self.blocks_[self.logits_block_]].argmax(axis=1)


class ScaledScores:
    """A model whose scores may be scaled to [0, 1] on its training samples."""

    def __init__(self, model, scaling):
        self.model, self.scaling = model, scaling

    def fit(self, X):
        self.model.fit(X)
        self.low, self.range = 0.0, 1.0
        if self.scaling is not None:
            scores = self.model.score(X)
            # Equal scores have no range; they stay as they are.
            self.low, self.range = scores.min(), np.ptp(scores) or 1.0
        return self

    def score(self, X):
        return (self.model.score(X) - self.low) / self.range


def check_weights(weights, n_weights, owner):
    """Return one weight for each owner, such as a detector, scaled to sum 1."""
    given = numbers_each(weights, n_weights)
    if given is None or not (np.all((given >= 0) & np.isfinite(given)) and given.any()):
        raise ValueError(
            f"weights must be None or numbers >= 0, not all 0, one per {owner}, "
            f"{n_weights} here; got {brief(weights)}."
        )
    return given / given.sum()


def numbers_each(values, n):
    """Return n numbers as an array, ones for None; None if values are none such."""
    if values is None:
        return np.ones(n)
    try:
        given = np.asarray(values)
    except ValueError:  # ragged
        return None
    return given if given.shape == (n,) and given.dtype.kind in "iuf" else None
