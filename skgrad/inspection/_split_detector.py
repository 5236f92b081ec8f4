"""A detector split behind its network: features once, then only cheap scores."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .._labels import to_array
from .._matrices import column_names
from .._messages import brief, naming
from .._several import check_one_or_several, is_several
from .._unwrap import last_step, split_pipeline, unwrap
from .._validation import DATASETS
from ..detectors._blocks import find_blocks
from ..detectors._scores import check_estimator, in_distribution_scores
from ..feature_extraction._base import BaseModelTransformer
from ..feature_extraction._feature_array import in_container_of
from ..torch_engine.samples import take_samples
from ._display import FARTHEST


@dataclass
class SplitDetector:
    """The steps up to the features, those after them, and in-distribution features."""

    head: Any  # turns inputs into features; None where X holds features already
    tail: Any  # scores features
    template: Any  # in-distribution features in the container that the tail takes
    values: np.ndarray  # the same as a plain array
    names: list | None

    def features(self, X, name="X"):
        """Return the features of inputs as a plain array."""
        values = _as_matrix(_transform(self.head, X, name), name)
        if values.shape[1] != self.values.shape[1]:
            raise ValueError(
                f"{name} must have the {self.values.shape[1]} columns of X_test; got "
                f"{values.shape[1]}."
            )
        return values

    def scores(self, values):
        """Score features, higher = more in-distribution."""
        features = in_container_of(self.template, values)
        scores = in_distribution_scores(self.tail, features)
        scores = np.asarray(scores, dtype=np.float64).reshape(len(values))
        return np.clip(scores, -FARTHEST, FARTHEST)

    def predicted_classes(self, values):
        """Return the classes that the network predicts; all the same if unknown."""
        blocks = getattr(last_step(self.tail), "blocks", None)
        try:
            slices, logits = find_blocks(values.shape[1], self.names, blocks)
        except ValueError:  # there are none, or of two networks, or behind a scaler
            return np.zeros(len(values), dtype=np.intp)
        return values[:, slices[logits]].argmax(axis=1)


def split_detector(estimator, X_test):
    """Split a fitted detector behind its last step that holds a network."""
    check_estimator(estimator)
    check_is_fitted(estimator)
    head, tail = _split(unwrap(estimator), X_test)
    features = _transform(head, X_test, "X_test")
    values = _as_matrix(features, "X_test")
    if not len(values):
        raise ValueError("X_test must hold in-distribution inputs, at least one.")
    return SplitDetector(head, tail, features, values, _names(head, features))


def _split(estimator, X):
    if not isinstance(estimator, Pipeline):
        return None, estimator
    head, tail = split_pipeline(estimator, _holds_network)
    if head is None and np.ndim(one_sample(X)) != 2:
        # Not a matrix, so that the user's own steps must compute the features.
        return split_pipeline(estimator, lambda step: True)
    return head, tail


def _holds_network(step):
    parts = step.get_params().values() if hasattr(step, "get_params") else ()
    return any(isinstance(part, BaseModelTransformer) for part in (step, *parts))


def _transform(head, X, name):
    if head is None:
        return X
    with naming(name):
        return head.transform(X)


def _names(head, features):
    """Return the names of the columns, with those of the steps that made them."""
    try:
        names = head.get_feature_names_out().tolist()
    except (AttributeError, ValueError):  # no steps, or one without names
        names = None
    known = names is not None and len(names) == np.shape(features)[1]
    return names if known else column_names(features)


def _as_matrix(features, name):
    values = to_array(features, name)
    if values.ndim != 2:
        raise ValueError(
            "estimator must be a pipeline whose transformers return a matrix of "
            "features, or a detector over such a matrix, so that some of its columns "
            f"can be exchanged; {name} has shape {values.shape} and dtype "
            f"{brief(values.dtype)}."
        )
    return values


def as_one_input(x, X_test):
    """Return x as a batch of one input."""
    if hasattr(x, "to_frame"):  # a row of a data frame
        x = x.to_frame().T
    if is_several(x):
        return _one_of_several(x)
    if not hasattr(x, "shape"):
        x = to_array(x, "x")
    template = one_sample(X_test)
    n_axes = np.ndim(template)
    if len(x.shape) == n_axes - 1:
        x = x[None]
    if len(x.shape) != n_axes or x.shape[0] != 1:
        raise ValueError(
            "x must be one input, of the shape of one of X_test, with a first axis of "
            f"length 1 or without; got shape {tuple(x.shape)}, and "
            f"{np.shape(template)[1:]} for each of X_test."
        )
    return x


def _one_of_several(x):
    x = check_one_or_several(x, name="x")
    if len(x) != 1:
        raise ValueError(
            "x must be one input, each of its entries with a first axis of length 1; "
            f"got {x!r}."
        )
    return x


def one_sample(X, row=0):
    """Return one of some inputs, as a batch of the same kind."""
    if isinstance(X, DATASETS):  # numpy would read all of it
        return take_samples(X, np.array([row]))
    if is_several(X):
        X = check_one_or_several(X)
    return X.iloc[row : row + 1] if hasattr(X, "iloc") else X[row : row + 1]
