"""Fit and score detectors inside another one, which uses their scores alone."""

import inspect
import warnings

from sklearn.pipeline import Pipeline

from .._unwrap import last_step
from ..feature_extraction import FeatureArray
from ._base import BaseNoveltyDetector
from ._conformal import TooFewSamplesWarning
from ._decision import BaseDecision
from ._scores import in_distribution_scores

# Of our own detectors the outer one asks what lies under their public methods: it has
# validated X for them.


def fit_part(detector, X, names=None):
    """Fit a detector on a validated float64 array with these column names or None."""
    if isinstance(detector, BaseNoveltyDetector):
        _check_unused_parameters(detector, fits_on_all=True)
        detector._fit_on_all(X, names, validated=True)
        return detector
    return fit_to_score(detector, _named(X, names))


def score_part(detector, X, names=None):
    """Score a validated float64 array by a detector of `fit_part`."""
    if isinstance(detector, BaseNoveltyDetector):
        return detector._score_samples(X)
    return in_distribution_scores(detector, _named(X, names))


def _named(X, names):
    return X if names is None else FeatureArray(X, names)


def fit_to_score(detector, X, y=None):
    """Fit a detector on X as the user gave it."""
    last = detector
    while isinstance(last, Pipeline):
        last = last[-1]
    fits_on_all = isinstance(last, BaseNoveltyDetector)
    _check_unused_parameters(last_step(detector), fits_on_all)
    if fits_on_all:
        _fit_on_all(detector, X, y)
        return detector
    # In a search a detector of skgrad holds out rows. They place a threshold that
    # nobody uses, so few are enough.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TooFewSamplesWarning)
        # FrozenEstimator requires y.
        detector.fit(X, y)
    return detector


def _fit_on_all(detector, X, y):
    """Fit a detector of skgrad, also at the end of pipelines, holding no row out."""
    if not isinstance(detector, Pipeline):
        detector._fit_on_all(X)
        return
    # The pipeline itself fits the steps before, with its memory.
    name, last = detector.steps[-1]
    detector.steps[-1] = (name, _FitOnAll(last))
    try:
        detector.fit(X, y)
    finally:
        detector.steps[-1] = (name, last)


class _FitOnAll:
    """Stands in for the last step of a pipeline while that is fitted."""

    def __init__(self, detector):
        self.detector = detector

    def fit(self, X, y=None):
        _fit_on_all(self.detector, X, y)
        return self


def _check_unused_parameters(detector, fits_on_all):
    # One that is fitted comes from a FrozenEstimator; it may decide elsewhere.
    if not isinstance(detector, BaseDecision) or hasattr(detector, "offset_"):
        return
    parameters = inspect.signature(type(detector)).parameters
    without_effect = ["target_fpr", "threshold"]
    if fits_on_all:
        without_effect.append("calibration_fraction")
    for name in without_effect:
        value = getattr(detector, name)
        # Detectors without a parameter threshold have it as a class attribute.
        if name in parameters and value != parameters[name].default:
            raise ValueError(
                f"{name} of {type(detector).__name__} must stay at its default, "
                f"{parameters[name].default!r}, inside another detector, where it has "
                f"no effect; got {value!r}. Set {name} of the outer detector."
            )
