"""Networks, inputs and anomalies for choosing the recommended detector.

None of the inputs is judged in a table that this library reports: a LeNet and a
multi-layer perceptron that know the digits 0-5, judged on MNIST *training* images;
ResNet-20 on CIFAR-10 (JPEG) *test* images numbered 800-999 of each class; a 1-D network
on ECG5000. Each setting is (model, inputs to fit on, inputs, classes, anomalies).
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import avg_pool1d, cross_entropy, interpolate, pad
from torchvision.datasets import MNIST
from torchvision.transforms.v2 import functional as tf

from skgrad.attacks import bim, carlini_wagner, fgsm, pgd

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "papers"))
# The second for ``settings_of_today.py``, which finds no path of its own.
from paper_networks import CifarResNet, CifarResNet18  # noqa: F401
from paper_training import load_network


def read_images(folder, pattern, mode, limit, seed=0):
    """Read up to `limit` images, drawn at random, as a tensor in [0, 1]."""
    paths = sorted(folder.glob(pattern))
    order = np.random.default_rng(seed).permutation(len(paths))
    return pictures([paths[i] for i in order[:limit]], mode)


def pictures(paths, mode="RGB"):
    """Read images of one size as a tensor in [0, 1]."""
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


def train(make_model, x, y, *, epochs, batch, lr=2e-3, seed=0):
    """Train a new network with Adam and one cycle of learning rates."""
    torch.manual_seed(seed)
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


def cached(cache, name, make_model, train_model):
    """Return a trained network, from the folder `cache` if it is there."""
    path = None if cache is None else Path(cache) / f"{name}.safetensors"
    if path is not None and path.exists():
        return load_network(make_model, path)
    model = train_model()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        safetensors.torch.save_model(model, str(path))
    return model


@torch.no_grad()
def wrong(model, x, y):
    """Return which inputs are misclassified."""
    return model(x).argmax(1) != y


def l2_attack(model, x, eps, bounds, n_steps=20):
    """Climb the margin loss within a Euclidean ball; return what succeeds."""
    y, adv, axes = model(x).argmax(1), x, (-1, *(1,) * (x.ndim - 1))
    for _ in range(n_steps):
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


def attacked(model, x, sizes, l2, bounds=(0.0, 1.0), seed=0):
    """Return the successful adversarial inputs of each attack."""
    found = {}
    for eps in sizes:
        for name, start in (("BIM", False), ("PGD", True)):
            how = {"n_steps": 20, "random_start": start, "random_state": seed}
            result = pgd(model, x, eps=eps, bounds=bounds, **how)
            found[f"{name} {eps:.3g}"] = torch.from_numpy(result.X_adv[result.success])
    return {**found, "L2-PGD": l2_attack(model, x, l2, bounds)}


def subtle(model, x, eps, bounds=(0.0, 1.0), seed=0, n_slow=30):
    """Return the successful adversarial inputs of attacks that change little."""
    how = {"bounds": bounds, "random_state": seed}
    # Carlini & Wagner takes long, so it attacks few inputs, with few steps.
    brief = {"n_steps": 60, "binary_search_steps": 2}
    results = {
        "FGSM": fgsm(model, x, eps=eps, **how),
        "BIM-a": bim(model, x, eps=eps, stop_at_success=True, **how),
        "PGD quarter": pgd(model, x, eps=eps / 4, n_steps=20, **how),
        "C&W": carlini_wagner(model, x[:n_slow], **brief, **how),
    }
    return {
        name: torch.from_numpy(result.X_adv[result.success]).float()
        for name, result in results.items()
    }


def adversarial(model, x, small, large, l2, *, bounds=(0.0, 1.0), n_steps=20, seed=0):
    """Return the successful adversarial inputs of subtle and of strong attacks."""
    how = {"bounds": bounds, "random_state": seed, "batch_size": 32}
    slow = {"step_size": small / 10, "stop_at_success": True, "n_steps": n_steps}
    results = {
        "FGSM": fgsm(model, x, eps=small, **how),
        "BIM-a": bim(model, x, eps=small, **slow, **how),
        "BIM": bim(model, x, eps=large, n_steps=n_steps, **how),
        "PGD": pgd(model, x, eps=large, n_steps=n_steps, **how),
    }
    found = {
        name: torch.from_numpy(result.X_adv[result.success])
        for name, result in results.items()
    }
    return {**found, "L2-PGD": l2_attack(model, x, l2, bounds, n_steps)}


def perturbed(x, seed=0, blur=2.0):
    """Rotate, blur, salt, shuffle and invert images."""
    rng = np.random.default_rng(seed)
    bilinear = tf.InterpolationMode.BILINEAR
    angles = rng.uniform(45, 90, len(x)).tolist()
    turned = [tf.rotate(i, a, bilinear) for i, a in zip(x, angles, strict=True)]
    u = torch.from_numpy(rng.random((len(x), 1, *x.shape[2:])))
    salted = torch.where(u < 0.1, 0.0, torch.where(u > 0.9, 1.0, x))
    places = [rng.permutation(x[0, 0].numel()) for _ in x]
    shuffled = [i.flatten(1)[:, p].view_as(i) for i, p in zip(x, places, strict=True)]
    return {
        "rotated": torch.stack(turned),
        "blurred": tf.gaussian_blur(x, [2 * int(2 * blur) + 1] * 2, [blur] * 2),
        "salt and pepper": salted,
        "shuffled": torch.stack(shuffled),
        "inverted": 1 - x,
    }


def uniform(n, shape, seed=0):
    """Return images of uniform noise."""
    return torch.from_numpy(np.random.default_rng(seed).random((n, *shape), np.float32))


def digits_parts(root, n, seed=0):
    """Return digits, their classes, four sets of rows of 0-5, and other images."""
    data = MNIST(root, train=True)
    x, y = data.data[:, None].float() / 255, data.targets
    known = (y < 6).nonzero()[:, 0].numpy()
    known = torch.from_numpy(np.random.default_rng(seed).permutation(known))
    rows = known.split([24000, 4000, 2000, len(known) - 30000])
    photographs = read_images(root / "cifar10-jpeg/train", "*/*.jpg", "L", n, seed)
    anomalies = {
        "digits 6-9": x[(y > 5).nonzero()[: 2 * n, 0]],
        **perturbed(x[rows[3][:n]], seed),
        "CIFAR": photographs[:, :, 2:30, 2:30],
        "uniform": uniform(n, x.shape[1:], seed),
    }
    return x, y, rows, anomalies


def digits_setting(make_model, root, n, seed=0, cache=None):
    """Digits 0-5 are known."""
    x, y, (ours, fit, test, rest), anomalies = digits_parts(root, n, seed)
    model = train(make_model, x[ours], y[ours], epochs=2, batch=128, seed=seed)
    anomalies |= attacked(model, x[test[:n]], (0.1, 0.2), 2.0, seed=seed)
    anomalies |= subtle(model, x[test[:n]], 0.1, seed=seed)
    anomalies["misclassified"] = x[rest][wrong(model, x[rest], y[rest])]
    return model, {"fit": x[fit]}, x[test], y[test], anomalies


def cifar_parts(root, n, seed=0):
    """Return images numbered 800-999 of each test class, their classes, and others."""
    folders = sorted((root / "cifar10-jpeg/test").iterdir())
    x = torch.cat([read_images(folder, "0[89]*.jpg", "RGB", 200) for folder in folders])
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(x)))
    digits = pad(MNIST(root, train=True).data[:n, None] / 255, (2, 2, 2, 2))
    tiny = root / "tiny-imagenet32-jpeg/train"
    # Every second category, as in ``settings_of_today.py``.
    textures = sorted((root / "dtd-840").iterdir())[::2]
    each = -(-n // len(textures))
    textures = torch.cat([read_images(f, "*.jpg", "RGB", each, seed) for f in textures])
    anomalies = {
        "TinyImageNet": read_images(tiny, "*/*.jpg", "RGB", 2 * n, seed),
        "MNIST": digits.expand(-1, 3, -1, -1).contiguous(),
        "textures": interpolate(textures, (32, 32), mode="bilinear", antialias=True),
        "uniform": uniform(n, (3, 32, 32), seed),
    }
    return x[order], torch.arange(10).repeat_interleave(200)[order], anomalies


def cifar_setting(root, n, seed=0, cache=None):
    """ResNet-20 on half of the images; fitted on the others."""
    model = load_network(CifarResNet, root / "weights/cifar10jpeg_resnet20.safetensors")
    x, y, anomalies = cifar_parts(root, n, seed)
    fit, x, y = x[:1000], x[1000:], y[1000:]
    anomalies |= perturbed(x[:n], seed)
    anomalies |= attacked(model, x[-n:], (4 / 255, 16 / 255), 0.5, seed=seed)
    anomalies |= subtle(model, x[-n:], 8 / 255, seed=seed)
    anomalies["misclassified"] = x[wrong(model, x, y)]
    return model, {"fit": fit}, x, y, anomalies


def ecg_setting(root, n, seed=0, cache=None):
    """200 heartbeats to train on, 150 to fit, 150 to judge."""
    rows = torch.from_numpy(np.loadtxt(root / "ucr/ECG5000_TRAIN.txt")).float()
    rows = rows[torch.from_numpy(np.random.default_rng(seed).permutation(len(rows)))]
    x, y = rows[:, None, 1:], rows[:, 0].long() - 1
    model = train(series_net, x[:200], y[:200], epochs=60, batch=20, seed=seed)
    fit, test, rng = x[200:350], x[350:], np.random.default_rng(seed)
    files = [root / f"ucr/ECG200_{part}.csv" for part in ("TRAIN", "TEST")]
    other = np.concatenate([np.loadtxt(file, delimiter=",")[:, :96] for file in files])
    bounds = (float(x.min()), float(x.max()))
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
        **attacked(model, x[200:], (0.1, 0.3), 2.0, bounds, seed),
        **subtle(model, test, 0.1, bounds, seed),
        "misclassified": test[wrong(model, test, y[350:])],
    }
    return model, {"fit": fit}, test, y[350:], anomalies


# The settings by name, each a function of (root, n, seed, cache). `root` is a folder
# with MNIST/raw, cifar10-jpeg, tiny-imagenet32-jpeg, ucr and weights, `n` the number of
# anomalies of most kinds; networks that take long to train are kept in `cache`.
SETTINGS = {
    "ecg": ecg_setting,
    "lenet": partial(digits_setting, lenet),
    "mlp": partial(digits_setting, perceptron),
    "cifar": cifar_setting,
}
