"""Two settings of two classes for choosing the recommended detector.

With two classes all that the logits say is one number. A small vision transformer tells
4 from 9, judged on MNIST *training* images; the features of ResNet-20 under a new
linear head tell cats from dogs, judged on CIFAR-10 (JPEG) *test* images numbered
800-999 of each class. No table that this library reports judges these images.
"""

from functools import partial

import numpy as np
import torch
from recommended_settings import (
    CifarResNet,
    adversarial,
    cached,
    cifar_parts,
    load_network,
    perturbed,
    read_images,
    train,
    uniform,
    wrong,
)
from sklearn.linear_model import LogisticRegression
from torch import nn
from torchvision.datasets import MNIST
from torchvision.models import VisionTransformer

DIGITS = (4, 9)
PETS = ("cat", "dog")


class DigitTransformer(VisionTransformer):
    """Layers of attention over patches of 4 x 4 pixels."""

    def __init__(self, n_layers, width, n_classes):
        super().__init__(28, 4, n_layers, 4, width, 2 * width, num_classes=n_classes)

    def forward(self, x):
        """Return the logits of grey images."""
        return super().forward(x.expand(-1, 3, -1, -1))


def digits_setting(root, n, seed, cache=None):
    """Tell 4 from 9 after 3,000 images; fitted on 400, as few as users have."""
    data = MNIST(root, train=True)
    x, y = data.data[:, None].float() / 255, data.targets
    known = torch.isin(y, torch.tensor(DIGITS))
    rows = torch.from_numpy(np.random.default_rng(seed).permutation(len(x)))
    ours, fit, test, rest = rows[known[rows]].split(
        [3000, 400, 400, known.sum() - 3800]
    )
    y = (y == DIGITS[1]).long()
    make_model = partial(DigitTransformer, 2, 48, 2)
    learn = partial(train, make_model, x[ours], y[ours], epochs=8, batch=32)
    learn = partial(learn, seed=seed)
    model = cached(cache, f"two_digits_{seed}", make_model, learn)
    photographs = read_images(root / "cifar10-jpeg/train", "*/*.jpg", "L", n, seed)
    rng = np.random.default_rng(seed)
    test_x = x[test]
    noise = torch.from_numpy(rng.normal(size=test_x[:n].shape)).float()
    anomalies = {
        "other digits": x[rows[~known[rows]][: 2 * n]],
        **perturbed(test_x[:n], seed),
        "noisy": (test_x[:n] + 0.3 * noise).clamp(0, 1),
        "CIFAR": photographs[:, :, 2:30, 2:30],
        "uniform": uniform(n, x.shape[1:], seed),
        **adversarial(model, test_x[: n // 2], 0.02, 0.1, 0.5, seed=seed),
        "misclassified": x[rest][wrong(model, x[rest], y[rest])],
    }
    return model, {"fit": x[fit]}, test_x, y[test], anomalies


def pets_setting(root, n, seed, cache=None):
    """Tell cats from dogs by ResNet-20 with a new head; fitted on half the images."""
    path = root / "weights/cifar10jpeg_resnet20.safetensors"
    model = load_network(CifarResNet, path)
    _, _, anomalies = cifar_parts(root, n, seed)
    train_folders = [root / "cifar10-jpeg/train" / pet for pet in PETS]
    x = torch.cat([read_images(f, "*.jpg", "RGB", 1000, seed) for f in train_folders])
    new_head(model, x, torch.arange(2).repeat_interleave(1000))
    folders = sorted((root / "cifar10-jpeg/test").iterdir())
    images = {f.name: read_images(f, "0[89]*.jpg", "RGB", 200) for f in folders}
    x = torch.cat([images.pop(pet) for pet in PETS])
    order = torch.from_numpy(np.random.default_rng(seed).permutation(400))
    x, y = x[order], torch.arange(2).repeat_interleave(200)[order]
    fit, x, y = x[:200], x[200:], y[200:]
    others = torch.cat([*images.values()])
    drawn = torch.from_numpy(np.random.default_rng(seed).permutation(len(others)))
    anomalies |= {
        "other classes": others[drawn[: 2 * n]],
        **perturbed(x[:n], seed),
        **adversarial(model, x[: n // 2], 1 / 255, 8 / 255, 0.25, seed=seed),
        "misclassified": x[wrong(model, x, y)],
    }
    return model, {"fit": fit}, x, y, anomalies


@torch.no_grad()
def new_head(model, x, y):
    """Put a linear head of two classes on a network, by logistic regression."""
    parts = [(n, p) for n, p in model.named_modules() if isinstance(p, nn.Linear)]
    ((name, old),) = parts
    setattr(model, name, nn.Identity())
    features = torch.cat([model(part) for part in x.split(100)])
    found = LogisticRegression(C=0.1, max_iter=500).fit(features.numpy(), y)
    # Two logits whose difference is that of the regression.
    coef = torch.from_numpy(np.concatenate([-found.coef_, found.coef_])).float() / 2
    head = nn.Linear(old.in_features, 2)
    head.weight.copy_(coef)
    bias = np.concatenate([-found.intercept_, found.intercept_]) / 2
    head.bias.copy_(torch.from_numpy(bias))
    setattr(model, name, head)
    model.eval().requires_grad_(True)


# The settings by name, each a function of (root, n, seed, cache).
SETTINGS = {"two digits": digits_setting, "two pets": pets_setting}
