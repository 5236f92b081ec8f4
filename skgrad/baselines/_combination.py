"""Several numbers of an input as one score: with known anomalies, or without."""

from abc import abstractmethod
from numbers import Real

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from .._compat import Interval, StrOptions
from ..detectors._combined import log_p_values
from ..detectors._decision import split_rows, take
from ..detectors._scaling import AnyFloatScaler
from ..torch_engine.samples import count_samples
from ._base import BaseModelDetector

FISHER, LOGISTIC = "fisher", "logistic"


class BaseCombination(BaseModelDetector):
    """Base of the detectors whose `_features` are several columns of evidence.

    In each column higher means more in-distribution. A subclass writes
    `_learn_columns` and `_features`.
    """

    _parameter_constraints: dict = {
        **BaseModelDetector._parameter_constraints,
        "combination": [StrOptions({FISHER, LOGISTIC})],
        "reference_fraction": [Interval(Real, 0, 1, closed="neither")],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        # y tells the known anomalies that the regression learns from.
        tags.target_tags.required = self.combination == LOGISTIC
        return tags

    @abstractmethod
    def _count_columns(self, module, X):
        """Return how many columns there will be, having checked the parameters."""

    @abstractmethod
    def _learn_columns(self, module, X, random_state):
        """Learn from in-distribution inputs whatever the columns need."""

    def _learn(self, module, X, anomalies, random_state):
        n_columns, n_samples = self._count_columns(module, X), count_samples(X)
        if self.combination == LOGISTIC and anomalies is None:
            raise ValueError(
                "combination='logistic' learns from known anomalies, and y names none. "
                "Label their rows of X by y = -1 and all others by +1, or set "
                "combination='fisher', which needs none. Folds of NoveltyKFold have "
                "none to learn from; those of StratifiedKFold do."
            )
        self._combine = None
        fit = reference = np.arange(n_samples)
        alone = n_columns == 1 and self.combination == FISHER
        if n_samples > 1 and not alone:
            # The columns of the samples that they are learnt from look too good.
            fit, reference = split_rows(fit, self.reference_fraction, random_state)
        self._learn_columns(module, take(X, fit), random_state)
        if alone:
            return
        columns = self._map_features(module, take(X, reference))
        if self.combination == LOGISTIC:
            others = self._map_features(module, anomalies)
            self._combine = _LogisticRegression().fit(columns, others)
        else:
            self._combine = _FisherSum().fit(columns)

    def _score(self, features):
        return (
            features[:, 0] if self._combine is None else self._combine.score(features)
        )


class _FisherSum:
    """The sum of the logarithms of p-values among in-distribution samples."""

    def fit(self, columns):
        self.references = [np.sort(column) for column in columns.T]
        return self

    def score(self, columns):
        parts = zip(columns.T, self.references, strict=True)
        return np.sum([log_p_values(c, r) for c, r in parts], axis=0)


class _LogisticRegression:
    """The log-odds of being in-distribution."""

    def fit(self, normal, anomalous):
        labels = np.repeat([1, -1], [len(normal), len(anomalous)])
        # Balanced: how many anomalies someone happens to know is no prior.
        regression = LogisticRegression(class_weight="balanced", max_iter=1000)
        self.model = make_pipeline(AnyFloatScaler(), regression)
        self.model.fit(np.concatenate([normal, anomalous]), labels)
        return self

    def score(self, columns):
        return self.model.decision_function(columns)
