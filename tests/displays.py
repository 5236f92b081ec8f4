"""One example of every display, for the tests that are the same for all."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from networks import LeNet, images, seeded
from sklearn.pipeline import make_pipeline

from skgrad import (
    LODA,
    ClassConditionalGaussian,
    Energy,
    LayerActivationTransformer,
    MostDiscriminativeLayer,
    PerClassSVDD,
    inspection,
)

SHAPE = (1, 28, 28)
N_ID, N_ANOMALIES = 12, 5


class Labelled(torch.utils.data.Dataset):
    """Inputs, each with a label beside it."""

    def __init__(self, X):
        self.X = X

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i], 0


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


def cosine_similarity():
    options = {"titles": [f"input {i}" for i in range(7)]}

    def again(display):
        return (display.matrices,), {
            "inputs": display.inputs,
            "predicted": display.predicted,
            "titles": display.titles,
        }

    estimator = (seeded(LeNet), images(7, SHAPE))
    return Case("CosineSimilarityDisplay", (estimator, options), again, grid=True)


def loss_alignment():
    X, y = images(6, SHAPE), np.arange(6)
    options = {"sigmas": [0.1, 0.5], "n_injections": 8, "random_state": 0}

    def again(display):
        return (display.zeta, display.correct, display.sigmas), {}

    return Case("LossAlignmentDisplay", ((seeded(LeNet), X, y), options), again)


def loss_landscape():
    x, other = images(2, SHAPE)
    options = {"towards": other, "n_grid": 5, "random_state": 0}

    def again(display):
        data = (display.first, display.second, display.heights, display.classes)
        return data, {"target": display.target, "length": display.length}

    return Case("LossLandscapeDisplay", ((seeded(LeNet), x), options), again)


def layer_scores():
    choice = MostDiscriminativeLayer(seeded(LeNet), random_state=0)
    pipeline = make_pipeline(choice, PerClassSVDD(random_state=0))
    pipeline.fit(images(120, SHAPE) ** 4)

    def again(display):
        values = dict(zip(display.layers, display.values, strict=True))
        return (values, display.chosen), {"anomalies": display.anomalies}

    return Case("LayerScoreDisplay", ((pipeline,), {}), again)


def layer_weights():
    outputs = LayerActivationTransformer(seeded(LeNet), ["conv1", "logits"])
    detector = make_pipeline(outputs, PerClassSVDD(random_state=0))
    detector.fit(images(120, SHAPE) ** 4)
    kinds = np.where(np.arange(N_ID + N_ANOMALIES) % 2, "odd", "even")

    def again(display):
        scores = detector[1].block_scores(outputs.transform(inputs()))
        options = {"kinds": kinds, "used": display.used}
        return (labels(), scores, display.names), options

    args = (detector, inputs(), labels())
    return Case("LayerWeightDisplay", (args, {"kinds": kinds}), again)


def detector_heat_map():
    logits = LayerActivationTransformer(seeded(LeNet), "logits")
    detectors = {
        name: make_pipeline(logits, detector).fit(images(120, SHAPE) ** 4)
        for name, detector in (
            ("energy", Energy(random_state=0)),
            ("LODA", LODA(n_cuts=5, random_state=0)),
        )
    }
    X_id = images(N_ID, SHAPE) ** 4
    anomalies = {"bright": images(5, SHAPE, seed=1), "none": images(5, SHAPE)[:0]}

    def again(display):
        scores_id = {n: d.score_samples(X_id) for n, d in detectors.items()}
        scores_anomaly = {
            name: {"bright": detector.score_samples(anomalies["bright"]), "none": []}
            for name, detector in detectors.items()
        }
        return (scores_id, scores_anomaly), {}

    return Case("DetectorHeatMapDisplay", ((detectors, X_id, anomalies), {}), again)


def feature_map():
    logits = LayerActivationTransformer(seeded(LeNet), "logits").fit(inputs())
    kinds = np.array(["in-distribution"] * N_ID + ["noise"] * N_ANOMALIES)

    def again(display):
        options = {"method": display.method}
        return (logits.transform(inputs()), display.labels), options

    # UMAP would compile for 20 seconds.
    return Case(
        "FeatureMapDisplay", ((logits, inputs(), kinds), {"method": "pca"}), again
    )


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
    "CosineSimilarityDisplay": cosine_similarity,
    "LossAlignmentDisplay": loss_alignment,
    "LossLandscapeDisplay": loss_landscape,
    "DetectorHeatMapDisplay": detector_heat_map,
    "FeatureMapDisplay": feature_map,
    "LayerScoreDisplay": layer_scores,
    "LayerWeightDisplay": layer_weights,
    "ContributionDisplay": contribution,
    "NormProfileDisplay": norm_profile,
    "ScoreDistributionDisplay": score_distribution,
}
