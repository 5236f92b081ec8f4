"""Data sets by name or by path, in one form."""

import os
from numbers import Integral
from pathlib import Path

import joblib
import numpy as np
from sklearn.utils import Bunch, check_random_state

from .._compat import Interval, StrOptions, validate_params
from .._messages import did_you_mean
from ._noise import make_gaussian_noise, make_uniform_noise
from ._patches import make_photo_patches
from ._shape import fit_shape
from ._sources import WITHOUT_PARTS, array_file, find_source, image_folder

# Name -> how to draw, and the shape if none is asked for.
_MADE = {
    "gaussian-noise": (make_gaussian_noise, (1, 28, 28)),
    "uniform-noise": (make_uniform_noise, (1, 28, 28)),
    "photo-patches": (make_photo_patches, (3, 32, 32)),
}
DATASETS = ["digits", "mnist", "fashion-mnist", "omniglot", "cifar-10"]
DATASETS += ["cifar-10-jpeg", "cifar-100", "svhn", "tiny-imagenet", "textures", "lsun"]
DATASETS += ["isun", "ecg5000", "ecg200", *_MADE]
# There is one part alone, whichever split is asked for.
ONE_PART = {*WITHOUT_PARTS, *_MADE}


@validate_params(
    {
        "name_or_path": [str, os.PathLike],
        "data_dir": [str, os.PathLike, None],
        "split": [StrOptions({"train", "test"})],
        "shape": ["array-like", None],
        "n_samples": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "download": ["boolean"],
        "memory": [str, joblib.Memory, None],
        "damaged": [StrOptions({"raise", "skip"})],
    },
    prefer_skip_nested_validation=True,
)
def load_dataset(
    name_or_path,
    *,
    data_dir=None,
    split="test",
    shape=None,
    n_samples=None,
    random_state=None,
    download=False,
    memory=None,
    damaged="raise",
):
    """Load images or series by name, or from a folder or file of your own.

    Parameters
    ----------
    name_or_path : str or Path
        One of the names below; a folder of images, with a subfolder per class or
        without; or a file ``.npy`` or ``.npz`` (arrays ``X`` and perhaps ``y``) with
        inputs of shape (n, channels, height, width), (n, channels, n_points) or
        (n, n_points).
    data_dir : str or Path, default=None
        Where the named data are. None is the environment variable SKGRAD_DATA.
    split : {"test", "train"}, default="test"
        Which part of a named data set. Omniglot, textures, LSUN, iSUN, noise, patches,
        folders and files have one part only.
    shape : tuple of int, default=None
        Shape of one input: (channels, height, width) for images, (channels, n_points)
        or (n_points,) for series. None keeps the data's own; noise is 1 x 28 x 28
        then, patches are 3 x 32 x 32.
    n_samples : int, default=None
        Draw at most so many; None means all in their order, and 1000 of what is made
        at random.
    random_state : int, RandomState instance or None, default=None
        Draws them.
    download : bool, default=False
        Whether torchvision downloads into ``data_dir`` what is missing there.
    memory : str or joblib.Memory, default=None
        Cache of the pixels of large image folders, as in scikit-learn's Pipeline.
    damaged : {"raise", "skip"}, default="raise"
        What becomes of image files that cannot be read: an error that names the first,
        or they are left out and listed in ``skipped``.

    Returns
    -------
    Bunch
        With ``X``, float32 of shape (n_samples, *shape), images in [0, 1], series as
        they are; ``y``, int64 class numbers, or None if there are no classes;
        ``classes``, their names; ``name``; and ``skipped``, the paths of damaged images
        that were left out.

    Raises
    ------
    ValueError
        If there is no such name or path, if the data are not in ``data_dir``, if they
        cannot be brought to the shape, or if an image is damaged and not skipped.

    Notes
    -----
    =============== ====================================================================
    name            what it is, and where in ``data_dir`` it is looked for
    =============== ====================================================================
    digits          ships with scikit-learn; the parts of `load_digits_images`
    mnist           torchvision's MNIST
    fashion-mnist   test: folder ``fashion-mnist-900``; else torchvision's FashionMNIST
    omniglot        folder ``omniglot-small``, else torchvision's background set;
                    inverted, so that strokes are white as in MNIST
    cifar-10        torchvision's CIFAR10
    cifar-10-jpeg   folder ``cifar10-jpeg/train``, ``cifar10-jpeg/test``
    cifar-100       torchvision's CIFAR100
    svhn            torchvision's SVHN
    tiny-imagenet   folder ``tiny-imagenet32-jpeg`` or ``tiny-imagenet-200``; its
                    ``val`` for testing
    textures        folder ``dtd-840``, or DTD as its archive or torchvision lays it
    lsun, isun      folders ``LSUN_resize`` and ``iSUN``, as ODIN's authors made them
    ecg5000, ecg200 ``ucr/ECG5000_TRAIN.txt`` and the like: class first, or last where
                    commas separate
    gaussian-noise  made, as in paper C (NS-I)
    uniform-noise   made, as in paper C (NS-I)
    photo-patches   made by `make_photo_patches`
    =============== ====================================================================

    Images become grey by their luma and colourful by repetition; they are resized
    bilinearly with antialiasing, whatever their proportions. Series are interpolated
    linearly. The papers do not say how they do it.

    Unsigned whole numbers, of 8, 16 or 32 bits, are divided by the largest of their
    type; floating-point images must lie in [0, 1]. All images of a folder need the same
    depth. Transparency is dropped.

    Examples
    --------
    >>> from skgrad.datasets import load_dataset
    >>> digits = load_dataset("digits", shape=(1, 28, 28))
    >>> digits.X.shape, digits.y.shape
    ((450, 1, 28, 28), (450,))
    >>> load_dataset("uniform-noise", n_samples=3, random_state=0).X.shape
    (3, 1, 28, 28)
    """
    shape = _check_shape(shape)
    name = find_dataset(name_or_path)
    if name in _MADE:
        make, usual = _MADE[name]
        X = make(n_samples or 1000, shape or usual, random_state=random_state)
        return Bunch(X=X, y=None, classes=[], name=name, skipped=[])
    if name is None:
        path = _check_path(str(name_or_path))
        name, source = path.stem, _open_path(path, memory)
    else:
        folder = None if name == "digits" else _check_folder(data_dir, name, download)
        source = find_source(name, folder, split, download, memory)
    rows = _draw(len(source), n_samples, random_state)
    X, skipped = source.read(rows, shape, skip=damaged == "skip")
    kept = np.delete(rows, skipped)
    return Bunch(
        X=fit_shape(X, shape),
        y=None if source.y is None else source.y[kept],
        classes=source.classes,
        name=name,
        skipped=[str(source.paths[row]) for row in rows[skipped]],
    )


