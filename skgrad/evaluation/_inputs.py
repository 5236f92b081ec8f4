"""The inputs of an evaluation, checked, and the classes predicted for them."""

from collections import defaultdict

import joblib
import numpy as np
from sklearn.frozen import FrozenEstimator

from .._arrays import check_all_new, check_held_out, check_new
from .._validation import check_classes, check_finite, check_not_empty
from ..feature_extraction import LayerActivationTransformer
from ..feature_extraction._base import BaseModelTransformer
from ..torch_engine.model_state import placement, unwrap_model
from ..torch_engine.samples import read_array
from ._anomaly_set import as_anomaly_sets


class Inputs:
    """All inputs, checked, and the classes that the model predicts for them."""

    def __init__(
        self,
        model,
        X_test,
        y_test,
        anomalies,
        X_fit,
        y_fit,
        known,
        protocol,
        input_shape,
        cache,
    ):
        self.features = None if cache is None else str(cache)
        self.device = placement(unwrap_model(model))["device"]
        self._logits = LayerActivationTransformer(
            model, "logits", input_shape=input_shape
        )
        share_features(self._logits, self.features)
        self.X_test = read_array(X_test, "X_test")
        check_not_empty(self.X_test, "X_test", "in-distribution inputs")
        check_finite(self.X_test, "X_test")
        self.anomalies = as_anomaly_sets(anomalies, len(self.X_test))
        for kind, found in self.anomalies.items():
            check_finite(found.X, f"anomalies[{kind!r}]")
        self._logits.fit(self.X_test)
        self.classes = self.predict(self.X_test)
        y_test = self._checked_classes(y_test, self.X_test, "y_test")
        self.X_fit = None if X_fit is None else read_array(X_fit, "X_fit")
        self.allowed = np.ones(len(self.X_test), dtype=bool)
        if self.X_fit is not None:
            check_not_empty(self.X_fit, "X_fit", "in-distribution inputs")
            check_finite(self.X_fit, "X_fit")
            self._check_anomalies(self.X_fit, "X_fit")
            check_held_out(self.X_test, self.X_fit)
        self.known = self._checked_known(known, protocol)
        if protocol.correct_only:
            self._keep_correct(y_test, self._labels_to_fit(y_fit), protocol)
        self._check_anomalies(self.X_test, "X_test")
        self.anomaly_classes = {
            name: self.predict(found.X) for name, found in self.anomalies.items()
        }
        self.prints = self._prints() if cache is not None else defaultdict(str)

    def _prints(self):
        """Return fingerprints of the inputs: three by name, the judged by (kind,)."""
        inputs: dict = {"X_fit": self.X_fit, "X_test": self.X_test, "known": self.known}
        inputs |= {(kind,): found.X for kind, found in self.anomalies.items()}
        return {name: joblib.hash(X) for name, X in inputs.items()}

    def predict(self, X):
        """Return the predicted classes."""
        if not len(X):
            return np.empty(0, dtype=np.intp)
        return np.asarray(self._logits.transform(X)).argmax(axis=1)

    def _checked_known(self, known, protocol):
        """Return the anomalies to learn from, or None."""
        if known is None:
            return None
        if protocol.supervised:
            raise ValueError(
                f"known must be None under protocol {protocol.name!r}, under which "
                "detectors learn from a part of anomalies. Take protocol 'B' or 'C'."
            )
        found = as_anomaly_sets({"known": known}, len(self.X_test))["known"]
        check_not_empty(found.X, "known", "anomalies")
        if found.sources is not None:
            raise ValueError(
                "known must hold no sources, which are rows of X_test: detectors would "
                "learn from what they are judged by. Attack inputs of X_fit."
            )
        check_new(found.X, self.X_test, "known", "X_test")
        if self.X_fit is not None:
            check_new(found.X, self.X_fit, "known", "X_fit")
        self._check_anomalies(found.X, "known")
        return found.X

    def _check_anomalies(self, known, name):
        sets = {
            f"anomalies[{kind!r}]": found.X for kind, found in self.anomalies.items()
        }
        check_all_new(sets, known, name)

    def _labels_to_fit(self, y_fit):
        if y_fit is not None and self.X_fit is None:
            raise ValueError(
                "y_fit must be None without X_fit, whose classes it holds; got some. "
                "Give X_fit too, or the classes of X_test as y_test."
            )
        return self._checked_classes(y_fit, self.X_fit, "y_fit")

    @staticmethod
    def _checked_classes(y, X, name):
        return None if y is None else check_classes(y, len(X), name)

    def _keep_correct(self, y_test, y_fit, protocol):
        """Cut the inputs to fit on down to those classified correctly."""
        y, name = (y_test, "y_test") if self.X_fit is None else (y_fit, "y_fit")
        if y is None:
            raise ValueError(
                f"{name} must be given under protocol {protocol.name!r}, which fits on "
                "correctly classified inputs alone; got None."
            )
        n_classes = self._logits.n_classes_
        if not 0 <= y.min() <= y.max() < n_classes:
            raise ValueError(
                f"{name} must hold classes of the model, 0 to {n_classes - 1}; got "
                f"{y.min()} to {y.max()}."
            )
        if self.X_fit is None:
            self.allowed = self.classes == y
            right = self.allowed
        else:
            right = self.predict(self.X_fit) == y
            self.X_fit = self.X_fit[right]
        if not right.any():
            raise ValueError(
                f"{name} must agree with the model somewhere; it classifies none of "
                f"the {len(right)} inputs so. Are the classes numbered from 0, in the "
                "order of the logits?"
            )


def share_features(estimator, folder):
    """Let every transformer over a model, wherever it hides, keep its features."""
    if folder is None or isinstance(estimator, FrozenEstimator):
        return
    parts = estimator.get_params(deep=True)
    # What is frozen is never copied: it is the user's own, and stays as it is.
    frozen = [
        f"{n}__" for n, part in parts.items() if isinstance(part, FrozenEstimator)
    ]
    for name, part in {"": estimator, **parts}.items():
        if name.startswith(tuple(frozen)):
            continue
        if isinstance(part, BaseModelTransformer) and part.memory is None:
            part.set_params(memory=folder)
