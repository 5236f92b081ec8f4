"""Combine several columns into one score, with or without known anomalies."""

from abc import abstractmethod
from numbers import Real

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from .._compat import Interval, StrOptions
from .._docstrings import in_words_of_its_own
from ..detectors._combined import LogPValues
from ..detectors._decision import LEFT_OUT, split_rows, take
from ..detectors._scaling import AnyFloatScaler
from ..torch_engine.samples import count_samples
from ._layers import BaseLayersDetector

FISHER, LOGISTIC = "fisher", "logistic"


@in_words_of_its_own(
    {LEFT_OUT: 'which are left out, or learned from by ``combination="logistic"``.'}
)
class BaseCombination(BaseLayersDetector):
    """Base of the detectors whose `_features` are several columns, such as layers.

    In each column higher means more in-distribution. A subclass implements
    `_learn_columns` and `_features`.
    """

    _parameter_constraints: dict = {
        **BaseLayersDetector._parameter_constraints,
        "combination": [StrOptions({FISHER, LOGISTIC})],
        "reference_fraction": [Interval(Real, 0, 1, closed="neither")],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # The regression learns from the known anomalies in y.
        tags.target_tags.required = self.combination == LOGISTIC
        return tags

    def _count_columns(self, probe):
        """Check the parameters and return the number of columns."""
        self._find_layers(probe, self.layers)
        return len(self.layers_)

    @abstractmethod
    def _learn_columns(self, module, X, random_state):
        """Learn what the columns need from in-distribution inputs."""

    def _learn(self, probe, X, anomalies, random_state):
        module = probe.module
        n_columns = self._count_columns(probe)
        if self.combination == LOGISTIC and anomalies is None:
            raise ValueError(
                "combination='logistic' needs known anomalies, and y labels none. "
                "Label their rows of X with -1 and all others with +1, or set "
                "combination='fisher', which needs none. Training folds of "
                "NoveltyKFold hold no anomalies; those of StratifiedKFold do."
            )
        self._combine = None
        fit = reference = np.arange(count_samples(X))
        alone = n_columns == 1 and self.combination == FISHER
        if len(fit) > 1 and not alone:
            # Samples that the columns are learnt from score too high in them.
            fit, reference = split_rows(fit, self.reference_fraction, random_state)
        self._learn_columns(module, take(X, fit), random_state)
        if alone:
            return
        columns = self._map_features(module, take(X, reference))
        if self.combination == LOGISTIC:
            anomalous = self._map_features(module, anomalies)
            self._combine = _LogisticRegression().fit(columns, anomalous)
        else:
            self._combine = _FisherSum().fit(columns)

    def _score(self, features):
        if self._combine is None:
            return features[:, 0]
        return self._combine.score(features)


class _FisherSum:
    """Sum of the logarithms of p-values among in-distribution samples."""

    def fit(self, columns):
        self.p_values = [LogPValues(np.sort(column)) for column in columns.T]
        return self

    def score(self, columns):
        parts = zip(columns.T, self.p_values, strict=True)
        return np.sum([p.of(column) for column, p in parts], axis=0)


class _LogisticRegression:
    """Log-odds of being in-distribution, by logistic regression."""

    def fit(self, normal, anomalous):
        # Higher is more in-distribution, so that is the positive class.
        labels = np.repeat([1, -1], [len(normal), len(anomalous)])
        # Balanced: the number of known anomalies is not their prior probability.
        regression = LogisticRegression(class_weight="balanced", max_iter=1000)
        self.model = make_pipeline(AnyFloatScaler(), regression)
        self.model.fit(np.concatenate([normal, anomalous]), labels)
        return self

    def score(self, columns):
        return self.model.decision_function(columns)
