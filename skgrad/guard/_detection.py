"""What a guard has of the detector in it: scores, p-values and thresholds."""

import copy
from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._conversion import to_numpy
from .._messages import brief
from .._several import Several
from ..detectors._conformal import select_by_fdr
from ..torch_engine.samples import read_inputs


class DetectionMixin:
    """Methods of an estimator that holds a fitted pipeline as ``detector_``.

    Its parameter ``target_fpr`` places the threshold.
    """

    detector_: Any
    target_fpr: float
    _saved: Any

    @property
    def n_features_in_(self):
        return self.detector_[0].n_features_in_

    @property
    def feature_names_in_(self):
        return self.detector_[0].feature_names_in_

    @property
    def calibration_scores_(self):
        return self.detector_[-1].calibration_scores_

    def check_inputs(self, X):
        """Return inputs as the network takes them, without asking it.

        For services that gather requests: one that is wrong is found before it joins
        those of others.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            The inputs, as in `fit`. A single one x is ``[x]``.

        Returns
        -------
        ndarray of shape (n_samples, *input_shape), or dict of such
            Their values in the type of the network.

        Raises
        ------
        ValueError, TypeError
            If the inputs have another shape or kind than those of `fit`, or hold NaN
            or infinity.
        """
        check_is_fitted(self, "detector_")
        first = self.detector_[0]
        X = first._check_inputs(X, reset=False)
        raw = read_inputs(X, "X", num_workers=first.num_workers)
        x = first._as_taken(raw, device="cpu")
        if isinstance(x, Several):
            return {key: to_numpy(entry) for key, entry in x.entries.items()}
        return to_numpy(x)

    def score_samples(self, X):
        """Score inputs by the detector: the lower, the more anomalous.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            The inputs, as in `fit`.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            The scores.
        """
        return self._of_last("score_samples", X)

    def decision_function(self, X):
        """Score inputs relative to the threshold of trust: negative means reject.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            The inputs, as in `fit`.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            Scores less the threshold.
        """
        return self._of_last("decision_function", X)

    def p_values(self, X):
        """Return conformal p-values: how likely is a score as low, in-distribution.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            The inputs, as in `fit`.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            P-values in (0, 1]: the lower, the more anomalous.
        """
        return self._of_last("p_values", X)

    def select_anomalies(self, X, fdr=0.1):
        """Select anomalies from a batch by their p-values (Benjamini-Hochberg).

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            A batch of inputs, as in `fit`.
        fdr : float, default=0.1
            Bound on the expected share of in-distribution inputs among the selected.

        Returns
        -------
        ndarray of bool of shape (n_samples,)
            True for the selected inputs.
        """
        return select_by_fdr(self.p_values(X), fdr)

    def set_threshold(self, *, target_fpr=None, score=None):
        """Place the threshold again, without a new fit: by one of both arguments.

        Parameters
        ----------
        target_fpr : float, default=None
            Share of in-distribution inputs that may be rejected; the parameter is set
            to it.
        score : float, default=None
            The lowest score to trust, of all classes, such as the ``threshold`` of
            :func:`risk_threshold`. The parameter ``target_fpr`` then says nothing until
            the next `fit`, `recalibrate` or rate given here.

        Returns
        -------
        self : object
            The guard. Its p-values stay as they are, but for classes that have a
            threshold of their own at one rate and too few held-out samples at another.
        """
        check_is_fitted(self, "detector_")
        if (target_fpr is None) == (score is None):
            raise ValueError(
                "set_threshold must get either target_fpr, a rate, or score, the "
                f"lowest to trust; got target_fpr={target_fpr!r} and score={score!r}."
            )
        last = copy.copy(self.detector_[-1])
        if score is None:
            scores = last.calibration_scores_, last._calibration_classes
            return self._decide_by(last, scores, target_fpr)
        if not isinstance(score, Real) or np.isnan(float(score)):
            raise ValueError(f"score must be a number; got {brief(score)}.")
        last.offset_ = float(score)
        # Classes that have a threshold keep the p-values among themselves.
        if last.class_offsets_ is not None:
            last.class_offsets_ = dict.fromkeys(last.class_offsets_, last.offset_)
        return self._exchange(last)

    def recalibrate(self, X):
        """Place threshold and p-values by other inputs; the features stay as they are.

        Parameters
        ----------
        X : array-like of shape (n_samples, *input_shape), Tensor, Dataset or DataLoader
            In-distribution inputs of today, none of those that `fit` has seen.

        Returns
        -------
        self : object
            The guard.
        """
        check_is_fitted(self, "detector_")
        detector = self.detector_
        features = before_last(detector, detector[0].transform(X))
        scores = detector[-1]._score_and_predict(features)
        return self._decide_by(copy.copy(detector[-1]), scores, self.target_fpr)

    # In copies, so that an error and calls in other threads find a whole detector.

    def _decide_by(self, last, scores, target_fpr):
        """Place the thresholds of a copy of the last step by scores, and take it."""
        if not (isinstance(target_fpr, Real) and 0 < float(target_fpr) < 1):
            raise ValueError(
                f"target_fpr must be a number between 0 and 1; got {brief(target_fpr)}."
            )
        target_fpr = float(target_fpr)
        last.set_params(target_fpr=target_fpr)._calibrate(*scores)
        self.target_fpr = target_fpr
        return self._exchange(last)

    def _exchange(self, last):
        detector = copy.copy(self.detector_)
        *others, (name, _) = detector.steps
        detector.steps = [*others, (name, last)]
        self.detector_ = detector
        self._saved = None  # it is no longer what a file holds
        return self

    def _of_last(self, method, X):
        """Return what a method of the last step says."""
        check_is_fitted(self, "detector_")
        detector = self.detector_
        features = before_last(detector, detector[0].transform(X))
        return getattr(detector[-1], method)(features)


def before_last(detector, features):
    """Return the features of the first step as the last one receives them."""
    return detector[1:-1].transform(features) if len(detector) > 2 else features
