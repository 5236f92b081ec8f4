"""One example of every display, for the tests that are the same for all."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from networks import LeNet, images, seeded
from sklearn.pipeline import make_pipeline

from skgrad import Energy, LayerActivationTransformer, inspection

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


MAKERS = {"ScoreDistributionDisplay": score_distribution}
