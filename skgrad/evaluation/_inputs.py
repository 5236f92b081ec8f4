"""The inputs of an evaluation, checked, and the classes predicted for them."""

import numpy as np

from .._finite import check_finite
from .._labels import check_classes
from .._messages import naming
from .._several import Several
from .._validation import check_not_empty
from ..feature_extraction import predict_logits
from ..torch_engine.model_state import placement, unwrap_model
from ..torch_engine.samples import read_inputs
from ._anomaly_set import as_anomaly_sets
from ._leakage import check_anomalies_are_new, check_held_out


class Inputs:
    """All inputs of an evaluation, arrays or several; X_fit and known may be None.

    ``known`` are anomalies to learn from, ``classes`` and ``anomaly_classes`` are what
    the model predicts, ``usable`` the rows of X_test that may be fitted on.
    """

    def __init__(
        self,
        *,
        model,
        X_test,
        y_test,
        anomalies,
        X_fit,
        y_fit,
        known_anomalies,
        protocol,
        input_shape,
    ):
        self.device = placement(unwrap_model(model))["device"]
        self._model, self._input_shape = model, input_shape
        self.X_test = _read(X_test, "X_test")
        self.anomalies = as_anomaly_sets(anomalies, len(self.X_test))
        for kind, found in self.anomalies.items():
            _check_finite(found.X, f"anomalies[{kind!r}]")
        logits = self._logits(self.X_test, "X_test")
        self.classes, self._n_classes = logits.argmax(axis=1), logits.shape[1]
        y_test = self._checked_classes(y_test, self.X_test, "y_test")
        self.usable = np.ones(len(self.X_test), dtype=bool)
        self.X_fit = None if X_fit is None else _read(X_fit, "X_fit")
        if self.X_fit is not None:
            self._check_anomalies(self.X_fit, "X_fit")
            check_held_out(self.X_test, self.X_fit)
        self.known = self._checked_known(known_anomalies, protocol)
        if y_fit is not None and self.X_fit is None:
            raise ValueError(
                "y_fit must be None without X_fit, whose classes it holds. Give X_fit "
                "too, or the classes of X_test as y_test."
            )
        y_fit = self._checked_classes(y_fit, self.X_fit, "y_fit")
        if protocol.correct_only:
            self._keep_correct(y_test, y_fit, protocol)
        self._check_anomalies(self.X_test, "X_test")
        self.anomaly_classes = {
            kind: self._predict(found.X, f"anomalies[{kind!r}]")
            for kind, found in self.anomalies.items()
        }

    def _logits(self, X, name):
        with naming(name):
            return predict_logits(self._model, X, input_shape=self._input_shape)

    def _predict(self, X, name):
        """Return the classes that the model predicts."""
        if not len(X):  # no attack succeeded
            return np.empty(0, dtype=np.intp)
        return self._logits(X, name).argmax(axis=1)

    def _checked_classes(self, y, X, name):
        if y is None:
            return None
        return check_classes(y, len(X), name, n_classes=self._n_classes)

    def _checked_known(self, known, protocol):
        """Return the anomalies to learn from, or None."""
        name = "known_anomalies"
        if known is None:
            return None
        if protocol.supervised:
            raise ValueError(
                f"{name} must be None under protocol {protocol.name!r}, where "
                "detectors learn from a part of anomalies. Use protocol 'B' or 'C'."
            )
        found = as_anomaly_sets({name: known}, len(self.X_test), label="{}")[name]
        check_not_empty(found.X, name, "anomalies")
        if found.sources is not None:
            raise ValueError(
                f"{name} must hold no sources, which are rows of X_test: detectors "
                "would learn from what they are tested on. Attack inputs of X_fit."
            )
        for X, of in ((self.X_test, "X_test"), (self.X_fit, "X_fit")):
            if X is not None:
                check_anomalies_are_new({name: found.X}, X, of)
        self._check_anomalies(found.X, name)
        return found.X

    def _check_anomalies(self, X, name):
        sets = {f"anomalies[{kind!r}]": a.X for kind, a in self.anomalies.items()}
        check_anomalies_are_new(sets, X, name)

    def _keep_correct(self, y_test, y_fit, protocol):
        """Reduce the inputs to fit on to those that the model classifies correctly."""
        y, name = (y_test, "y_test") if self.X_fit is None else (y_fit, "y_fit")
        if y is None:
            raise ValueError(
                f"{name} must be given under protocol {protocol.name!r}, which fits on "
                "correctly classified inputs alone; got None."
            )
        if self.X_fit is None:
            right = self.usable = self.classes == y
        else:
            right = self._predict(self.X_fit, "X_fit") == y
            self.X_fit = self.X_fit[right]
        if not right.any():
            raise ValueError(
                f"{name} must number the classes from 0, as the logits do; the "
                f"model classifies none of the {len(right)} inputs so."
            )


def _read(X, name):
    X = read_inputs(X, name)
    check_not_empty(X, name, "in-distribution inputs")
    _check_finite(X, name)
    return X


def _check_finite(X, name):
    if not isinstance(X, Several):
        check_finite(X, name)
        return
    for key, entry in X.entries.items():
        check_finite(entry, f"{name}[{key!r}]")
