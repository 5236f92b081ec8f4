"""The network and the anomalies of the main job."""

import numpy as np
import torch
from torch import nn

from ..attacks import fgsm, pgd
from ..datasets import make_gaussian_noise, make_photo_patches, make_uniform_noise
from ._anomaly_set import AnomalySet
from ._training import train_network


def train_digits_network(X, y, *, random_state=0, device="cpu"):
    """Train a small convolutional network on the digits.

    Parameters
    ----------
    X : ndarray of float32 of shape (n_samples, 1, 8, 8)
        Images in [0, 1].
    y : ndarray of int64 of shape (n_samples,)
        Their classes, 0 to 9.
    random_state : int, default=0
        Seeds the weights and the order of the samples.
    device : str, default="cpu"
        Where to train.

    Returns
    -------
    skorch.NeuralNetClassifier
        The fitted net; its module returns logits.
    """
    return train_network(
        DigitsNetwork,
        X,
        y,
        max_epochs=30,
        batch_size=32,
        random_state=random_state,
        device=device,
    )


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


def make_anomalies(net, X, y, *, random_state=0):
    """Make every kind of anomaly for the test digits.

    Parameters
    ----------
    net : fitted skorch net
        The network that is attacked.
    X : ndarray of float32 of shape (n_samples, 1, 8, 8)
        Test images.
    y : ndarray of int64 of shape (n_samples,)
        Their classes.
    random_state : int, default=0
        Seeds places, noise and starting points.

    Returns
    -------
    dict of str to AnomalySet
        Anomalies by kind: as many photo patches and noise images as test images; of
        the attacks on correctly classified images, the successful ones.
    """
    n, shape = len(X), X.shape[1:]
    seeds = np.random.SeedSequence(random_state).generate_state(4).tolist()
    others = {
        "photo patches": make_photo_patches(n, shape, random_state=seeds[0]),
        "Gaussian noise": make_gaussian_noise(n, shape, random_state=seeds[1]),
        "uniform noise": make_uniform_noise(n, shape, random_state=seeds[2]),
    }
    anomalies = {name: AnomalySet(found) for name, found in others.items()}
    right = np.flatnonzero(net.predict(X) == y)
    for eps in (0.1, 0.3):
        attacks = {
            f"FGSM, eps {eps}": fgsm(net, X[right], y[right], eps=eps),
            f"PGD, eps {eps}": pgd(
                net, X[right], y[right], eps=eps, random_state=seeds[3]
            ),
        }
        anomalies |= {
            name: AnomalySet.from_attack(result, sources=right)
            for name, result in attacks.items()
        }
    return anomalies
