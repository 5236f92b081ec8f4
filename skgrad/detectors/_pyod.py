"""scikit-learn wrapper for the detectors of PyOD."""

import numpy as np
from sklearn.base import clone

from .._messages import brief
from .._seeding import seed_estimator
from ._base import BaseNoveltyDetector
from ._independence import N_ALONE, check_scores_alone


class PyODDetector(BaseNoveltyDetector):
    """Any detector of PyOD, with scikit-learn's signs and a chosen false-alarm rate.

    The score is the negative of PyOD's, which is high for anomalies. The training data
    hold no anomalies, and the threshold comes from held-out samples.

    Parameters
    ----------
    detector : pyod.models.base.BaseDetector
        An unfitted detector. It is cloned; its ``contamination`` has no effect. Its
        score of an input must not depend on the other inputs of a call.
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    calibration_fraction : float, default=0.2
        Share of the training samples held out to place the threshold.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out samples and the seed of the detector if it has none.

    Attributes
    ----------
    detector_ : pyod.models.base.BaseDetector
        The fitted detector.
    calibration_scores_, offset_ : ndarray and float
        Scores of the held-out samples, and the threshold among them.
    n_features_in_, feature_names_in_ : int and ndarray of str
        Number of features, and their names if X was a data frame.

    Notes
    -----
    Some detectors, such as ECOD and COPOD, rank the inputs of a call among one another.
    No threshold can guarantee a rate then, and equal anomalies hide one another: `fit`
    scores some training rows alone and together, and raises if the scores differ.

    References
    ----------
    Zhao, Nasrullah, Li (2019), "PyOD: A Python Toolbox for Scalable Outlier
    Detection", JMLR 20.

    Examples
    --------
    >>> import numpy as np
    >>> from pyod.models.knn import KNN
    >>> from skgrad import PyODDetector
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> detector = PyODDetector(KNN(), random_state=0).fit(X)
    >>> detector.predict([[0.0, 0.0], [9.0, 9.0]]).tolist()
    [1, -1]
    """

    _parameter_constraints: dict = {
        **BaseNoveltyDetector._parameter_constraints,
        "detector": "no_validation",  # by _fit_scores, with a longer message
    }

    def __init__(
        self, detector, *, target_fpr=0.05, calibration_fraction=0.2, random_state=None
    ):
        self.detector = detector
        self.target_fpr = target_fpr
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state

    def _fit_scores(self, X, names, random_state):
        if not is_pyod(self.detector):
            raise TypeError(
                "detector must be an unfitted detector of PyOD; got "
                f"{brief(self.detector)}. For others use ConformalDetector."
            )
        self.detector_ = seed_estimator(clone(self.detector), random_state)
        self.detector_.fit(X)
        # As many as the training data, for ranks among both; 1,000 of them change such
        # ranks enough among a million.
        check_scores_alone(
            self._score_samples,
            X[:N_ALONE],
            type(self.detector).__name__,
            n_copies=min(len(X), 1000),
        )

    def _score_samples(self, X):
        # PyOD's scores are high for anomalies.
        anomaly_score = np.asarray(self.detector_.decision_function(X))
        return -anomaly_score.astype(np.float64).reshape(len(X))


def is_pyod(estimator):
    """Return True for a detector of PyOD, without importing PyOD."""
    return any(
        base.__name__ == "BaseDetector" and base.__module__.startswith("pyod.")
        for base in type(estimator).__mro__
    )
