"""How the score of any detector changes with its features."""

import numpy as np
from sklearn.base import is_classifier, is_outlier_detector
from sklearn.utils.validation import check_is_fitted

from .._messages import brief
from ..detectors._scores import anomaly_index, in_distribution_scores
from ..feature_extraction import FeatureArray

# Most numbers in the features that are scored together: 32 MB.
_TOGETHER = 2**22


class DetectorScore:
    """The score of a detector as a function of features, and its slopes.

    Parameters
    ----------
    steps : Pipeline
        What follows the features in the pipeline, fitted.
    """

    def __init__(self, steps):
        _check_scores(steps)
        self._steps = steps
        self._wrap = _wrapper(None)

    def take_form_of(self, template):
        """Give features to the detector as its first step does.

        Parameters
        ----------
        template : FeatureArray, data frame or ndarray of shape (n_samples, n_features)
            Some of them, with their names or without.
        """
        self._wrap = _wrapper(template)

    def __call__(self, features):
        """Score features, a float64 array (n_samples, n_features); higher = trusted."""
        scores = in_distribution_scores(self._steps, self._wrap(features))
        return np.asarray(scores, dtype=np.float64)

    def slopes(self, features, widths):
        """Estimate the derivative of the score by each feature.

        Central differences, because a detector may be anything: two scores for each
        feature of each sample.

        Parameters
        ----------
        features : ndarray of float64 of shape (n_samples, n_features)
            Where.
        widths : ndarray of shape (n_samples, n_features)
            How far to either side. A feature of width 0 gets the slope 0.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The slopes; 0 where they are not finite.
        """
        slopes = np.zeros_like(features)
        samples, columns = np.nonzero(widths)
        step = max(1, _TOGETHER // (2 * features.shape[1]))
        for start in range(0, len(samples), step):
            which = slice(start, start + step)
            place = (samples[which], columns[which])
            slopes[place] = self._differences(features, widths[place], *place)
        return np.nan_to_num(slopes, nan=0.0, posinf=0.0, neginf=0.0)

    def _differences(self, features, widths, samples, columns):
        rows = np.arange(len(samples))
        above, below = features[samples], features[samples]
        above[rows, columns] += widths
        below[rows, columns] -= widths
        high, low = np.split(self(np.concatenate([above, below])), 2)
        with np.errstate(invalid="ignore"):  # of two infinite scores
            return (high - low) / (2 * widths)


def _check_scores(steps):
    """Refuse what has no score, before any time is spent."""
    check_is_fitted(steps)
    methods = []
    if is_classifier(steps):
        anomaly_index(steps.classes_, None)
        methods = ["predict_proba", "decision_function"]
    elif is_outlier_detector(steps):
        methods = ["score_samples", "decision_function"]
    if not any(hasattr(steps, method) for method in methods):
        raise TypeError(
            "detector must score inputs, as outlier detectors with score_samples or "
            "decision_function do, and binary classifiers with predict_proba or "
            f"decision_function; got a pipeline that ends in {brief(steps[-1])}."
        )


def _wrapper(template):
    """Return the function that gives an array the form of the template."""
    names = getattr(template, "feature_names", None)
    if names is not None:
        return lambda features: FeatureArray(features, names)
    if hasattr(template, "columns"):
        make, columns = type(template), list(template.columns)
        return lambda features: make(dict(zip(columns, features.T, strict=True)))
    return lambda features: features
