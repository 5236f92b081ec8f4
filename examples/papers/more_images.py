"""More images that are no CIFAR-10: ImageNet, textures, MNIST, and what is asked for.

They stand beside those of ``experiments.py`` in ``all_detectors.py`` alone. The folder
``imagenet-sample``, with a folder per class, must lie in the data folder.
"""

from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from skgrad.datasets import load_dataset
from skgrad.evaluation import AnomalySet

SHAPE = (3, 32, 32)
# OpenOOD calls CIFAR-100 near as well.
NEAR = ("ImageNet sample", "cifar-100")


def load_more_images(seed, args):
    """Return images of the ImageNet sample, of textures and of MNIST, by name.

    Of the ImageNet sample and of the categories of textures, every second one helped to
    choose the recommended detector: they are left out. Of MNIST these are test images;
    training images helped. ``args.more`` holds further names of `load_dataset`, such as
    the papers' svhn, lsun, isun and cifar-100, which are at hand for few.
    """
    load = partial(load_dataset, data_dir=args.data_dir, shape=SHAPE)
    load = partial(load, memory=str(args.networks / "cache"))
    root = Path(args.data_dir)
    sample, textures = load(root / "imagenet-sample"), load("textures")
    images = {
        "ImageNet sample": sample.X[1::2],
        "textures": textures.X[textures.y % 2 == 1],
        "MNIST": load("mnist").X,
        **{name: load(name).X for name in filter(None, args.more.split(","))},
    }
    order = np.random.default_rng(seed).permutation
    drawn = {name: X[order(len(X))[: args.n_anomalies]] for name, X in images.items()}
    return {
        name: AnomalySet(
            X if name == "MNIST" else as_jpeg(X),
            group="near data" if name in NEAR else "far data",
        )
        for name, X in drawn.items()
    }


def as_jpeg(X):
    """Return colour images in [0, 1] as JPEG shows them, as CIFAR-10 (JPEG) is.

    Else what is not encoded could be told by that alone. The quality is 75 with colours
    at half the resolution, which are Pillow's own settings.
    """
    return np.stack([_through_jpeg(image) for image in X])


def _through_jpeg(image):
    pixels, file = np.rint(255 * image.transpose(1, 2, 0)).astype(np.uint8), BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=75)
    decoded = np.asarray(Image.open(file), dtype=np.float32)
    return decoded.transpose(2, 0, 1) / 255
