"""The demo, ``python -m skgrad``: its network, its anomalies, its detectors."""

from functools import partial
from numbers import Integral

import numpy as np
import torch
from sklearn.pipeline import make_pipeline
from sklearn.utils import check_random_state
from torch import nn
from tqdm import tqdm

from .._labels import check_classes
from .._optional import import_package
from ..attacks import fgsm, pgd
from ..datasets import (
    load_digits_images,
    make_gaussian_noise,
    make_photo_patches,
    make_uniform_noise,
)
from ..detectors import (
    ConformalDetector,
    MaxSoftmaxProbability,
    make_confounding_gradient_detector,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from ..feature_extraction import LayerActivationTransformer
from ..torch_engine.model_state import check_device
from ..torch_engine.samples import read_array
from ..torch_engine.training import fit_net, seeded_training
from ._anomaly_set import AnomalySet
from ._evaluate import evaluate


class DigitsNetwork(nn.Module):
    """Two convolutions and two linear layers for images of 8 x 8 pixels."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 4 * 4, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        """Return the logits (n_samples, 10) of images (n_samples, 1, 8, 8)."""
        x = torch.relu(self.conv1(x))
        x = nn.functional.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


def train_digits_network(X, y, *, device=None, random_state=None):
    """Train a small convolutional network on the digits.

    Parameters
    ----------
    X : array-like of shape (n_samples, 1, 8, 8)
        Images in [0, 1], such as those of `skgrad.datasets.load_digits_images`.
    y : array-like of int of shape (n_samples,)
        Their classes, 0 to 9.
    device : str or torch.device, default=None
        Where to train; None is the CPU.
    random_state : int, RandomState instance or None, default=None
        Seeds the weights and the order of the samples.

    Returns
    -------
    skorch.NeuralNetClassifier
        The fitted net; its ``module_`` returns logits.

    Examples
    --------
    >>> from skgrad.datasets import load_digits_images
    >>> from skgrad.evaluation import train_digits_network
    >>> digits = load_digits_images()
    >>> X, y = digits.X_train[:300], digits.y_train[:300]
    >>> net = train_digits_network(X, y, random_state=0)
    >>> bool(net.score(digits.X_test, digits.y_test) > 0.85)
    True
    """
    skorch = import_package("skorch", "Training needs")
    X = read_array(X, "X").astype(np.float32)
    y = check_classes(y, len(X), "y", n_classes=10)
    device = check_device("cpu" if device is None else device)
    # An int is the seed itself: the figures of the documentation rest on it.
    seed = random_state
    if not isinstance(seed, Integral):
        seed = check_random_state(seed).randint(2**31 - 1)
    with seeded_training(int(seed), device):
        net = skorch.NeuralNetClassifier(
            DigitsNetwork,
            criterion=nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            lr=1e-3,
            batch_size=32,
            max_epochs=30,
            train_split=None,
            iterator_train__shuffle=True,
            device=device,
            verbose=0,
        )
        return fit_net(net, X, y)


def run_demo(*, target_fpr=0.05, random_state=0, device=None, verbose=False):
    """Train a network on the digits and evaluate the detectors around it.

    The network is trained on one half of the digits. The baseline, papers B and C and
    the combination are fitted on a quarter that the network never saw, paper B on what
    of it is classified correctly. All are tested on the last quarter. Paper A's
    detector is supervised: for each kind of anomaly the test digits and the anomalies
    are split 40/40/20 into training, validation and test, an attacked digit beside its
    source.

    Returns the results, in the order of the table, and the network's accuracy on the
    test digits.
    """
    digits, results = load_digits_images(), []
    form = "{n_fmt}/{total_fmt} {desc} [{elapsed}]"
    how = {"disable": None if verbose else True, "bar_format": form, "leave": False}
    with tqdm(total=7, **how) as bar:
        bar.set_description("training the network on 898 digits")
        net = train_digits_network(
            digits.X_train, digits.y_train, random_state=random_state, device=device
        )
        accuracy = float(np.mean(net.predict(digits.X_test) == digits.y_test))
        bar.update()
        bar.set_description("making anomalies")
        anomalies = _make_anomalies(net, digits.X_test, digits.y_test, random_state)
        bar.update()
        detectors = _make_detectors(net, target_fpr, random_state)
        for name, (protocol, detector) in detectors.items():
            bar.set_description(f"fitting and testing {name}")
            results += evaluate(
                net,
                {name: detector},
                digits.X_test,
                anomalies,
                X_fit=digits.X_fit,
                y_fit=digits.y_fit,
                protocol=protocol,
                seeds=[random_state],
            ).results
            bar.update()
    return results, accuracy


def _make_detectors(net, target_fpr, random_state):
    """Return protocol and detector by name, in the order of the table."""
    common = {"target_fpr": target_fpr, "random_state": random_state}
    logits = LayerActivationTransformer(net, "logits")
    mlp = make_confounding_gradient_detector(net)
    return {
        "max softmax": ("C", make_pipeline(logits, MaxSoftmaxProbability(**common))),
        # Around the classifier, for a threshold that keeps the promised rate.
        "A: MLP": ("A", ConformalDetector(mlp, **common)),
        "B: LODA": ("B", make_geometric_gradient_detector(net, **common)),
        "C: SVDD": ("C", make_uniform_detector(net, "conv1", **common)),
        "combined": ("C", make_recommended_detector(net, **common)),
    }


def _make_anomalies(net, X, y, random_state):
    """Return anomalies by kind: as many natural images and noise as test digits.

    Of the attacks on correctly classified digits, the successful ones count.
    """
    n, shape = len(X), X.shape[1:]
    seeds = np.random.SeedSequence(random_state).generate_state(4).tolist()
    others = {
        "photo patches": make_photo_patches(n, shape, random_state=seeds[0]),
        "Gaussian noise": make_gaussian_noise(n, shape, random_state=seeds[1]),
        "uniform noise": make_uniform_noise(n, shape, random_state=seeds[2]),
    }
    anomalies = {
        # Photographs show no digits at all.
        name: AnomalySet(found, group="noise" if "noise" in name else "far data")
        for name, found in others.items()
    }
    right = np.flatnonzero(net.predict(X) == y)
    for eps in (0.1, 0.3):
        for name, attack in (
            ("FGSM", fgsm),
            ("PGD", partial(pgd, random_state=seeds[3])),
        ):
            result = attack(net, X[right], y[right], eps=eps)
            found = AnomalySet.from_attack(
                result, sources=right, group="strong attacks"
            )
            anomalies[f"{name}, eps {eps}"] = found
    return anomalies
