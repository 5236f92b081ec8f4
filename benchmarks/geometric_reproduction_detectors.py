"""Cosine matrices, statistics and detectors for `geometric_reproduction.py`.

What nothing but the experiment needs lives here: gradients computed the naive way, and
the ten statistics taken apart.
"""

from dataclasses import dataclass

import numpy as np
import torch
from geometric_reproduction_networks import logits_of
from pyod.models.loda import LODA as OfPyOD  # noqa: N811
from sklearn.base import BaseEstimator
from sklearn.covariance import LedoitWolf
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import cross_entropy

from skgrad import LODA, ClassConditionalGaussian, CosineSimilarityMatrixTransformer
from skgrad.detectors import ClassConditionalDetector, PyODDetector
from skgrad.torch_engine.cosines import cosine_statistics


@dataclass
class Features:
    """What is known of some inputs."""

    matrices: np.ndarray
    logits: np.ndarray

    @property
    def predicted(self):
        """The predicted classes."""
        return self.logits.argmax(axis=1)

    @property
    def ten(self):
        """The ten statistics of paper B."""
        matrices = torch.from_numpy(self.matrices)
        return cosine_statistics(matrices, torch.from_numpy(self.predicted)).numpy()

    @property
    def upper(self):
        """The cosines of all pairs."""
        rows, columns = np.triu_indices(self.matrices.shape[1], 1)
        return self.matrices[:, rows, columns]

    def take(self, rows):
        """Return those of some inputs."""
        return Features(self.matrices[rows], self.logits[rows])


def naive_matrices(net, X, *, of="loss", sign=True, dtype=torch.float32):
    """Compute the matrices by one backward pass per class from the loss as it is.

    In float32 the gradient of a saturated softmax loses its digits. A map that is zero
    everywhere has the cosine 0 with all.
    """
    net = net.to(dtype)
    found = []
    for part in torch.from_numpy(X).to(dtype).split(128):
        leaf = part.clone().requires_grad_(True)
        logits, maps = net(leaf), []
        for label in range(logits.shape[1]):
            target = torch.full((len(part),), label)
            value = cross_entropy(logits, target)
            if of == "logit":
                value = logits[:, label].sum()
            (gradient,) = torch.autograd.grad(value, leaf, retain_graph=True)
            maps.append(gradient.sign() if sign else gradient)
        flat = torch.stack(maps, dim=1).flatten(2).double()
        lengths = flat.norm(dim=2, keepdim=True)
        flat = flat / torch.where(lengths == 0, 1, lengths)
        found.append((flat @ flat.transpose(1, 2)).numpy())
    net.float()
    return np.concatenate(found)


def features_of(net, X, *, naive=None, **options):
    """Compute the matrices by the library (float32, exact cotangents) or naively."""
    if naive is not None:
        matrices = naive_matrices(net, X, **naive)
    else:
        transformer = CosineSimilarityMatrixTransformer(net, output="matrix", **options)
        flat = transformer.fit_transform(X)
        n_classes = int(flat.shape[1] ** 0.5)
        matrices = flat.reshape(len(X), n_classes, n_classes).astype(float)
    return Features(matrices, logits_of(net, X))


# How the matrices are computed.
GRADIENTS = {
    "reference: signs, exact": {},
    "naive in float32": {"naive": {}},
    "gradients, not signs": {"sign": False},
    "of logits, not losses": {"naive": {"of": "logit"}},
    "authors' code: logits scaled to 10": {
        "logit_scale": 10.0,
        "channel_reduction": "max",
    },
}


# Detectors: (columns of the features, estimator). "Reference" is the library's recipe.
class Gaussian(BaseEstimator):
    """Mahalanobis distance with shrunk covariance."""

    def fit(self, X, y=None):
        """Estimate mean and covariance."""
        self.model_ = LedoitWolf().fit(X)
        return self

    def score_samples(self, X):
        """Return minus the squared distance."""
        return -self.model_.mahalanobis(X)


class Itself(BaseEstimator):
    """The one column itself is the score."""

    def fit(self, X, y=None):
        """Learn nothing."""
        return self

    def score_samples(self, X):
        """Return the column."""
        return X[:, 0]


def ten(features):
    """Return the ten statistics."""
    return features.ten


def with_logits(features):
    """Return the statistics, then the logits, which tell the predicted class."""
    return np.hstack([features.ten, features.logits])


