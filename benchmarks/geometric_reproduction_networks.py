"""Networks, data and anomalies for `geometric_reproduction.py`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import cross_entropy
from torchvision.datasets import MNIST

from skgrad import attacks as at
from skgrad.datasets import (
    load_digits_images,
    make_gaussian_noise,
    make_photo_patches,
    make_uniform_noise,
)

EPS = 0.3


# Networks: the paper names four convolutions "with 32, 64, and 128 filters", linear
# layers with 100 and 10 units and ReLU; neither kernels nor strides nor pooling.
class Standardise(nn.Module):
    """Mean and standard deviation of MNIST, inside the network."""

    def forward(self, x):
        """Return the images standardised."""
        return (x - 0.1307) / 0.3081


@dataclass
class Plan:
    """Channels of the convolutions, how many of them pool, sizes of the rest."""

    channels: tuple
    kernel: int
    n_pooled: int
    hidden: tuple


PLANS = {
    "LeNet": Plan((6, 16), 5, 2, (120, 84)),
    "paper": Plan((32, 32, 64, 128), 3, 3, (100,)),
    "example": Plan((32, 64), 3, 2, (128,)),  # that of examples/papers/mnist.py
}


def make_network(
    side,
    kind="LeNet",
    *,
    norm=False,
    stride=1,
    width=1,
    dropout=0.0,
    activation=nn.ReLU,
    standardised=False,
):
    """Build a network for grey images of side x side pixels, 10 classes.

    A stride of 2 stands in for pooling.
    """
    plan, layers, n_in = PLANS[kind], [Standardise()] * standardised, 1
    for i, n_out in enumerate(width * n for n in plan.channels):
        pooled = i < plan.n_pooled
        step = stride if pooled else 1
        layers.append(
            nn.Conv2d(n_in, n_out, plan.kernel, step, padding=plan.kernel // 2)
        )
        layers += [nn.BatchNorm2d(n_out)] * norm + [activation()]
        layers += [nn.MaxPool2d(2)] * (pooled and stride == 1)
        n_in = n_out
    features = nn.Sequential(*layers, nn.Flatten()).eval()
    n_in = features(torch.zeros(1, 1, side, side)).shape[1]
    head = []
    for n_out in plan.hidden:
        head += [nn.Linear(n_in, n_out), activation(), nn.Dropout(dropout)]
        n_in = n_out
    return nn.Sequential(*features, *head, nn.Linear(n_in, 10))


def shifted(x):
    """Move a batch of images by up to two pixels."""
    down, right = torch.randint(-2, 3, (2,)).tolist()
    return x.roll((down, right), (2, 3))


def train(
    net, X, y, *, epochs, seed, batch=64, adam=False, lr=None, decay=0.0, augment=None
):
    """Train by paper B's schedule: Nesterov momentum, a fifth at 30, 60, 80 %."""
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
    turned = at.rotate(net, X[: 8 * n], y[: 8 * n], angle=45, random_state=seed)
    attack = at.pgd(net, X[:n], y[:n], eps=EPS, random_state=seed)
    return {
        **{name: images[:n] for name, images in source.others.items()},
        **noises(n, X.shape[1:], seed),
        "rotation": turned.X_adv[turned.success][:n],
        "PGD": attack.X_adv[attack.success],
    }


def anomaly_variants(net, X, y, n, seed):
    """Return anomalies by what the paper may mean, from correctly classified images."""
    rng, shape = np.random.default_rng(seed), (n, *X.shape[1:])
    turned = at.rotate(net, X, y, angle=45, random_state=seed)
    ball = at.random_noise(net, X, y, eps=EPS, random_state=seed)
    X, y = X[:n], y[:n]
    noise = {
        "N(0, 1)": rng.normal(size=shape),
        "N(0, 1), clipped": rng.normal(size=shape).clip(0, 1),
        "uniform of unit variance": rng.uniform(-(3**0.5), 3**0.5, shape),
        "image + U(0, 1)": X + rng.uniform(size=X.shape),
        "image + U(0, 1), clipped": (X + rng.uniform(size=X.shape)).clip(0, 1),
    }
    seeded = {"random_state": seed}
    small = {"step_size": 0.01, "n_steps": 100}
    tries = {
        "PGD, 10 steps": at.pgd(net, X, y, eps=EPS, n_steps=10, **seeded),
        "PGD, not clipped": at.pgd(net, X, y, eps=EPS, bounds=(-1.0, 2.0), **seeded),
        "PGD, eps 0.1": at.pgd(net, X, y, eps=0.1, **seeded),
        "PGD, L2, eps 3": at.pgd(net, X, y, eps=3.0, norm="l2", **seeded),
        "stops at success": at.bim(net, X, y, eps=EPS, stop_at_success=True),
        "stops at success, steps of 0.01": at.bim(
            net, X, y, eps=EPS, stop_at_success=True, **small
        ),
        "T-SCE": at.pgd(net, X, y, eps=EPS, target="random", n_steps=100, **seeded),
        "FGSM": at.fgsm(net, X, y, eps=EPS),
    }
    return {
        **{name: values.astype(np.float32) for name, values in noise.items()},
        "rotation, all": turned.X_adv[:n],
        "noise in the ball, all": ball.X_adv[:n],
        "noise in the ball, misclassified": ball.X_adv[ball.success][:n],
        **{name: found.X_adv[found.success] for name, found in tries.items()},
    }
