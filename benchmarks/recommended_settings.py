"""Networks, inputs and anomalies for choosing the recommended detector.

None of the inputs is judged in a table that this library reports: a LeNet and a
multi-layer perceptron that know the digits 0-5, judged on MNIST *training* images;
ResNet-20 on CIFAR-10 (JPEG) *test* images numbered 800-999 of each class; a 1-D network
on ECG5000. Each setting is (model, inputs to fit on, inputs, classes, anomalies).
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import avg_pool1d, cross_entropy, interpolate, pad
from torchvision.datasets import MNIST
from torchvision.transforms.v2 import functional as tf

from skgrad.attacks import pgd

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "papers"))
from paper_networks import CifarResNet
from paper_training import load_network


def read_images(folder, pattern, mode, limit):
    """Read up to `limit` images, drawn at random, as a tensor in [0, 1]."""
    paths = sorted(folder.glob(pattern))
    paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[:limit]]
    x = np.stack([np.asarray(Image.open(path).convert(mode)) for path in paths])
    x = torch.from_numpy(x).float() / 255
    return x[:, None] if mode == "L" else x.permute(0, 3, 1, 2).contiguous()


def lenet():
    """Two convolutions, two linear layers, 6 classes."""
    features = [nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    features += [nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*features, nn.Linear(800, 128), nn.ReLU(), nn.Linear(128, 6))


def perceptron():
    """Three linear layers, 6 classes."""
    features = [nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 100)]
    return nn.Sequential(*features, nn.ReLU(), nn.Linear(100, 6))


def series_net():
    """Three 1-D convolutions and a linear layer, 5 classes."""
    features = [nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2)]
    features += [nn.Conv1d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2)]
    features += [nn.Conv1d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool1d(4)]
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(128, 5))


def train(make_model, x, y, *, epochs, batch, lr=2e-3):
    """Train a new network with Adam and one cycle of learning rates."""
    torch.manual_seed(0)
    model = make_model()
    optimizer = torch.optim.Adam(model.parameters(), lr)
    steps = epochs * -(-len(x) // batch)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad()
            cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
            cycle.step()
    return model.eval()


@torch.no_grad()
def wrong(model, x, y):
    """Return which inputs are misclassified."""
    return model(x).argmax(1) != y


def l2_attack(model, x, eps, bounds):
    """Climb the margin loss within a Euclidean ball; return what succeeds."""
    y, adv, axes = model(x).argmax(1), x, (-1, *(1,) * (x.ndim - 1))
    for _ in range(20):
        adv = adv.detach().requires_grad_()
        logits = model(adv).double()
        others = logits.scatter(1, y[:, None], -torch.inf).logsumexp(1)
        loss = (others - logits.gather(1, y[:, None])[:, 0]).sum()
        (step,) = torch.autograd.grad(loss, adv)
        step = step / step.flatten(1).norm(dim=1).clamp_min(1e-20).view(axes)
        change = adv.detach() + eps / 5 * step - x
        size = change.flatten(1).norm(dim=1).clamp_min(1e-20).view(axes)
        adv = (x + change * (eps / size).clamp_max(1)).clamp(*bounds)
    return adv[wrong(model, adv, y)]


def attacked(model, x, sizes, l2, bounds=(0.0, 1.0)):
    """Return the successful adversarial inputs of each attack."""
    found = {}
    for eps in sizes:
        for name, start in (("BIM", False), ("PGD", True)):
            how = {"n_steps": 20, "random_start": start, "random_state": 0}
            result = pgd(model, x, eps=eps, bounds=bounds, **how)
            found[f"{name} {eps:.3g}"] = torch.from_numpy(result.X_adv[result.success])
    return {**found, "L2-PGD": l2_attack(model, x, l2, bounds)}


def perturbed(x):
    """Rotate, blur, salt, shuffle and invert images."""
    rng = np.random.default_rng(0)
    bilinear = tf.InterpolationMode.BILINEAR
    angles = rng.uniform(45, 90, len(x)).tolist()
    turned = [tf.rotate(i, a, bilinear) for i, a in zip(x, angles, strict=True)]
    u = torch.from_numpy(rng.random((len(x), 1, *x.shape[2:])))
    salted = torch.where(u < 0.1, 0.0, torch.where(u > 0.9, 1.0, x))
    places = [rng.permutation(x[0, 0].numel()) for _ in x]
    shuffled = [i.flatten(1)[:, p].view_as(i) for i, p in zip(x, places, strict=True)]
    return {
        "rotated": torch.stack(turned),
        "blurred": tf.gaussian_blur(x, [9, 9], [2.0, 2.0]),
        "salt and pepper": salted,
        "shuffled": torch.stack(shuffled),
        "inverted": 1 - x,
    }


def digits_setting(root, make_model, n):
    """Digits 0-5 are known."""
    data = MNIST(root, train=True)
    x, y = data.data[:, None].float() / 255, data.targets
    known = (y < 6).nonzero()[:, 0].numpy()
    known = torch.from_numpy(np.random.default_rng(0).permutation(known))
    ours, fit, test, rest = known.split([24000, 4000, 2000, len(known) - 30000])
    model = train(make_model, x[ours], y[ours], epochs=2, batch=128)
    anomalies = {
        "digits 6-9": x[(y > 5).nonzero()[: 2 * n, 0]],
        **perturbed(x[rest[:n]]),
        "CIFAR": read_images(root / "cifar10-jpeg/train", "*/*.jpg", "L", n)[
            :, :, 2:30, 2:30
        ],
        **attacked(model, x[test[:n]], (0.1, 0.2), 2.0),
        "misclassified": x[rest][wrong(model, x[rest], y[rest])],
    }
    return model, {"fit": x[fit]}, x[test], y[test], anomalies


def cifar_setting(root, n):
    """Images numbered 800-999 of each test class; fitted on half, or on training."""
    model = load_network(CifarResNet, root / "weights/cifar10jpeg_resnet20.safetensors")
    folders = sorted((root / "cifar10-jpeg/test").iterdir())
    x = torch.cat([read_images(folder, "0[89]*.jpg", "RGB", 200) for folder in folders])
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(x)))
    x, y = x[order], torch.arange(10).repeat_interleave(200)[order]
    seen = read_images(root / "cifar10-jpeg/train", "*/*.jpg", "RGB", 10 * n)
    fit, x, y = x[:1000], x[1000:], y[1000:]
    digits = pad(MNIST(root, train=True).data[:n, None] / 255, (2, 2, 2, 2))
    tiny = root / "tiny-imagenet32-jpeg/train"
    anomalies = {
        "TinyImageNet": read_images(tiny, "*/*.jpg", "RGB", 2 * n),
        "MNIST": digits.expand(-1, 3, -1, -1).contiguous(),
        **perturbed(x[:n]),
        **attacked(model, x[-n:], (4 / 255, 16 / 255), 0.5),
        "misclassified": x[wrong(model, x, y)],
    }
    return model, {"fit": fit, "seen": seen}, x, y, anomalies


def ecg_setting(root):
    """200 heartbeats to train on, 150 to fit, 150 to judge."""
    rows = torch.from_numpy(np.loadtxt(root / "ucr/ECG5000_TRAIN.txt")).float()
    rows = rows[torch.from_numpy(np.random.default_rng(0).permutation(len(rows)))]
    x, y = rows[:, None, 1:], rows[:, 0].long() - 1
    model = train(series_net, x[:200], y[:200], epochs=60, batch=20)
    fit, test, rng = x[200:350], x[350:], np.random.default_rng(0)
    files = [root / f"ucr/ECG200_{part}.csv" for part in ("TRAIN", "TEST")]
    other = np.concatenate([np.loadtxt(file, delimiter=",")[:, :96] for file in files])
    noise = torch.from_numpy(rng.normal(size=test.shape)).float()
    anomalies = {
        "ECG200": interpolate(torch.from_numpy(other).float()[:, None], 140),
        "Gaussian": noise,
        "uniform": torch.from_numpy(rng.uniform(-2, 2, size=test.shape)).float(),
        "reversed": test.flip(2),
        "inverted": -test,
        "rolled": test.roll(40, 2),
        "noisy": test + 0.5 * noise,
        "smoothed": avg_pool1d(pad(test, (7, 7), mode="replicate"), 15, 1),
        **attacked(model, x[200:], (0.1, 0.3), 2.0, (float(x.min()), float(x.max()))),
        "misclassified": test[wrong(model, test, y[350:])],
    }
    return model, {"fit": fit}, test, y[350:], anomalies


def all_settings(root, n):
    """Yield the name of each setting and what it consists of.

    Parameters
    ----------
    root : Path
        Folder with MNIST/raw, cifar10-jpeg, tiny-imagenet32-jpeg, ucr and weights.
    n : int
        Number of anomalies of most kinds.
    """
    yield "ecg", ecg_setting(root)
    yield "lenet", digits_setting(root, lenet, n)
    yield "mlp", digits_setting(root, perceptron, n)
    yield "cifar", cifar_setting(root, n)
