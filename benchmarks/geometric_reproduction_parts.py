"""Networks, data, cosine matrices and detectors for `geometric_reproduction.py`.

What nothing but the experiment needs lives here: the paper's network as far as its text
goes, gradients computed the naive way, and the ten statistics taken apart.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pyod.models.loda import LODA as OfPyOD  # noqa: N811
from sklearn.base import BaseEstimator
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn.functional import cross_entropy
from torchvision.datasets import MNIST

from skgrad import LODA, ClassConditionalGaussian, CosineSimilarityMatrixTransformer
from skgrad.attacks import pgd, rotate
from skgrad.datasets import (
    load_digits_images,
    make_gaussian_noise,
    make_photo_patches,
    make_uniform_noise,
)
from skgrad.detectors import ClassConditionalDetector, PyODDetector
from skgrad.torch_engine.input_gradients import cosine_statistics

EPS = 0.3


# Networks: the paper names four convolutions "with 32, 64, and 128 filters", linear
# layers with 100 and 10 units and ReLU; neither kernels nor strides nor pooling.
class Standardise(nn.Module):
    """Mean and standard deviation of MNIST, inside the network."""

    def forward(self, x):
        """Return the images standardised."""
        return (x - 0.1307) / 0.3081


def paper_layers(*, pooling="max", norm=False, activation=nn.ReLU, width=1.0):
    """Return the four convolutions of paper B and what may stand between them."""
    layers, n_in = [], 1
    for i, n in enumerate((32, 32, 64, 128)):
        n_out, pooled = int(n * width), i < 3
        stride = 2 if pooling == "stride" and i != 2 else 1
        layers.append(nn.Conv2d(n_in, n_out, 3, stride, padding=1))
        layers += [nn.BatchNorm2d(n_out)] * norm + [activation()]
        if pooled and pooling != "stride":
            layers.append(nn.MaxPool2d(2) if pooling == "max" else nn.AvgPool2d(2))
        n_in = n_out
    return layers


def make_network(side, kind="paper", *, dropout=0.0, standardised=False, **options):
    """Build a network for grey images of side x side pixels, 10 classes."""
    activation = options.get("activation", nn.ReLU)
    if kind == "paper":
        hidden, layers = [100], paper_layers(**options)
    elif kind == "LeNet":
        hidden, channels, layers = [120, 84], (1, 6, 16), []
        for n_in, n_out in pairwise(channels):
            conv = nn.Conv2d(n_in, n_out, 5, padding=2)
            layers += [conv, activation(), nn.MaxPool2d(2)]
    else:  # that of examples/mnist.py
        hidden, dropout, layers = [128], 0.5, []
        for n_in, n_out in ((1, 32), (32, 64)):
            conv = nn.Conv2d(n_in, n_out, 3, padding=1)
            layers += [conv, nn.BatchNorm2d(n_out), activation(), nn.MaxPool2d(2)]
    features = nn.Sequential(*layers, nn.Flatten()).eval()
    n_in = features(torch.zeros(1, 1, side, side)).shape[1]
    head = []
    for n_out in hidden:
        head += [nn.Linear(n_in, n_out), activation(), nn.Dropout(dropout)]
        n_in = n_out
    first = [Standardise()] * standardised
    return nn.Sequential(*first, *features, *head, nn.Linear(n_in, 10))


def shifted(x):
    """Move a batch of images by up to two pixels."""
    down, right = torch.randint(-2, 3, (2,)).tolist()
    return x.roll((down, right), (2, 3))


def train(
    net, X, y, *, epochs, seed, batch=64, adam=False, lr=None, decay=0.0, augment=None
):
    """Train by paper B's schedule: Nesterov momentum, a fifth at 30, 60, 80 %.

    Its rate of 0.1 and batches of 128 need more images than the reference takes.
    """
    torch.manual_seed(seed)
    net = net.to(memory_format=torch.channels_last)  # a third faster
    X, y = torch.from_numpy(X), torch.from_numpy(y)
    if adam:
        optimizer = torch.optim.Adam(net.parameters(), lr or 1e-3)
    else:
        optimizer = torch.optim.SGD(
            net.parameters(), lr or 0.05, 0.9, nesterov=True, weight_decay=decay
        )
    steps = epochs * -(-len(X) // batch)
    drops = [int(share * steps) for share in (0.3, 0.6, 0.8)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops, 0.2)
    net.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(X)).split(batch):
            x = X[rows] if augment is None else augment(X[rows])
            optimizer.zero_grad()
            cross_entropy(net(x), y[rows]).backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def load_by_order(net, path):
    """Load weights whose names differ, but not their order."""
    weights = torch.load(path, weights_only=True)
    names = net.state_dict()
    net.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    return net.eval()


@torch.no_grad()
def logits_of(net, X):
    """Return the logits as an array."""
    parts = torch.from_numpy(np.ascontiguousarray(X)).split(256)
    return torch.cat([net(part) for part in parts]).numpy()


# Data
@dataclass
class Source:
    """Images to train on, to fit on unseen, to judge; and images of other things."""

    train: tuple
    unseen: tuple
    judged: tuple
    others: dict


def read_images(folder, limit):
    """Read image files of any depth in a fixed random order, as grey 28 x 28."""
    paths = sorted(Path(folder).rglob("*.png"))
    order = np.random.default_rng(0).permutation(len(paths))[:limit]
    images = [Image.open(paths[i]).convert("L").resize((28, 28)) for i in order]
    return np.stack(images)[:, None].astype(np.float32) / 255


def load_mnist(folder, split):
    """Read MNIST: training images 54,000 on are "validation", none of them trained on.

    Other images too come in two halves, one for either split.
    """
    data = MNIST(folder, train=True)
    X, y = data.data.numpy()[:, None].astype(np.float32) / 255, data.targets.numpy()
    train, unseen, judged = slice(54_000), slice(54_000, 56_000), slice(56_000, None)
    half = slice(0, None, 2)
    parts = [(X[rows], y[rows]) for rows in (train, unseen, judged)]
    if split == "test":
        data, half = MNIST(folder, train=False), slice(1, None, 2)
        parts[2] = (
            data.data.numpy()[:, None].astype(np.float32) / 255,
            np.array(data.targets),
        )
    others = {"Fashion": read_images(Path(folder) / "fashion-mnist-900", 900)[half]}
    others["Omniglot"] = 1 - read_images(Path(folder) / "omniglot-small", 1000)[half]
    return Source(*parts, others)


def load_digits(split):
    """Return the digits that come with scikit-learn; little to conclude from."""
    data = load_digits_images()
    judged = (data.X_test, data.y_test)
    half = slice(0, None, 2) if split == "validation" else slice(1, None, 2)
    others = {"photographs": make_photo_patches(200, random_state=0)[half]}
    others["inverted"] = (1 - data.X_test)[half]
    train, unseen = (data.X_train, data.y_train), (data.X_fit, data.y_fit)
    return Source(train, unseen, judged, others)


def noises(n, shape, seed):
    """Return both kinds of noise of paper C; paper B's text on its Gaussian is unclear.

    See `anomaly_variants` in the other file for what else it may be.
    """
    return {
        "uniform": make_uniform_noise(n, shape, random_state=seed),
        "Gaussian": make_gaussian_noise(n, shape, random_state=seed),
    }


def anomalies(net, source, n, seed):
    """Return the anomalies by kind; of rotations and attacks those that succeed."""
    X, y = source.judged
    X, y = X[len(X) // 2 :], y[len(y) // 2 :]  # the first half is in-distribution
    right = logits_of(net, X).argmax(1) == y
    X, y = X[right], y[right]
    turned = rotate(net, X[: 8 * n], y[: 8 * n], angle=45, random_state=seed)
    attack = pgd(net, X[:n], y[:n], eps=EPS, random_state=seed)
    return {
        **{name: images[:n] for name, images in source.others.items()},
        **noises(n, X.shape[1:], seed),
        "rotation": turned.X_adv[turned.success][:n],
        "PGD": attack.X_adv[attack.success],
    }


# Cosine matrices
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
    "log odds besides": (with_confidence, loda),
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
