"""Write the files that later versions have to read, with their inputs and scores.

Run once per version whose format differs, from the root of the repository::

    PYTHONPATH=.:tests python tests/persistence/make_files.py

Files that are there already are kept: they are those of the version that wrote them.
"""

from pathlib import Path

import numpy as np
import torch
from pyod.models.knn import KNN
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from torch import nn

import skgrad
from skgrad.baselines import LID, GradNorm, Mahalanobis, PyTorchOODDetector

DATA = Path(__file__).parent / "data"


class Net(nn.Module):
    """A network whose weights are the same in every version of torch."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 5, dtype=torch.float64)
        self.bend = nn.Tanh()
        self.last = nn.Linear(5, 3, dtype=torch.float64)
        with torch.no_grad():
            for parameter in self.parameters():
                n = torch.arange(parameter.numel(), dtype=torch.float64)
                parameter.copy_(((n * 7 % 11 - 5) / 8).reshape(parameter.shape))

    def forward(self, x):
        return self.last(self.bend(self.first(x)))


def detectors(model):
    """Return a detector of each kind by the name of its file."""
    same = {"target_fpr": 0.2, "random_state": 0}
    forest = IsolationForest(n_estimators=3, max_samples=32, random_state=0)
    layers = skgrad.LayerActivationTransformer(model, ["first", "logits"])
    return {
        "recommended": skgrad.make_recommended_detector(model, **same),
        "uniform": skgrad.make_uniform_detector(model, "first", **same),
        # Signs take so few values that some lie on the edges of bins.
        "geometric": skgrad.make_geometric_gradient_detector(
            model, sign=False, **same
        ).set_params(detect__n_cuts=10),
        "confounding": skgrad.make_confounding_gradient_detector(model, random_state=0),
        "isolation_forest": make_pipeline(
            layers, skgrad.ConformalDetector(forest, **same)
        ),
        "pyod": make_pipeline(layers, skgrad.PyODDetector(KNN(), **same)),
        "gradnorm": GradNorm(model, **same),
        "mahalanobis": Mahalanobis(model, layers=["first", "logits"], **same),
        "lid": LID(model, **same),
        "pytorch_ood": PyTorchOODDetector(model, "MaxLogit", **same),
    }


def scores(detector, X):
    """Return what a detector says: anomaly probabilities of a classifier, or scores."""
    if hasattr(detector, "score_samples"):
        return detector.score_samples(X)
    return detector.predict_proba(X)[:, 1]


def main():
    """Write what is not there yet."""
    DATA.mkdir(exist_ok=True)
    X = np.random.default_rng(0).normal(size=(60 + 20, 4))
    if not (DATA / "X.npy").exists():
        np.save(DATA / "X.npy", X)
    X = np.load(DATA / "X.npy")
    for name, detector in detectors(Net()).items():
        path = DATA / f"{name}-{skgrad.__version__}.skgrad"
        if not path.exists():
            detector.fit(X[:60], (X[:60, 0] > 0).astype(int))
            skgrad.save(detector, path)
            np.save(path.with_suffix(".npy"), scores(detector, X[60:]))


if __name__ == "__main__":
    main()
