"""The score of any detector as a function of its features, and its gradient."""

import numpy as np
from sklearn.base import is_classifier, is_outlier_detector
from sklearn.utils.validation import check_is_fitted

from .._messages import brief
from ..detectors._scores import in_distribution_scores
from ..feature_extraction._feature_array import in_container_of

# Most numbers in the features that are scored together: 32 MB.
_MAX_VALUES = 2**22


class DetectorScore:
    """The score of the steps that follow the features in a fitted pipeline."""

    def __init__(self, steps):
        check_is_fitted(steps)
        if not is_outlier_detector(steps) and not is_classifier(steps):
            raise TypeError(
                "detector must end in an outlier detector or a binary classifier of "
                f"anomalies; got a pipeline that ends in {brief(steps[-1])}."
            )
        self._steps = steps
        # Some features as the first step returns them: with their names, if any.
        self.template = None

    def __call__(self, features):
        """Score features, a float64 array (n_samples, n_features); higher = trusted."""
        features = in_container_of(self.template, features)
        scores = in_distribution_scores(self._steps, features)
        return np.asarray(scores, dtype=np.float64)

    def gradient(self, features, widths):
        """Estimate the derivative of the score by each feature, both (n, n_features).

        By differences of the scores ``widths`` to either side, because the detector may
        be anything. It is 0 where the width is 0 or the difference is not finite.
        """
        gradient = np.zeros_like(features)
        samples, columns = np.nonzero(widths)
        step = max(1, _MAX_VALUES // (2 * features.shape[1]))
        for start in range(0, len(samples), step):
            part = slice(start, start + step)
            place = (samples[part], columns[part])
            gradient[place] = self._differences(features, widths[place], *place)
        return np.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)

    def _differences(self, features, widths, samples, columns):
        rows = np.arange(len(samples))
        above, below = features[samples], features[samples]
        above[rows, columns] += widths
        below[rows, columns] -= widths
        high, low = np.split(self(np.concatenate([above, below])), 2)
        with np.errstate(invalid="ignore"):  # of two infinite scores
            return (high - low) / (2 * widths)
