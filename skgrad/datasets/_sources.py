"""The data sets: where each is found and how its inputs are read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from .._optional import import_package
from ._digits import load_digits_images
from ._folders import list_images, read_images
from ._noise import make_gaussian_noise, make_uniform_noise
from ._patches import make_photo_patches


@dataclass
class Request:
    """The arguments of `load_dataset` that a source depends on."""

    name: str
    folder: Path | None
    split: str
    download: bool
    memory: Any


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

    def read(self, rows, shape):
        """Return the given rows; images may come in the shape already."""
        images_wanted = shape is not None and len(shape) == 3 and shape[0] in (1, 3)
        how = {
            "mode": {1: "L", 3: "RGB"}[shape[0]] if images_wanted else None,
            "size": shape[1:] if images_wanted else None,
        }
        if self.paths:
            paths = [self.paths[i] for i in rows]
            X = read_images(paths, memory=self.memory, **how)
        else:
            X = self.values[rows]
        return 1 - as_float(X) if self.inverted else as_float(X)


def as_float(X):
    """Cast to float32, bytes to [0, 1]."""
    return X.astype(np.float32) / 255 if X.dtype == np.uint8 else X.astype(np.float32)


def missing(request, wanted, remedy):
    """Return the error for data that are missing."""
    return ValueError(
        f"data_dir must hold {wanted} for {request.name!r} (split={request.split!r}); "
        f"{str(request.folder)!r} does not. {remedy}"
    )


# Data sets that ship with scikit-learn, and noise


def digits(request):
    """Return the fixed parts of scikit-learn's digits."""
    parts = load_digits_images()
    y = parts[f"y_{request.split}"]
    return Source(y=y, classes=_names(10), values=parts[f"X_{request.split}"])


# Name -> how to draw, and the shape if none is asked for.
MADE = {
    "gaussian-noise": (make_gaussian_noise, (1, 28, 28)),
    "uniform-noise": (make_uniform_noise, (1, 28, 28)),
    "photo-patches": (make_photo_patches, (3, 32, 32)),
}


# Images


def mnist(request):
    """Read torchvision's MNIST."""
    data = _from_torchvision(request, "MNIST", train=request.split == "train")
    return Source(
        y=data.targets.numpy(), classes=_names(10), values=data.data.numpy()[:, None]
    )


def fashion_mnist(request):
    """Read the folder of 900 test images, else torchvision's FashionMNIST."""
    folder = request.folder / "fashion-mnist-900"
    if request.split == "test" and folder.is_dir():
        return image_folder(folder)
    data = _from_torchvision(request, "FashionMNIST", train=request.split == "train")
    return Source(
        y=data.targets.numpy(), classes=data.classes, values=data.data.numpy()[:, None]
    )


def omniglot(request):
    """Read the small background sets, else torchvision's background set; inverted."""
    folders = [request.folder / "omniglot-small"]
    folders.append(request.folder / "omniglot-py" / "images_background")
    if not any(folder.is_dir() for folder in folders):
        _from_torchvision(request, "Omniglot")
    # Torchvision lists alphabets in the order that the file system gives.
    source = image_folder(next(folder for folder in folders if folder.is_dir()))
    source.inverted = True
    return source


def cifar10(request):
    """Read torchvision's CIFAR10."""
    data = _from_torchvision(request, "CIFAR10", train=request.split == "train")
    values = data.data.transpose(0, 3, 1, 2)
    return Source(y=np.asarray(data.targets), classes=data.classes, values=values)


def cifar10_jpeg(request):
    """Read the folder of re-encoded images."""
    folder = request.folder / "cifar10-jpeg" / request.split
    if not folder.is_dir():
        raise missing(
            request,
            f"the image folder cifar10-jpeg/{request.split}",
            "Put it there, one subfolder per class; or load 'cifar-10', the original, "
            "with download=True.",
        )
    return image_folder(folder, request.memory)


def svhn(request):
    """Read torchvision's SVHN."""
    data = _from_torchvision(request, "SVHN", split=request.split)
    return Source(y=data.labels.astype(np.int64), classes=_names(10), values=data.data)


def tiny_imagenet(request):
    """Read the first folder that exists; the validation part is for testing."""
    part = {"test": "val", "train": "train"}[request.split]
    folders = [f"tiny-imagenet32-jpeg/{part}", f"tiny-imagenet-200/{part}"]
    folders += ["tiny-imagenet-val"] if part == "val" else []
    for folder in folders:
        if (request.folder / folder).is_dir():
            return image_folder(request.folder / folder, request.memory)
    raise missing(
        request,
        f"one of the image folders {', '.join(folders)}",
        "Unpack TinyImageNet there; torchvision has no download for it.",
    )


def image_folder(folder, memory=None):
    """Return the images of a folder."""
    paths, y, classes = list_images(folder)
    return Source(y=y, classes=classes, paths=paths, memory=memory)


def _from_torchvision(request, name, **options):
    """Read a data set with torchvision; the error for a missing one says what to do."""
    home = import_package("torchvision.datasets", f"{name} needs")
    try:
        return getattr(home, name)(request.folder, download=request.download, **options)
    except RuntimeError as error:
        if request.download:
            raise
        raise missing(
            request,
            f"what torchvision.datasets.{name} reads",
            "Download it there with download=True.",
        ) from error


def _names(n):
    return [str(i) for i in range(n)]


# Series


def ecg(request):
    """Read a part of the UCR archive."""
    stem = f"{request.name.upper()}_{request.split.upper()}"
    for folder in (request.folder / "ucr", request.folder / request.name.upper()):
        for suffix in (".txt", ".tsv", ".csv"):
            if (folder / f"{stem}{suffix}").is_file():
                return _read_series(folder / f"{stem}{suffix}")
    raise missing(
        request,
        f"ucr/{stem}.txt, .tsv or .csv",
        "Download it from the UCR time series archive, or load the other split.",
    )


def _read_series(path):
    """Read one series per line: class first; in a file with commas, last."""
    commas = path.suffix == ".csv"
    rows = np.loadtxt(path, delimiter="," if commas else None, ndmin=2)
    labels, values = (
        (rows[:, -1], rows[:, :-1]) if commas else (rows[:, 0], rows[:, 1:])
    )
    classes, y = np.unique(labels, return_inverse=True)
    names = [f"{label:g}" for label in classes]
    return Source(y=y.astype(np.int64), classes=names, values=values[:, None])


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
    y = _whole_numbers(arrays["y"], path) if "y" in arrays else None
    _check_array(X, y, path)
    classes = [] if y is None else [str(label) for label in np.unique(y)]
    return Source(y=y, classes=classes, values=X)


def _whole_numbers(y, path):
    if y.dtype.kind not in "biuf" or not np.array_equal(y, np.round(y)):
        raise ValueError(
            f"y in {str(path)!r} must hold classes as whole numbers; got {y.dtype} "
            f"such as {y[:3].tolist()}. Number them with "
            "np.unique(y, return_inverse=True)[1]."
        )
    return y.astype(np.int64)


def _check_array(X, y, path):
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
    if X.ndim == 4 and X.dtype != np.uint8 and (X.min() < 0 or X.max() > 1):
        raise ValueError(
            f"{str(path)!r} must hold images of uint8, or with values in [0, 1]; got "
            f"{X.dtype} from {X.min()} to {X.max()}."
        )
    if y is not None and y.shape != X.shape[:1]:
        raise ValueError(
            f"{str(path)!r} must hold one class per input; got y of shape {y.shape} "
            f"for X of shape {X.shape}."
        )
