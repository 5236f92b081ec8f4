"""
The detectors on MNIST
======================

A convolutional network is trained on 50,000 training images of MNIST. The detectors are
fitted on 6,000 others and see no anomaly. They are judged on test images against
Fashion-MNIST, Omniglot, two kinds of noise and two attacks.

    python examples/papers/mnist.py --data-dir ~/data         # minutes
    python examples/papers/mnist.py --data-dir ~/data --quick # one epoch

Data that are not in the folder are downloaded there with --download. Image folders
``fashion-mnist-900`` and ``omniglot-small`` (one folder per class) are taken where they
exist, else torchvision's FashionMNIST and Omniglot.
"""

import argparse
from functools import partial

import torch
from data_splits import split_mnist
from paper_training import train_network
from sklearn.pipeline import make_pipeline
from torch import nn

from skgrad import (
    LayerActivationTransformer,
    MaxSoftmaxProbability,
    make_geometric_gradient_detector,
    make_recommended_detector,
    make_uniform_detector,
)
from skgrad.attacks import fgsm, pgd
from skgrad.datasets import load_dataset
from skgrad.evaluation import Result, render_table

# %%
# Data
# ----
# All images are grey, 28 x 28, with values in [0, 1]. The strokes of Omniglot are black
# on white; inverted they look like those of MNIST.
SHAPE = (1, 28, 28)
ANOMALIES = {
    "Fashion-MNIST": "fashion-mnist",
    "Omniglot": "omniglot",
    "Gaussian noise": "gaussian-noise",
    "uniform noise": "uniform-noise",
}
# Handwritten characters lie near digits, clothes far from them.
GROUPS = {
    "Fashion-MNIST": "far data",
    "Omniglot": "near data",
    "Gaussian noise": "noise",
    "uniform noise": "noise",
}


def load_mnist(data_dir, *, download):
    """Return training images (n, 1, 28, 28) and classes, then those for testing."""
    load = partial(load_dataset, "mnist", data_dir=data_dir, download=download)
    train, test = load(split="train"), load(split="test")
    return train.X, train.y, test.X, test.y


def load_anomalies(args):
    """Draw images of other data sets, and noise."""
    how = {"shape": SHAPE, "n_samples": args.n_anomalies, "random_state": args.seed}
    where = {"data_dir": args.data_dir, "download": args.download}
    return {
        title: load_dataset(name, **how, **where).X for title, name in ANOMALIES.items()
    }


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


def train(X, y, *, max_epochs, random_state):
    """Train the network."""
    how = {"max_epochs": max_epochs, "learning_rate": 2e-3, "schedule": "cosine"}
    return train_network(Network, X, y, random_state=random_state, **how)


# %%
# Anomalies
# ---------
# Of an attack those images count that it deceives the network with.
def make_anomalies(net, X, y, args):
    """Return the anomalies by name."""
    X, y = X[: args.n_anomalies], y[: args.n_anomalies]
    right = net.predict(X) == y
    attacks = {
        "FGSM, eps 0.3": fgsm(net, X[right], y[right], eps=0.3),
        "PGD, eps 0.3": pgd(net, X[right], y[right], eps=0.3, random_state=args.seed),
    }
    successful = {name: a.X_adv[a.success] for name, a in attacks.items()}
    return {**load_anomalies(args), **successful}


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
    X, y, X_test, y_test = load_mnist(args.data_dir, download=args.download)
    X_test, y_test = X_test[: args.n_test], y_test[: args.n_test]
    max_train = 500 if args.quick else None
    parts = split_mnist(
        len(X), n_fit=args.n_fit, max_train=max_train, random_state=args.seed
    )
    max_epochs = 1 if args.quick else 10
    net = train(
        X[parts.train], y[parts.train], max_epochs=max_epochs, random_state=args.seed
    )
    print(
        f"Network: {net.score(X_test, y_test):.2%} accuracy on {len(X_test)} test "
        f"images (seed {args.seed}, trained on {len(parts.train)}, detectors fitted on "
        f"{len(parts.fit)})."
    )
    anomalies = make_anomalies(net, X_test, y_test, args)
    results = []
    for name, detector in make_detectors(net, args.seed).items():
        if args.only not in (None, name):
            continue
        detector.fit(X[parts.fit])
        scores_id = detector.score_samples(X_test)
        results += [
            Result(
                name,
                kind,
                scores_id,
                detector.score_samples(A),
                detector[-1].offset_,
                group=GROUPS.get(kind, "strong attacks"),
            )
            for kind, A in anomalies.items()
        ]
    print("Each cell: AUROC/TNR@95TPR in percent; false alarms at a target of 5 %.\n")
    print(render_table(results))


if __name__ == "__main__":
    main()
