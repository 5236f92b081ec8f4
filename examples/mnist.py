"""
The detectors on MNIST
======================

A convolutional network is trained on 50,000 training images of MNIST. The detectors are
fitted on 6,000 others and see no anomaly. They are judged on test images against
Fashion-MNIST, Omniglot, two kinds of noise and two attacks.

    python examples/mnist.py --data-dir ~/data            # some minutes on 2 cores
    python examples/mnist.py --data-dir ~/data --quick    # few images, one epoch

Data that are not in the folder are downloaded there with --download. Image folders
``fashion-mnist-900`` and ``omniglot-small`` (one folder per class) are taken where they
exist, else torchvision's FashionMNIST and Omniglot.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.pipeline import make_pipeline
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler
from torch import nn
from torchvision import transforms
from torchvision.datasets import MNIST, FashionMNIST, ImageFolder, Omniglot

from skgrad import (
    LayerActivationTransformer,
    MaxSoftmaxProbability,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from skgrad.attacks import fgsm, pgd
from skgrad.datasets import make_gaussian_noise, make_uniform_noise
from skgrad.evaluation import Result, render_table

# %%
# Data
# ----
# All images are grey, 28 x 28, with values in [0, 1]. The strokes of Omniglot are black
# on white; inverted they look like those of MNIST.
SHAPE = (1, 28, 28)
GREY = transforms.Compose(
    [transforms.Grayscale(), transforms.Resize(28), transforms.ToTensor()]
)


def load_mnist(data_dir, *, train, download):
    """Return images (n, 1, 28, 28) of float32 and their classes."""
    data = MNIST(data_dir, train=train, download=download)
    images = data.data.numpy()[:, None].astype(np.float32) / 255
    return images, data.targets.numpy()


def load_anomalies(data_dir, name, n_samples, *, download, random_state):
    """Draw images of another data set."""
    folder, make = {
        "Fashion-MNIST": ("fashion-mnist-900", FashionMNIST),
        "Omniglot": ("omniglot-small", Omniglot),
    }[name]
    folder = Path(data_dir) / folder
    if folder.exists():
        data = ImageFolder(folder, transform=GREY)
    elif make is FashionMNIST:
        data = make(data_dir, train=False, transform=GREY, download=download)
    else:
        data = make(data_dir, transform=GREY, download=download)
    order = np.random.default_rng(random_state).permutation(len(data))[:n_samples]
    images = np.stack([data[i][0].numpy() for i in order])
    return 1 - images if name == "Omniglot" else images


# %%
# Network
# -------
class Network(nn.Module):
    """Two convolutions with batch normalisation and two linear layers."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(64)
        self.fc1 = nn.Linear(64 * 7 * 7, 128)
        self.drop = nn.Dropout(0.5)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        """Return the logits (n_samples, 10)."""
        x = nn.functional.max_pool2d(torch.relu(self.norm1(self.conv1(x))), 2)
        x = nn.functional.max_pool2d(torch.relu(self.norm2(self.conv2(x))), 2)
        return self.fc2(self.drop(torch.relu(self.fc1(x.flatten(1)))))


def train_network(X, y, *, max_epochs, random_state):
    """Train the network, and say how."""
    torch.manual_seed(random_state)
    net = NeuralNetClassifier(
        Network,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=2e-3,
        batch_size=128,
        max_epochs=max_epochs,
        train_split=None,
        iterator_train__shuffle=True,
        callbacks=[LRScheduler("CosineAnnealingLR", T_max=max_epochs)],
        verbose=0,
    )
    return net.fit(X, y)


# %%
# Anomalies
# ---------
# Of an attack those images count that it deceives the network with.
def make_anomalies(net, X, y, args):
    """Return the anomalies by name."""
    others = {
        name: load_anomalies(
            args.data_dir,
            name,
            args.n_anomalies,
            download=args.download,
            random_state=args.seed,
        )
        for name in ("Fashion-MNIST", "Omniglot")
    }
    noise = {
        "Gaussian noise": make_gaussian_noise(
            args.n_anomalies, SHAPE, random_state=args.seed
        ),
        "uniform noise": make_uniform_noise(
            args.n_anomalies, SHAPE, random_state=args.seed
        ),
    }
    X, y = X[: args.n_anomalies], y[: args.n_anomalies]
    right = net.predict(X) == y
    attacks = {
        "FGSM, eps 0.3": fgsm(net, X[right], y[right], eps=0.3),
        "PGD, eps 0.3": pgd(net, X[right], y[right], eps=0.3, random_state=args.seed),
    }
    successful = {name: a.X_adv[a.success] for name, a in attacks.items()}
    return {**others, **noise, **successful}


# %%
# Detectors
# ---------
# None of them sees an anomaly. Paper A's is supervised and not among them.
def make_detectors(net, seed):
    """Return the detectors by name."""
    logits = LayerActivationTransformer(net, "logits")
    return {
        "max softmax": make_pipeline(logits, MaxSoftmaxProbability(random_state=seed)),
        "B: LODA": make_geometric_gradient_detector(net, random_state=seed),
        "C: SVDD": make_uniform_detector(net, "conv1", random_state=seed),
        "recommended": make_recommended_detector(net, random_state=seed),
    }


# %%
# Judging
# -------
def main(arguments=None):
    """Train, fit, judge and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.strip().split("\n")[0])
    parser.add_argument("--data-dir", default="data", help="where the data are")
    parser.add_argument("--download", action="store_true", help="download what lacks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n-fit", type=int, default=6000, help="for the detectors")
    parser.add_argument("--n-test", type=int, default=10_000, help="test images")
    parser.add_argument("--n-anomalies", type=int, default=2000, help="of each kind")
    parser.add_argument("--quick", action="store_true", help="few images, one epoch")
    parser.add_argument("--only", help="name of a single detector, such as recommended")
    args = parser.parse_args(arguments)
    if args.quick:
        args.n_fit, args.n_test, args.n_anomalies = 300, 100, 50
    X, y = load_mnist(args.data_dir, train=True, download=args.download)
    X_test, y_test = load_mnist(args.data_dir, train=False, download=args.download)
    X_test, y_test = X_test[: args.n_test], y_test[: args.n_test]
    order = np.random.default_rng(args.seed).permutation(len(X))
    fit, train = order[: args.n_fit], order[-50_000:][: 500 if args.quick else None]
    train = np.setdiff1d(train, fit)
    net = train_network(
        X[train], y[train], max_epochs=1 if args.quick else 10, random_state=args.seed
    )
    print(
        f"Network: {net.score(X_test, y_test):.2%} accuracy on {len(X_test)} test "
        f"images (seed {args.seed}, trained on {len(train)}, detectors fitted on "
        f"{len(fit)})."
    )
    anomalies = make_anomalies(net, X_test, y_test, args)
    results = []
    for name, detector in make_detectors(net, args.seed).items():
        if args.only not in (None, name):
            continue
        detector.fit(X[fit])
        scores_id = detector.score_samples(X_test)
        results += [
            Result(
                name, kind, scores_id, detector.score_samples(A), detector[-1].offset_
            )
            for kind, A in anomalies.items()
        ]
    print("Each cell: AUROC/TNR@95TPR in percent; false alarms at a target of 5 %.\n")
    print(render_table(results))


if __name__ == "__main__":
    main()
