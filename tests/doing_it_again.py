"""Everything random of the library, done once, as arrays by name.

As a script it does so in 1 and in 2 threads, and writes them to two files, so that
processes can be compared::

    python doing_it_again.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import torch
from doors import DOORS
from networks import BatchNormNet, images, seeded
from novelty_detectors import MAKERS, draw
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits
from torch import nn

from skgrad import (
    MLPAnomalyClassifier,
    NoveltyKFold,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_uniform_detector,
)
from skgrad.datasets import make_gaussian_noise, make_uniform_noise
from skgrad.evaluation import train_network

X = images(24, (2, 6, 6)).astype(np.float64)
Y = np.arange(24) % 3


def detectors(random_state=0):
    """Score by every detector over features, as they come from three classes."""
    rows, new = draw(120), draw(8, seed=1)
    made = {}
    for name, make in MAKERS.items():
        detector = make(random_state=random_state, target_fpr=0.1)
        made[f"detector: {name}"] = detector.fit(rows).score_samples(new)
    classifier = MLPAnomalyClassifier(max_epochs=3, random_state=random_state)
    labels = np.repeat([1, -1], 60)
    found = classifier.fit(rows + 3 * (labels[:, None] < 0), labels)
    made["detector: MLP"] = found.predict_proba(new)
    return made


def recipes(model):
    """Fit and score the pipelines."""
    made = {}
    scored = {
        "paper B": make_geometric_gradient_detector(
            model, target_fpr=0.2, random_state=0
        ),
        "paper C": make_uniform_detector(model, None, target_fpr=0.2, random_state=0),
    }
    for name, pipeline in scored.items():
        made[f"recipe: {name}"] = pipeline.fit(X).score_samples(X)
    taught: Pipeline = make_confounding_gradient_detector(model, random_state=0)
    labels = np.where(np.arange(24) < 12, 1, -1)
    taught.fit(np.where(labels[:, None, None, None] < 0, 1 - X, X), labels)
    made["recipe: paper A"] = taught.predict_proba(X)
    return made


def network():
    """Make a network to train, with dropout."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(72, 5), nn.Dropout(0.3), nn.Linear(5, 3)
    )


def training(random_state=0):
    """Train a network."""
    net = train_network(network, X, Y, max_epochs=2, random_state=random_state)
    weights = [p.detach().flatten() for p in net.module_.parameters()]
    return {"train_network": torch.cat(weights).numpy()}


def sets_and_splits():
    """Draw noise, folds and bootstrap samples."""
    y = np.repeat([1, -1], [20, 10])
    folds = NoveltyKFold(3, shuffle=True, random_state=0).split(y[:, None], y)
    return {
        "Gaussian noise": make_gaussian_noise(3, (2, 2), random_state=0),
        "uniform noise": make_uniform_noise(3, (2, 2), random_state=0),
        "folds": np.concatenate([test for _, test in folds]),
    }


def everything(n_threads=1):
    """Do it all."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with threadpool_limits(n_threads):
            return _everything()
    finally:
        torch.set_num_threads(before)


def _everything():
    model = seeded(BatchNormNet, dtype=torch.float64)
    made = {f"door: {name}": door(model, X) for name, door in DOORS.items()}
    return made | recipes(model) | detectors() | training() | sets_and_splits()


if __name__ == "__main__":
    for n_threads in (1, 2):
        np.savez(Path(sys.argv[1]) / f"{n_threads}.npz", **everything(n_threads))