def cosines_with_logits(features):
    """Return all cosines, then the logits."""
    return np.hstack([features.upper, features.logits])


def with_confidence(features):
    """Return the statistics and the log odds of the predicted class."""
    logits = features.logits.astype(float)
    others = logits.copy()
    np.put_along_axis(others, logits.argmax(1)[:, None], -np.inf, axis=1)
    odds = logits.max(axis=1) - np.logaddexp.reduce(others, axis=1)
    return np.column_stack([features.ten, odds])


def mean_not_sum(features):
    """Return the statistics with the mean square as energy."""
    n_classes = features.matrices.shape[1]
    pairs = np.array([(n_classes - 1) * (n_classes - 2) / 2, n_classes - 1])
    values = features.ten.copy()
    values[:, [4, 9]] /= pairs
    return values


def columns(*kept):
    """Return a function that keeps some of the ten statistics."""
    return lambda features: features.ten[:, list(kept)]


def loda(seed, n_bins=100, **options):
    """Return LODA on standardised features, as the recipe of the library has it."""
    return make_pipeline(
        StandardScaler(), LODA(n_bins=n_bins, random_state=seed, **options)
    )


def pyod_loda(seed, n_bins=100):
    """Return PyOD's LODA, whose cuts the global generator draws."""
    np.random.seed(seed)  # noqa: NPY002
    detector = PyODDetector(OfPyOD(n_random_cuts=100, n_bins=n_bins))
    return make_pipeline(StandardScaler(), detector)


def per_class_loda(seed, n_columns, n_bins="auto"):
    """Return one LODA per predicted class."""
    return ClassConditionalDetector(
        loda(seed, n_bins),
        blocks=[n_columns, -1],
        include_logits=False,
        scaling=None,
        random_state=seed,
    )


def per_class_gaussian(seed, n_columns):
    """Return one Gaussian per predicted class, half its covariance common to all."""
    return ClassConditionalGaussian(
        covariance=0.5,
        blocks=[n_columns, -1],
        include_logits=False,
        random_state=seed,
    )


def unscaled(seed):
    """Return LODA on the statistics as they are."""
    return make_pipeline(LODA(n_bins=100, random_state=seed))


def neighbours(seed):
    """Return the local outlier factor of standardised features."""
    return make_pipeline(StandardScaler(), LocalOutlierFactor(novelty=True))


DETECTORS = {
    "reference: LODA, 100 bins, 100 cuts": (ten, loda),
    "10 bins": (ten, lambda seed: loda(seed, 10)),
    "500 bins": (ten, lambda seed: loda(seed, 500)),
    "bins found by likelihood": (ten, lambda seed: loda(seed, "auto")),
    "1,000 cuts": (ten, lambda seed: loda(seed, n_cuts=1000)),
    "features not standardised": (ten, unscaled),
    "the same, energy as mean": (mean_not_sum, unscaled),
    "PyOD's LODA, 100 bins": (ten, pyod_loda),
    "PyOD's LODA, 500 bins": (ten, lambda seed: pyod_loda(seed, 500)),
    "mean of S1, the lower the worse": (columns(0), lambda seed: Itself()),
    "mean of S1, LODA": (columns(0), lambda seed: loda(seed, "auto")),
    "mean of S2, the higher the worse": (
        lambda features: -features.ten[:, 5:6],
        lambda seed: Itself(),
    ),
    "S1 alone": (columns(0, 1, 2, 3, 4), loda),
    "S2 alone": (columns(5, 6, 7, 8, 9), loda),
    "without energies": (columns(0, 1, 2, 3, 5, 6, 7, 8), loda),
    "log odds added": (with_confidence, loda),
    "Gaussian": (ten, lambda seed: Gaussian()),
    "local outlier factor": (ten, neighbours),
    "LODA per class": (with_logits, lambda seed: per_class_loda(seed, 10)),
    "Gaussian per class": (with_logits, lambda seed: per_class_gaussian(seed, 10)),
    "all cosines, LODA": (lambda features: features.upper, loda),
    "all cosines, Gaussian per class": (
        cosines_with_logits,
        lambda seed: per_class_gaussian(seed, 45),
    ),
}
REFERENCE = "reference: LODA, 100 bins, 100 cuts"


def supervised():
    """Return classifiers that know the anomalies: what the features could tell."""
    boosting = HistGradientBoostingClassifier(max_iter=50, random_state=0)
    return {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
        "gradient boosting": boosting,
    }
