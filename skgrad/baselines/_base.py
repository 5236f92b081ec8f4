"""What the baselines share: a model, in-distribution inputs, a threshold."""

from abc import abstractmethod
from functools import partial

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._docstrings import in_words_of_its_own
from .._finite import rows_named
from .._several import check_floats, sample_shape
from .._validation import DATASETS
from ..detectors._decision import (
    SAMPLES,
    SAMPLES_OF_FIT,
    BaseDecision,
    anomaly_labels,
    check_enough,
    in_distribution_rows,
    split_rows,
    take,
)
from ..feature_extraction._model_estimator import BaseModelEstimator
from ..torch_engine.model_state import frozen
from ..torch_engine.probe import Probe, warn_of_batch_scales
from ..torch_engine.samples import N_COMPARED, count_samples, warn_if_unsteady


@in_words_of_its_own(
    {
        SAMPLES: (
            "array-like of shape (n_samples, *input_shape), Tensor, Dataset or "
            "DataLoader"
        ),
        SAMPLES_OF_FIT: (
            "In-distribution inputs, finite and scaled as in the training of the model."
        ),
    }
)
class BaseModelDetector(BaseDecision, BaseModelEstimator):
    """Base of the detectors that take the inputs of a model, not its features.

    A subclass implements `_features`, computed for each input; `_score`, if that is not
    the score itself; and `_learn`, if there is something to learn. The model is frozen
    around all of them.
    """

    _parameter_constraints: dict = {
        **BaseModelEstimator._parameter_constraints,
        **BaseDecision._parameter_constraints,
    }
    # Whether `_features` needs gradients with respect to parameters.
    _parameter_gradients = False
    # What to do instead where the inputs hold no floats that could be changed.
    _without_floats = "Set eps=0, for no such steps."

    @abstractmethod
    def _features(self, module, batch):
        """Return a Tensor (n_samples, ...) for a batch, each row independently."""

    def _score(self, features):
        """Return scores (n_samples,), higher = more in-distribution."""
        return features

    def _changes_inputs(self):
        """Return True if `_features` changes inputs, which then must hold floats."""
        return False

    def _check_rows(self, module, X, rows):
        """Check the in-distribution rows of X, including those held out."""

    def _asks(self):
        """Return the options of the `Probe` that `_learn` gets."""
        return {}

    def _learn(self, probe, X, anomalies, random_state):
        """Learn from in-distribution inputs, and from anomalies if there are any.

        Both come in the container of X; ``anomalies`` is None if y labels none. The
        network is that of the probe.
        """

    def _fit(self, X, y):
        module = self._module(renew=True)
        X = self._check_inputs(X, reset=True)
        n_samples = count_samples(X)
        labels = anomaly_labels(y, n_samples)
        rows = in_distribution_rows(n_samples, labels)
        check_enough(len(rows), 2)
        anomalous = np.flatnonzero(labels == -1)
        random_state = check_random_state(self.random_state)
        fit, held_out = split_rows(rows, self.calibration_fraction, random_state)
        self._n_fit = len(fit)
        gradients = self._parameter_gradients
        with frozen(module, parameter_gradients=gradients) as network:
            version = self._version(network)
            first, together, _ = self._begin(X, N_COMPARED)
            warn_if_unsteady(X, first)
            batch = self._prepare(module, first, together)
            probe = Probe(module, batch, **self._asks())
            warn_of_batch_scales(module, self.batch_size)
            self.n_classes_ = probe.n_classes
            self.input_shape_ = sample_shape(batch)
            if self._changes_inputs():
                check_floats(probe.x, type(self).__name__, self._without_floats)
            # Held-out rows are checked too: they place the threshold.
            self._check_rows(module, X, rows)
            anomalies = take(X, anomalous) if len(anomalous) else None
            self._learn(probe, take(X, fit), anomalies, random_state)
            scores = self._scores(module, take(X, held_out))
            self._remember_network(network, version)
        if isinstance(X, DATASETS):
            self._remember_width(first)
        self._calibrate(scores, None)

    def _score_and_predict(self, X):
        check_is_fitted(self)
        module = self._module()
        X = self._check_inputs(X, reset=False)
        gradients = self._parameter_gradients
        with frozen(module, parameter_gradients=gradients) as network:
            self._check_network(network)
            with rows_named():
                # No classes: the baselines have one threshold for all.
                return self._scores(module, X), None

    def _scores(self, module, X):
        features = self._map_features(module, X)
        return np.asarray(self._score(features), dtype=np.float64)

    def _map_features(self, module, X):
        return self._map(partial(self._features, module), module, X)

    def _map(self, function, module, X):
        """Apply a function of batches to all of X, and return an array of float64."""
        return self._mapped(function, module, X).double().numpy()
