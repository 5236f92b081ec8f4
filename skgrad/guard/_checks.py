"""Check what a guard is made of: its detector, its classes and their labels."""

from inspect import signature
from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import assert_all_finite, check_random_state, column_or_1d, get_tags
from sklearn.utils.multiclass import check_classification_targets

from .._labels import check_per_sample, distinct, to_array
from .._messages import brief, listed
from .._seeding import seed_estimator
from ..detectors import make_recommended_detector
from ..detectors._decision import BaseDecision, count_rows, in_distribution_rows, take
from ..feature_extraction._base import BaseModelTransformer
from ..feature_extraction._model_estimator import BaseModelEstimator
from ..torch_engine.model_state import unwrap_model

# Parameters that go to the recommended detector, and belong to the steps of another.
_OPTIONS = (
    *("input_shape", "batch_size", "num_workers", "n_jobs", "device", "memory"),
    "verbose",
)


def new_detector(guard):
    """Return the detector of a guard, not yet fitted."""
    options = {name: getattr(guard, name) for name in _OPTIONS}
    rates = {"target_fpr": guard.target_fpr}
    if guard.detector is None:
        random_state = guard.random_state
        return make_recommended_detector(
            guard.model, random_state=random_state, **rates, **options
        )
    last = _check_steps(guard.detector)
    _check_model(guard.detector[0], guard.model)
    _check_default(guard, options, "the first step of detector", "beside it")
    _check_default(last, ["target_fpr"], "GuardedClassifier", "inside it")
    detector = clone(guard.detector)
    detector[-1].set_params(**rates)
    return seed_estimator(detector, check_random_state(guard.random_state))


def _check_steps(detector):
    """Return the last step; raise unless it takes features of a transformer of ours."""
    is_pipeline = isinstance(detector, Pipeline) and len(detector) > 1
    first, last = (detector[0], detector[-1]) if is_pipeline else (None, None)
    ends_well = isinstance(last, BaseDecision)
    if (
        not (isinstance(first, BaseModelTransformer) and ends_well)
        or isinstance(last, BaseModelEstimator)
        or get_tags(last).target_tags.required
    ):
        raise TypeError(
            "detector must be None or a Pipeline that begins with a transformer of "
            "skgrad, such as LayerActivationTransformer(model), and ends in a novelty "
            f"detector of skgrad over its features; got {brief(detector)}. Put a "
            "detector of another library into ConformalDetector."
        )
    return last


def _check_model(first, model):
    if unwrap_model(first.model) is not unwrap_model(model):
        raise ValueError(
            "model must be the network of the detector's first step; got another one "
            f"than that of {type(first).__name__}. Build both around the same object."
        )


def _check_default(estimator, names, home, where):
    """Raise if a parameter that would have no effect has been set."""
    parameters = signature(type(estimator)).parameters
    for name in names:
        value, default = getattr(estimator, name), parameters[name].default
        # The value may be an array where the default is None.
        if value is not None if default is None else value != default:
            raise ValueError(
                f"{name} of {type(estimator).__name__} must stay at its default, "
                f"{default!r}, {where}, because it has no effect; got {brief(value)}. "
                f"Set {name} of {home}."
            )


def class_names(classes):
    """Return the names of the classes as an array, None for numbers from 0."""
    if classes is None:
        return None
    names = to_array(classes, "classes")
    # numpy would make words of numbers among words.
    values = list(classes) if names.ndim == 1 else [None]
    kinds = (str, Integral)
    if (
        not any(all(isinstance(value, kind) for value in values) for kind in kinds)
        or len(set(values)) < len(values)
        or not values
    ):
        raise ValueError(
            "classes must be None or the names of the model's classes, each once, all "
            f"of them words or all whole numbers; got {brief(classes)}."
        )
    return np.asarray(values)


def label_of_rejects(label, classes):
    """Return what stands for a class that deserves no trust."""
    words = classes.dtype.kind == "U"
    if label is None:
        label = "rejected" if words else -1
    if isinstance(label, str) != words or label in classes.tolist():
        kind = "a word" if words else "a whole number"
        raise ValueError(
            f"reject_label must be {kind}, as the classes are, and none of them; got "
            f"{label!r}, with the classes {listed(classes.tolist(), 10)}."
        )
    return label


def in_distribution(X, y, names):
    """Return X without the rows that y labels as anomalies, and y if it has classes."""
    if y is None:
        return X, None
    y, n_samples = to_array(y, "y"), count_rows(X)
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    y = check_per_sample(y, n_samples, "y")
    assert_all_finite(y, input_name="y")
    labels = set(distinct(y))
    known = set() if names is None else set(names.tolist())
    if -1 in labels and labels <= {-1, 1} and -1 not in known:
        return take(X, in_distribution_rows(n_samples, y)), None
    return X, y


def check_known(y, classes):
    """Raise unless labels are classes."""
    if y is None:
        return
    check_classification_targets(y)
    unknown = [label for label in distinct(y) if label not in classes.tolist()]
    if unknown:
        raise ValueError(
            f"y must hold classes of the model, {listed(classes.tolist(), 10)}, or +1 "
            f"and -1 for anomalies; got {listed(unknown, 5)}. Name the classes with "
            "classes=, in the order of the logits, or leave y out."
        )
