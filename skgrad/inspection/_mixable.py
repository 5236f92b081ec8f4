"""A detector cut behind the network: features once, then only cheap scores."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch.utils.data import Dataset

from .._messages import brief, naming
from .._unwrap import last_step, unwrap
from .._validation import column_names, to_array
from ..detectors._blocks import find_blocks
from ..detectors._scores import check_estimator, in_distribution_scores
from ..feature_extraction import FeatureArray
from ..feature_extraction._base import BaseModelTransformer
from ..torch_engine.samples import take_samples
from ._display import FARTHEST


@dataclass
class Mixable:
    """Features of in-distribution inputs, and what scores matrices like them."""

    prepare: Any  # turns inputs into features; None where they are features already
    detector: Any
    like: Any  # the features of the in-distribution inputs as they came
    values: np.ndarray
    names: list | None

    def features(self, X, name="X"):
        """Return the features of inputs as a plain array."""
        features = _features(self.prepare, X, name)
        values = _as_values(features, name)
        if values.shape[1] != self.values.shape[1]:
            raise ValueError(
                f"{name} must have the {self.values.shape[1]} columns of X_id; got "
                f"{values.shape[1]}."
            )
        return values

    def dressed(self, values):
        """Return values as the detector is used to them: with the same names."""
        if hasattr(self.like, "iloc"):
            frame = type(self.like)(values, columns=self.like.columns)
            if values.dtype != object:  # whole numbers may meet fractions
                return frame
            return frame.astype(self.like.dtypes)
        if isinstance(self.like, FeatureArray):
            return FeatureArray(values, self.like.feature_names)
        return values

    def scores(self, values):
        """Score features, higher = more in-distribution."""
        scores = in_distribution_scores(self.detector, self.dressed(values))
        scores = np.asarray(scores, dtype=np.float64).reshape(len(values))
        return np.clip(scores, -FARTHEST, FARTHEST)

    def classes(self, values):
        """Return the classes that the network predicts; all the same if unknown."""
        blocks = getattr(last_step(self.detector), "blocks", None)
        try:
            slices, logits = find_blocks(values.shape[1], self.names, blocks)
        except ValueError:  # there are none, or of two networks, or behind a scaler
            return np.zeros(len(values), dtype=np.intp)
        return values[:, slices[logits]].argmax(axis=1)


def make_mixable(estimator, X_id):
    """Cut a fitted detector behind its last step that holds a network."""
    check_estimator(estimator)
    check_is_fitted(estimator)
    prepare, detector = _cut(unwrap(estimator), X_id)
    features = _features(prepare, X_id, "X_id")
    values = _as_values(features, "X_id")
    if not len(values):
        raise ValueError("X_id must hold in-distribution inputs, at least one.")
    return Mixable(prepare, detector, features, values, _names(prepare, features))


def _features(prepare, X, name):
    if prepare is None:
        return X
    with naming(name):
        return prepare.transform(X)


def _names(prepare, features):
    """Return the names of the columns, with those of the steps that made them."""
    try:
        names = prepare.get_feature_names_out().tolist()
    except (AttributeError, ValueError):  # no steps, or one that does not tell
        names = None
    known = names is not None and len(names) == np.shape(features)[1]
    return names if known else column_names(features)


def _cut(estimator, X):
    if not isinstance(estimator, Pipeline):
        return None, estimator
    steps = [step for _, step in estimator.steps]
    heavy = [i + 1 for i, step in enumerate(steps[:-1]) if _holds_network(step)]
    cut = heavy[-1] if heavy else _of_rows(steps, X)
    return (estimator[:cut], estimator[cut:]) if cut else (None, estimator)


def _of_rows(steps, X):
    """Rows are features already; of anything else someone's own steps make them."""
    return 0 if np.ndim(one_sample(X)) == 2 else len(steps) - 1


def _holds_network(step):
    parts = step.get_params().values() if hasattr(step, "get_params") else ()
    return any(isinstance(part, BaseModelTransformer) for part in (step, *parts))


def _as_values(features, name):
    values = to_array(features, name)
    if values.ndim != 2:
        raise ValueError(
            "estimator must be a pipeline whose transformers give a matrix of "
            "features, or a detector over such a matrix, so that some of its columns "
            f"can be exchanged; {name} gives shape {values.shape} of dtype "
            f"{brief(values.dtype)}."
        )
    return values


def as_one_input(x, X_id):
    """Return x as a batch of one input."""
    if hasattr(x, "to_frame"):  # a row of a data frame
        x = x.to_frame().T
    if not hasattr(x, "shape"):
        try:
            x = np.asarray(x)
        except ValueError as error:
            raise ValueError(
                f"x must be one input; got a ragged {type(x).__name__}. Of a pair "
                "(x, y) of a Dataset, give x."
            ) from error
    like = one_sample(X_id)
    n_axes = np.ndim(like)
    if len(x.shape) == n_axes - 1:
        x = x[None]
    if len(x.shape) != n_axes or x.shape[0] != 1:
        raise ValueError(
            "x must be one input, of the shape of one of X_id, with a first axis of "
            f"length 1 or without; got shape {tuple(x.shape)}, and "
            f"{np.shape(like)[1:]} for each of X_id."
        )
    return x


def one_sample(X, row=0):
    """Return one of some inputs, as a batch of the same kind."""
    if isinstance(X, Dataset):  # numpy would read all of it
        return take_samples(X, np.array([row]))
    return X.iloc[row : row + 1] if hasattr(X, "iloc") else X[row : row + 1]
