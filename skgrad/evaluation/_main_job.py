"""Fitting the detectors and judging them, each under its paper's protocol."""

import numpy as np
from sklearn.pipeline import make_pipeline

from ..datasets import load_digits_images
from ..detectors import (
    ConformalDetector,
    MaxSoftmaxProbability,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from ..feature_extraction import LayerActivationTransformer
from ._digits import make_anomalies, train_digits_network
from ._evaluate import evaluate

BASELINE = "max softmax"


def judge_digits(*, target_fpr=0.05, random_state=0, device="cpu", on_step=None):
    """Train a network on the digits and judge the detectors around it.

    The network is trained on one half of the digits. The baseline and papers B and C
    and the combination are fitted on a quarter that the network never saw, paper B on
    what of it is classified correctly. All are judged on the last quarter against
    every kind of anomaly. Paper A's detector is supervised: for each kind of anomaly
    the test digits and the anomalies are split 40/40/20 into training, validation and
    test, an attacked digit on the side of the one it was made from, so it is judged on
    a fifth of what the others are.

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
    results = []
    for protocol, detectors in _by_protocol(net, target_fpr, random_state).items():
        results += evaluate(
            net,
            detectors,
            digits.X_test,
            anomalies,
            X_fit=digits.X_fit,
            y_fit=digits.y_fit,
            protocol=protocol,
            seeds=[random_state],
            on_step=step,
        ).results
    # The baseline first, then by name; the kinds of anomaly stay in order.
    results.sort(key=lambda r: (r.detector != BASELINE, r.detector))
    return results, accuracy


def _by_protocol(net, target_fpr, random_state):
    """Build the detectors, each under its paper's protocol."""
    common = {"target_fpr": target_fpr, "random_state": random_state}
    logits = LayerActivationTransformer(net, "logits")
    mlp = make_confounding_gradient_detector(net)
    return {
        "C": {
            BASELINE: make_pipeline(logits, MaxSoftmaxProbability(**common)),
            "C: SVDD": make_uniform_detector(net, "conv1", **common),
            "combined": make_recommended_detector(net, **common),
        },
        "B": {"B: LODA": make_geometric_gradient_detector(net, **common)},
        # Around the classifier, for a threshold that keeps the promised rate.
        "A": {"A: MLP": ConformalDetector(mlp, **common)},
    }
