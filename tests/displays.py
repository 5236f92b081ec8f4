"""One example of every display, for the tests that are the same for all."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from networks import LeNet, images, seeded
from sklearn.pipeline import make_pipeline

from skgrad import (
    ClassConditionalGaussian,
    Energy,
    LayerActivationTransformer,
    inspection,
)

SHAPE = (1, 28, 28)
N_ID, N_ANOMALIES = 12, 5


@dataclass
class Case:
    """How to make a display both ways."""

    name: str
    # Positional and keyword arguments.
    from_estimator: tuple[tuple, dict]
    # A function of the display from the estimator, whose plain data it takes again.
    from_predictions: Any
    # Whether it draws into a grid of its own axes (``axes_``) or into one (``ax_``).
    grid: bool = False

    @property
    def display(self):
        return getattr(inspection, self.name)


def inputs():
    return np.concatenate(
        [images(N_ID, SHAPE) ** 4, images(N_ANOMALIES, SHAPE, seed=1)]
    )


def labels():
    return np.repeat([1, -1], [N_ID, N_ANOMALIES])


def score_distribution():
    logits = LayerActivationTransformer(seeded(LeNet), "logits")
    detector = make_pipeline(logits, Energy(random_state=0)).fit(
        images(120, SHAPE) ** 4
    )

    def again(display):
        scores = np.concatenate([display.in_distribution, display.anomaly])
        options = {"threshold": display.threshold, "name": display.name}
        return (labels(), scores), options

    return Case("ScoreDistributionDisplay", ((detector, inputs(), labels()), {}), again)


def contribution():
    layers = LayerActivationTransformer(seeded(LeNet), ["conv1", "conv2", "logits"])
    detector = make_pipeline(
        layers, ClassConditionalGaussian(covariance=0.5, random_state=0)
    ).fit(images(120, SHAPE) ** 4)
    args = detector, images(1, SHAPE, seed=1)[0], images(30, SHAPE, seed=2) ** 4
    options = {"groups": "feature", "top_n": 4, "n_permutations": 3, "n_usual": 5}

    def again(display):
        kept = ("usual", "alarm_at", "top_n", "name")
        kept = {name: getattr(display, name) for name in kept}
        return (display.contributions, display.names), kept

    case = (args, {**options, "random_state": 0})
    return Case("ContributionDisplay", case, again)


def norm_profile():
    args = seeded(LeNet), images(2, SHAPE, seed=1), images(12, SHAPE) ** 4

    def again(display):
        options = {"quantity": display.quantity, "labels": display.labels}
        data = display.norms, display.norms_id, display.names
        return data, {**options, "name": display.name}

    options = {"labels": ["one", "two"], "name": "LeNet"}
    return Case("NormProfileDisplay", (args, options), again)


MAKERS = {
    "ContributionDisplay": contribution,
    "NormProfileDisplay": norm_profile,
    "ScoreDistributionDisplay": score_distribution,
}
