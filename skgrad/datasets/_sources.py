"""The data sets: where each is found and how its inputs are read."""

from dataclasses import dataclass, field
from typing import Any
from zipfile import BadZipFile

import numpy as np

from .._labels import check_classes
from .._optional import import_package
from ._digits import load_digits_images
from ._folders import list_images, read_images

_DIGITS = [str(i) for i in range(10)]
# Name -> class of torchvision, and the argument of it that says which part.
_TORCHVISION = {
    "mnist": ("MNIST", "train"),
    "fashion-mnist": ("FashionMNIST", "train"),
    "cifar-10": ("CIFAR10", "train"),
    "cifar-100": ("CIFAR100", "train"),
    "svhn": ("SVHN", "split"),
    "omniglot": ("Omniglot", "background"),
}
# Name and part -> image folders, of which the first that exists is read.
_TINY = ("tiny-imagenet32-jpeg/{}", "tiny-imagenet-200/{}", "tiny-imagenet-{}")
# Name -> image folders of data that have one part. LSUN and iSUN are those that ODIN's
# authors resized to 32 x 32 pixels; DTD's archive and torchvision nest its folders.
WITHOUT_PARTS = {
    "omniglot": ["omniglot-small", "omniglot-py/images_background"],
    "textures": ["dtd-840", "dtd/dtd/images", "dtd/images"],
    "lsun": ["LSUN_resize"],
    "isun": ["iSUN"],
}
_FOLDERS = {
    **{
        (name, split): places
        for name, places in WITHOUT_PARTS.items()
        for split in ("train", "test")
    },
    ("fashion-mnist", "test"): ["fashion-mnist-900"],
    ("cifar-10-jpeg", "train"): ["cifar10-jpeg/train"],
    ("cifar-10-jpeg", "test"): ["cifar10-jpeg/test"],
    ("tiny-imagenet", "train"): [place.format("train") for place in _TINY[:2]],
    # The classes of the test images are not published: those for validation are.
    ("tiny-imagenet", "test"): [place.format("val") for place in _TINY],
}


@dataclass
class Source:
    """Inputs that can be read row by row: an array or image files."""

    y: Any
    classes: list
    values: Any = None
    paths: list = field(default_factory=list)
    memory: Any = None
    inverted: bool = False

    def __len__(self):
        return len(self.paths or self.values)

    def read(self, rows, shape, skip=False):
        """Return the given rows; images may come in the shape already.

        With ``skip`` damaged images are left out. Returns the inputs, and the places
        in ``rows`` of those that were.
        """
        damaged: list[int] = []
        images_wanted = shape is not None and len(shape) == 3 and shape[0] in (1, 3)
        how = {
            "mode": {1: "L", 3: "RGB"}[shape[0]] if images_wanted else None,
            "size": shape[1:] if images_wanted else None,
        }
        if self.paths:
            paths = [self.paths[i] for i in rows]
            X, damaged = read_images(paths, memory=self.memory, skip=skip, **how)
        else:
            X = self.values[rows]
        # Images by the range of their type, series as they are.
        scaled = X.ndim == 4 and X.dtype.kind == "u"
        scale = np.iinfo(X.dtype).max if scaled else 1
        X = X.astype(np.float32) / scale
        return 1 - X if self.inverted else X, damaged


def find_source(name, folder, split, download, memory):
    """Return the part of a named data set that is in a folder."""
    if name == "digits":
        parts = load_digits_images()
        return Source(parts[f"y_{split}"], _DIGITS, values=parts[f"X_{split}"])
    if name.startswith("ecg"):
        return _series(name, folder, split)
    folders = _FOLDERS.get((name, split), [])
    found = [folder / place for place in folders if (folder / place).is_dir()]
    if not found and name in _TORCHVISION:
        source = _from_torchvision(name, folder, split, download)
        if name != "omniglot":
            return source
        # Torchvision lists alphabets in the order that the file system gives.
        found = [folder / folders[-1]]
    if not found:
        raise _missing(
            name, folder, split, f"one of the image folders {', '.join(folders)}"
        )
    source = image_folder(found[0], memory)
    source.inverted = name == "omniglot"  # strokes are white, as in MNIST
    return source


def image_folder(folder, memory=None):
    """Return the images of a folder."""
    paths, y, classes = list_images(folder)
    return Source(y=y, classes=classes, paths=paths, memory=memory)