def find_dataset(name):
    """Return the name of a data set as it is in `DATASETS`, None for other text."""
    name = str(name).lower().replace("_", "-").replace(" ", "-")
    return name if name in DATASETS else None


def _check_path(text):
    """Return an existing path."""
    # An empty path would be the working directory.
    if text and Path(text).expanduser().exists():
        return Path(text).expanduser()
    raise ValueError(
        f"name_or_path must be an existing folder or file, or one of "
        f"{', '.join(DATASETS)}; got {text!r}.{did_you_mean(text, DATASETS)}"
    )


def _open_path(path, memory):
    if path.is_dir():
        return image_folder(path, memory)
    if path.suffix in (".npy", ".npz"):
        return array_file(path)
    raise ValueError(
        "name_or_path must be a folder of images, or a file .npy or .npz; got "
        f"{str(path)!r}."
    )


def _check_folder(data_dir, name, download):
    folder = data_dir or os.environ.get("SKGRAD_DATA")
    if not folder:
        raise ValueError(
            f"data_dir must be the folder that {name!r} is in; got {data_dir!r}, and "
            "the environment variable SKGRAD_DATA is not set. Pass data_dir, and "
            "download=True for what is not there."
        )
    folder = Path(folder).expanduser()
    if not folder.is_dir() and not download:
        raise ValueError(
            f"data_dir must be an existing folder; got {str(folder)!r}. "
            "download=True creates it."
        )
    return folder


def _check_shape(shape):
    if shape is None:
        return None
    shape = tuple(shape)
    whole = all(isinstance(n, Integral) and int(n) >= 1 for n in shape)
    if not whole or len(shape) not in (1, 2, 3):
        raise ValueError(
            "shape must hold one to three positive integers, such as (3, 32, 32) for "
            f"images or (1, 140) for series; got {shape!r}."
        )
    return tuple(int(n) for n in shape)


def _draw(n_there, n_samples, random_state):
    """Draw rows without replacement; all of them in order if no number is given."""
    if n_samples is None:
        return np.arange(n_there)
    if not isinstance(random_state, Integral):
        random_state = int(check_random_state(random_state).randint(2**31 - 1))
    return np.random.default_rng(random_state).permutation(n_there)[:n_samples]
