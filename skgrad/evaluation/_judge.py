"""Fitting the detectors and judging them, each under its paper's protocol."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from ..datasets import load_digits_images
from ..detectors import (
    MaxSoftmaxProbability,
    conformal_threshold,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from ..feature_extraction import LayerActivationTransformer
from ..metrics import (
    aupr_in,
    aupr_out,
    auroc,
    detection_accuracy,
    in_distribution_scores,
    tnr_at_tpr,
)
from ._digits import make_anomalies, train_digits_network

BASELINE = "max softmax"
SUPERVISED = "A: MLP"
GEOMETRIC = "B: LODA"


@dataclass(frozen=True)
class Result:
    """What one detector makes of one kind of anomaly.

    Parameters
    ----------
    detector, anomaly : str
        Their names.
    scores_id, scores_anomaly : ndarray of shape (n_samples,)
        Scores of in-distribution test inputs and of anomalies, higher = more
        in-distribution.
    offset : float
        The detector's threshold: lower scores are rejected.
    """

    detector: str
    anomaly: str
    scores_id: np.ndarray
    scores_anomaly: np.ndarray
    offset: float

    @property
    def realised_fpr(self):
        """Share of the in-distribution test inputs that are rejected."""
        return float(np.mean(self.scores_id < self.offset))

    @cached_property
    def metrics(self):
        """All metrics by name, as fractions."""
        scores = np.concatenate([self.scores_id, self.scores_anomaly])
        y = np.repeat([1, -1], [len(self.scores_id), len(self.scores_anomaly)])
        return {
            "auroc": auroc(y, scores),
            "tnr_at_95tpr": tnr_at_tpr(y, scores, tpr=0.95),
            "aupr_in": aupr_in(y, scores),
            "aupr_out": aupr_out(y, scores),
            "detection_accuracy": detection_accuracy(y, scores),
            "rejected_anomalies": float(np.mean(self.scores_anomaly < self.offset)),
        }


def judge_digits(*, target_fpr=0.05, random_state=0, device="cpu", on_step=None):
    """Train a network on the digits and judge the detectors around it.

    The network is trained on one half of the digits. The baseline and papers B and C
    and the combination are fitted on a quarter that the network never saw, paper B on
    what of it is classified correctly. All are judged on the last quarter against
    every kind of anomaly. Paper A's detector is supervised: for each kind of anomaly
    the test digits and the anomalies are split 40/40/20 into training, validation and
    test, so it is judged on a fifth of what the others are.

    Parameters
    ----------
    target_fpr : float, default=0.05
        Share of in-distribution inputs that may be rejected.
    random_state : int, default=0
        Seeds everything.
    device : str, default="cpu"
        Where the network computes.
    on_step : callable, default=None
        Called with a line that tells what is done next.

    Returns
    -------
    results : list of Result
        One per detector and kind of anomaly, in the order of the table.
    accuracy : float
        Share of the test digits that the network classifies correctly.
    """
    step = on_step or (lambda line: None)
    digits = load_digits_images()
    step("training the network on 898 digits")
    net = train_digits_network(
        digits.X_train, digits.y_train, random_state=random_state, device=device
    )
    accuracy = float(np.mean(net.predict(digits.X_test) == digits.y_test))
    step("making anomalies")
    anomalies = make_anomalies(
        net, digits.X_test, digits.y_test, random_state=random_state
    )
    right = net.predict(digits.X_fit) == digits.y_fit
    results = []
    for name, detector in _novelty_detectors(net, target_fpr, random_state).items():
        step(f"fitting and judging {name}")
        detector.fit(digits.X_fit[right] if name == GEOMETRIC else digits.X_fit)
        results += _judge_novelty(name, detector, digits.X_test, anomalies)
    step(f"fitting and judging {SUPERVISED}")
    detector = make_confounding_gradient_detector(net, random_state=random_state)
    supervised = _judge_supervised(
        detector, digits.X_test, anomalies, target_fpr, random_state
    )
    # The baseline first, then by name; the kinds of anomaly stay in order.
    results = sorted(
        results + supervised, key=lambda r: (r.detector != BASELINE, r.detector)
    )
    return results, accuracy


def _novelty_detectors(net, target_fpr, random_state):
    """Build the detectors that are fitted on in-distribution data alone."""
    common = {"target_fpr": target_fpr, "random_state": random_state}
    return {
        BASELINE: make_pipeline(
            LayerActivationTransformer(net, "logits"), MaxSoftmaxProbability(**common)
        ),
        GEOMETRIC: make_geometric_gradient_detector(net, **common),
        "C: SVDD": make_uniform_detector(net, "conv1", **common),
        "combined": make_recommended_detector(net, **common),
    }


def _judge_novelty(name, detector, X_test, anomalies):
    scores = detector.score_samples(X_test)
    offset = detector[-1].offset_
    return [
        Result(name, kind, scores, detector.score_samples(X), offset)
        for kind, X in anomalies.items()
    ]


def _judge_supervised(detector, X_test, anomalies, target_fpr, random_state):
    """Follow paper A's protocol, one kind of anomaly at a time."""
    transformer, classifier = detector
    features_id = transformer.fit_transform(X_test)
    results = []
    for kind, X in anomalies.items():
        features = np.concatenate([features_id, transformer.transform(X)])
        y = np.repeat([0, 1], [len(features_id), len(X)])
        # A fifth is the test; the MLP halves the rest into training and validation.
        fit, test, y_fit, y_test = train_test_split(
            features, y, test_size=0.2, stratify=y, random_state=random_state
        )
        classifier = clone(classifier).fit(fit, y_fit)
        # Of the validation rows only the epoch was chosen: their digits place the
        # threshold, nearly as fresh ones would.
        held_out = classifier.validation_indices_
        held_out = held_out[y_fit[held_out] == 0]
        offset = conformal_threshold(
            in_distribution_scores(classifier, fit[held_out]), target_fpr
        )
        scores = in_distribution_scores(classifier, test)
        results.append(
            Result(SUPERVISED, kind, scores[y_test == 0], scores[y_test == 1], offset)
        )
    return results