def _from_torchvision(name, folder, split, download):
    """Read a data set with torchvision; the error for a missing one says what to do."""
    kind, argument = _TORCHVISION[name]
    home = import_package("torchvision.datasets", f"{kind} needs")
    # Omniglot's background set is the one that the papers take, for either part.
    part = split if argument == "split" else split == "train" or name == "omniglot"
    try:
        data = getattr(home, kind)(folder, download=download, **{argument: part})
    except RuntimeError as error:
        if download:
            raise
        wanted = f"what torchvision.datasets.{kind} reads"
        raise _missing(name, folder, split, wanted) from error
    if name == "omniglot":
        return None
    X = np.asarray(data.data)
    if X.ndim == 3:
        X = X[:, None]
    elif X.shape[3] == 3:
        X = X.transpose(0, 3, 1, 2)
    y = np.asarray(data.labels if name == "svhn" else data.targets).astype(np.int64)
    classes = _DIGITS if name in ("mnist", "svhn") else data.classes
    return Source(y=y, classes=classes, values=X)


def _missing(name, folder, split, wanted):
    """Return the error for data that are missing."""
    if name in _TORCHVISION:
        remedy = "Download it there with download=True."
    elif name in WITHOUT_PARTS:
        remedy = "Unpack it there; it cannot be downloaded."
    else:
        remedy = "Unpack it there, or load the other split; it cannot be downloaded."
    return ValueError(
        f"data_dir must hold {wanted} for {name!r} (split={split!r}); {str(folder)!r} "
        f"does not. {remedy}"
    )


def _series(name, folder, split):
    """Read a part of the UCR archive, one series per line."""
    stem = f"{name.upper()}_{split.upper()}"
    places = [
        folder / home / f"{stem}{suffix}"
        for home in ("ucr", name.upper())
        for suffix in (".txt", ".tsv", ".csv")
    ]
    path = next((path for path in places if path.is_file()), None)
    if path is None:
        raise _missing(name, folder, split, f"ucr/{stem}.txt, .tsv or .csv")
    commas = path.suffix == ".csv"
    rows = np.loadtxt(path, delimiter="," if commas else None, ndmin=2)
    # The class comes first; in a file with commas, last.
    labels, values = np.split(rows, [1], axis=1)
    if commas:
        values, labels = np.split(rows, [-1], axis=1)
    classes, y = np.unique(labels, return_inverse=True)
    names = [f"{label:g}" for label in classes]
    return Source(y=y.ravel().astype(np.int64), classes=names, values=values[:, None])


# Files


def array_file(path):
    """Read inputs ``X`` and perhaps classes ``y`` from a .npy or .npz file."""
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            arrays = {"X": content}
        else:
            with content:
                arrays = dict(content)
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise ValueError(
            f"name_or_path must be an array file without objects; {str(path)!r} is "
            f"not: {error}"
        ) from error
    if "X" not in arrays and len(arrays) != 1:
        raise ValueError(
            f"name_or_path must hold an array named X, and perhaps y; {str(path)!r} "
            f"holds {', '.join(sorted(arrays))}."
        )
    X = arrays["X"] if "X" in arrays else next(iter(arrays.values()))
    _check_array(X, path)
    if "y" not in arrays:
        return Source(y=None, classes=[], values=X)
    y = check_classes(arrays["y"], len(X), f"y in {str(path)!r}")
    return Source(y=y, classes=[str(label) for label in np.unique(y)], values=X)


def _check_array(X, path):
    if X.ndim not in (2, 3, 4) or len(X) == 0 or X.dtype.kind not in "fiu":
        raise ValueError(
            f"{str(path)!r} must hold numbers of shape (n_samples, channels, height, "
            "width) for images, or (n_samples, channels, n_points) or (n_samples, "
            f"n_points) for series; got {X.dtype} of shape {X.shape}."
        )
    if X.ndim == 4 and X.shape[1] not in (1, 3) and X.shape[3] in (1, 3):
        raise ValueError(
            f"{str(path)!r} must hold images with channels before height and width; "
            f"got shape {X.shape}. Turn them with X.transpose(0, 3, 1, 2)."
        )
    if X.dtype.kind == "f" and not np.isfinite(X).all():
        raise ValueError(f"{str(path)!r} must be finite; it holds NaN or infinity.")
    if X.ndim == 4 and X.dtype.kind != "u" and (X.min() < 0 or X.max() > 1):
        raise ValueError(
            f"{str(path)!r} must hold images of uint8 or uint16, or with values in "
            f"[0, 1]; got {X.dtype} from {X.min()} to {X.max()}."
        )
